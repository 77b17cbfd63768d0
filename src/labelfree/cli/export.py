"""`labelfree export RUN --format F`: write the predictions of a run in the format of another program."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from labelfree.cli.arguments import add_reading, open_data
from labelfree.cli.out_folder import check_out
from labelfree.cli.terminal import say
from labelfree.data.las import require_laspy
from labelfree.data.point_files import POINT_FORMATS
from labelfree.errors import InputError
from labelfree.files.outputs import OutputFolder
from labelfree.results.export import save_legend
from labelfree.results.formats import coco, coco_panoptic, cvat, label_studio
from labelfree.results.formats.pictures import LabelledPicture, Masks
from labelfree.results.formats.points import save_points
from labelfree.results.stored import (
    NamedPicture,
    StoredPicture,
    default_name,
    labelled_pictures,
    of_frames,
    one_vocabulary,
    stored_clouds,
    stored_pictures,
)
from labelfree.runtime.progress import Progress
from labelfree.vocabulary import Vocabulary

PICTURE_FORMATS = ("coco", "coco-panoptic", "cvat", "label-studio")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add RUN, the format, the output folder and the options of masks and points."""
    parser.add_argument("run", type=Path, help="folder of a finished run, or one that label or predict wrote")
    parser.add_argument("--format", choices=(*PICTURE_FORMATS, *POINT_FORMATS), required=True, help="format to write")
    parser.add_argument("--out", type=Path, default=None, help="folder to write to (default: RUN/export/FORMAT)")
    parser.add_argument(
        "--data",
        type=Path,
        default=None,
        help="data that was labelled: masks get the names and the size of its image files (default: SCENE/FRAME.png "
        "and the size of the label maps)",
    )
    add_reading(parser)
    parser.add_argument(
        "--per",
        choices=("region", "class"),
        default=None,
        help="one mask per connected region or per class of an image (default: region; class for label-studio)",
    )
    parser.add_argument("--least-pixels", type=int, default=1, help="leave out smaller masks (default: 1)")
    parser.add_argument(
        "--prefix", default="", help="text before the names of images, such as /data/local-files/?d=scan/"
    )
    parser.add_argument(
        "--segments", type=Path, default=None, help="folder of labelfree segments: points get their segment"
    )


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Write the images' masks or the clouds of RUN; return 0."""
    out = options.out or options.run / "export" / options.format
    if options.format in PICTURE_FORMATS:
        _export_pictures(options, out)
    else:
        _export_clouds(options, out)
    return 0


def _export_pictures(options: argparse.Namespace, out: Path) -> None:
    _require_picture_options(options)
    found = stored_pictures(options.run)
    vocabulary = one_vocabulary(options.run, found)
    check_out(out, options.data)
    outputs = OutputFolder(out)
    outputs.claim(_fixed_files(options.format, out), [picture.path for picture in found])
    frames = None if options.data is None else _frames(options, found)
    if options.format == "coco-panoptic":
        names = [default_name(picture) for picture in found] if frames is None else [name for _, name, _ in frames]
        pngs = [out / coco_panoptic.PNG_FOLDER / coco_panoptic.png_name(name) for name in names]
        outputs.claim(pngs, [picture.path for picture in found])
    with Progress("export", len(found)) as progress:
        pictures = _counted(labelled_pictures(found, frames, options.prefix), progress)
        count = _write_pictures(options, out, pictures, vocabulary)
    print(f"{count:,} masks of {len(found):,} image(s) are in {_fixed_files(options.format, out)[0]}")


def _require_picture_options(options: argparse.Namespace) -> None:
    if options.least_pixels < 1:
        raise InputError(f"--least-pixels is {options.least_pixels}: give 1 or more.")
    if options.segments is not None:
        raise InputError(f"--segments is for points: leave it out with --format {options.format}.")
    if options.format == "coco-panoptic" and (options.per == "region" or options.least_pixels > 1 or options.prefix):
        raise InputError(
            "--format coco-panoptic has one segment per class and its own PNGs: leave out --per, --least-pixels and "
            "--prefix."
        )


def _frames(options: argparse.Namespace, found: Sequence[StoredPicture]) -> list[NamedPicture]:
    """Return the label maps with the names and sizes of the images in DATA."""
    options.cache = options.run.parent / "cache"  # of clouds that the run has fused
    scenes = open_data(options, options.data)
    root = options.root or (options.data if options.data.is_dir() else options.data.parent)
    return of_frames(found, scenes, root, options.data)


def _fixed_files(name: str, out: Path) -> list[Path]:
    """Return the files of a format whose names do not depend on the images, the main one first."""
    match name:
        case "coco":
            return [out / coco.FILE]
        case "coco-panoptic":
            return [out / coco_panoptic.FILE]
        case "cvat":
            return [out / cvat.FILE]
        case _:
            return [out / label_studio.FILE, out / label_studio.CONFIG_FILE]


def _counted(pictures: Iterable[LabelledPicture], progress: Progress) -> Iterator[LabelledPicture]:
    for picture in pictures:
        yield picture
        progress.advance()


def _write_pictures(
    options: argparse.Namespace, out: Path, pictures: Iterable[LabelledPicture], vocabulary: Vocabulary
) -> int:
    """Write the files of a format; return the number of masks."""
    masks = Masks(options.per or ("class" if options.format == "label-studio" else "region"), options.least_pixels)
    match options.format:
        case "coco":
            return coco.write_coco(out, pictures, vocabulary, masks)
        case "coco-panoptic":
            return coco_panoptic.write_panoptic(out, pictures, vocabulary)
        case "cvat":
            return cvat.write_cvat(out, pictures, vocabulary, masks)
        case _:
            return label_studio.write_label_studio(out, pictures, vocabulary, masks)


def _export_clouds(options: argparse.Namespace, out: Path) -> None:
    given = [name for name in ("data", "per") if getattr(options, name) is not None]
    given += [name for name in ("prefix",) if getattr(options, name)]
    if given or options.least_pixels != 1:
        raise InputError(f"--{(*given, 'least-pixels')[0]} is for images: leave it out with --format {options.format}.")
    if options.format in ("las", "laz"):
        require_laspy()
    found = stored_clouds(options.run)
    vocabulary = one_vocabulary(options.run, found)
    check_out(out)
    files = [out / f"{cloud.name}.{options.format}" for cloud in found]
    OutputFolder(out).claim(files, [cloud.path for cloud in found])
    save_legend(vocabulary, out)
    with Progress("export", len(found)) as progress:
        for cloud, file in zip(found, files):
            left_out = save_points(cloud.load(options.segments), file)
            if left_out:
                say(f"{file}: {left_out:,} points that are not finite are left out, because LAS cannot store them")
            progress.advance()
    print(f"{len(found):,} labelled cloud(s) are in {out}")
