"""`labelfree predict RUN INPUT --out DIR`: label an image, a folder of images, a PLY cloud or a scene."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from labelfree.cli.arguments import add_reading, open_data
from labelfree.cli.terminal import say
from labelfree.data.ply import read_ply
from labelfree.errors import InputError
from labelfree.files.outputs import OutputFolder
from labelfree.labelling.inference import predict_images, predict_points, require_features
from labelfree.labelling.labellers import NetworkLabels
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
from labelfree.raster import ImageFile
from labelfree.results.export import claim_scenes, cloud_files, picture_files, save_legend, save_prediction
from labelfree.results.run_report import save_predictions
from labelfree.results.submission import save_submission
from labelfree.runtime.devices import pick_device
from labelfree.runtime.progress import Progress
from labelfree.scene import Scene

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN, INPUT, where to write."""
    parser.add_argument("run", type=Path, help="folder of a finished run, or one with networks/2d and networks/3d")
    parser.add_argument("input", type=Path, help="image, folder of images, .ply cloud, scene folder or description")
    add_reading(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for labels, overlays and coloured clouds")
    parser.add_argument(
        "--submission",
        action="store_true",
        help="write labels of points alone, as the benchmark of ScanNet, nuScenes or SemanticKITTI takes them",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Label whatever INPUT is."""
    folder = options.run / "networks" if (options.run / "networks").is_dir() else options.run
    device = pick_device(options.device)
    _require_input(options.input)
    if options.input.suffix.lower() == ".ply":
        _label_cloud(options.input, Segmenter3D.from_pretrained(folder / "3d").to(device), options.out)
        return 0
    if options.submission:
        _submit(options, Segmenter3D.from_pretrained(folder / "3d").to(device))
        return 0
    pictures = _pictures(options.input)
    if pictures and options.input.is_dir() and _same(options.input, options.out):
        raise InputError(f"{options.out}: holds the input images; give another --out.")
    net_2d = Segmenter2D.from_pretrained(folder / "2d").to(device)
    if pictures:
        _label_pictures(options.input, pictures, net_2d, options.out)
        return 0
    scenes = open_data(options, options.input)
    net_3d = Segmenter3D.from_pretrained(folder / "3d").to(device)
    claim_scenes(OutputFolder(options.out), scenes.names)
    save_predictions(scenes, NetworkLabels(net_2d, net_3d), options.out)
    print(f"labels of {len(scenes)} scene(s) are in {options.out}")
    return 0


def _require_input(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder.")
    if not path.is_file() and not path.is_dir():
        raise InputError(f"{path}: is a pipe or device; give a file or a folder.")


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def _submit(options: argparse.Namespace, net: Segmenter3D) -> None:
    scenes = open_data(options, options.input)
    unknown = save_submission(scenes, partial(predict_points, net), net.vocabulary, options.out, options.split)
    if unknown:
        print(f"the benchmark has no {', '.join(unknown)}: points of these classes are left unlabelled")
    print(f"labels of {len(scenes)} scene(s), as the benchmark takes them, are in {options.out}")


def _pictures(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() in IMAGE_SUFFIXES else []
    try:
        return sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    except OSError as error:
        raise InputError(f"{path}: cannot be listed ({error.strerror}); check its permissions.") from error


def _label_pictures(given: Path, paths: Sequence[Path], net: Segmenter2D, out: Path) -> None:
    """Label images one by one; those that cannot be read are told at the end and do not stop the others."""
    names = output_names(paths, out)
    outputs = OutputFolder(out)
    outputs.claim((file for name in names for file in picture_files(name, out)), inputs=paths)
    save_legend(net.vocabulary, out)
    unread: list[InputError] = []
    with Progress("predict", len(paths)) as progress:
        for path, name in zip(paths, names):
            try:
                image = ImageFile(path).load()
            except InputError as error:
                outputs.discard(picture_files(name, out))  # of an earlier run, when the image was another
                unread.append(error)
            else:
                save_prediction(predict_images(net, [image], [name])[0], out, image)
            progress.advance()
    if len(paths) == len(unread) == 1:
        raise unread[0]
    print(f"labels and overlays of {len(paths) - len(unread)} image(s) are in {out}")
    for problem in unread:
        say(problem)
    if unread:
        raise InputError(
            f"{given}: {len(unread)} of {len(paths)} images could not be read, as listed above; replace or remove them."
        )


def output_names(paths: Sequence[Path], out: Path) -> list[str]:
    """Return the names that images are labelled under: their stems, with the suffix for those that share files.

    So `a.png` and `a.jpg` become `a.png.png` and `a.jpg.png`, and so do images whose overlay is another's label map.
    """
    names = [path.stem for path in paths]
    for _ in range(2):  # a longer name may meet another one's
        written = Counter(file for name in names for file in picture_files(name, out))
        shared = [any(written[file] > 1 for file in picture_files(name, out)) for name in names]
        names = [path.name if twice else name for path, name, twice in zip(paths, names, shared)]
    files: dict[Path, Path] = {}
    for path, name in zip(paths, names):
        for file in picture_files(name, out):
            other = files.setdefault(file, path)
            if other != path:
                raise InputError(f"{path}: would be labelled in {file}, as {other} would be; rename one of them.")
    return names


def _label_cloud(path: Path, net: Segmenter3D, out: Path) -> None:
    OutputFolder(out).claim(cloud_files(path.stem, out), inputs=[path])
    save_legend(net.vocabulary, out)
    cloud = read_ply(path, labels=False)
    scene = Scene(path.stem, cloud.points, (), cloud.colours, cloud.intensity)
    require_features(net, scene, str(path))
    saved = save_prediction(predict_points(net, scene), out)
    print(f"labelled cloud: {saved[0]}")
