"""`labelfree predict RUN INPUT --out DIR`: label an image, a folder of images, a point cloud or a scene."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from labelfree.cli.arguments import add_reading, open_data
from labelfree.cli.fusing import add_fuse, fused, fused_cloud, run_settings
from labelfree.cli.terminal import say
from labelfree.data.point_files import POINT_FORMATS, is_point_file, read_points
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
    """Add RUN, INPUT, the output folder and its format."""
    parser.add_argument("run", type=Path, help="folder of a finished run, or one with networks/2d and networks/3d")
    parser.add_argument(
        "input",
        type=Path,
        help="image, folder of images, point cloud (.ply, .las, .laz, .pcd), scene folder or description",
    )
    add_reading(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for labels, overlays and coloured clouds")
    parser.add_argument(
        "--submission",
        action="store_true",
        help="write the labels of points in the submission format of ScanNet, nuScenes or SemanticKITTI",
    )
    parser.add_argument(
        "--format",
        choices=POINT_FORMATS,
        default=None,
        help="format of a labelled point cloud (default: that of INPUT)",
    )
    add_fuse(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Label the images, the cloud or the scenes of INPUT."""
    # Check the arguments
    folder = options.run / "networks" if (options.run / "networks").is_dir() else options.run
    device = pick_device(options.device)
    _require_input(options.input)

    # Label a cloud
    if is_point_file(options.input):
        _label_cloud(options, Segmenter3D.from_pretrained(folder / "3d").to(device))
        return 0
    if options.format is not None:
        raise InputError(
            f"--format {options.format}: {options.input} is no point cloud; labelfree export converts runs."
        )

    # Write a submission
    if options.submission:
        if options.fuse:
            raise InputError("--fuse and --submission cannot be combined: leave out one of them.")
        _submit(options, Segmenter3D.from_pretrained(folder / "3d").to(device))
        return 0

    # Label images
    pictures = _pictures(options.input)
    if pictures and options.input.is_dir() and _same(options.input, options.out):
        raise InputError(f"{options.out}: holds the input images; give another --out.")
    net_2d = Segmenter2D.from_pretrained(folder / "2d").to(device)
    if pictures:
        _label_pictures(options.input, pictures, net_2d, options.out)
        return 0

    # Label scenes
    scenes = open_data(options, options.input)
    net_3d = Segmenter3D.from_pretrained(folder / "3d").to(device)
    claim_scenes(OutputFolder(options.out), scenes.names)
    networks = NetworkLabels(net_2d, net_3d)
    labeller = fused(networks, run_settings(options.run), options, device) if options.fuse else networks
    save_predictions(scenes, labeller, options.out)
    print(f"labels of {len(scenes)} scene(s) are in {options.out}")
    return 0


def _require_input(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path of INPUT.")
    if not path.is_file() and not path.is_dir():
        raise InputError(f"{path}: is a pipe or device; give a file or a folder.")


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def _submit(options: argparse.Namespace, net: Segmenter3D) -> None:
    scenes = open_data(options, options.input)
    unknown = save_submission(scenes, partial(predict_points, net), net.vocabulary, options.out, options.split)
    if unknown:
        print(f"the benchmark has no {', '.join(unknown)}: points of these classes are left unlabelled")
    print(f"labels of {len(scenes)} scene(s) in the benchmark's submission format are in {options.out}")


def _pictures(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() in IMAGE_SUFFIXES else []
    try:
        return sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    except OSError as error:
        raise InputError(f"{path}: cannot be listed ({error.strerror}); check its permissions.") from error


def _label_pictures(given: Path, paths: Sequence[Path], net: Segmenter2D, out: Path) -> None:
    """Label images one by one; images that cannot be read are reported at the end.

    Raises an InputError after the last image if any of them could not be read.
    """
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
                outputs.discard(picture_files(name, out))  # files of an earlier command
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
    """Return one output name per image: its stem, or its full name where two stems would share an output file.

    `a.png` and `a.jpg` give `a.png.png` and `a.jpg.png`. The same holds where an overlay of one image and the label
    map of another have one name. Raises an InputError if two images still share an output file.
    """
    names = [path.stem for path in paths]
    for _ in range(2):  # a full name may equal another image's stem
        written = Counter(file for name in names for file in picture_files(name, out))
        shared = [any(written[file] > 1 for file in picture_files(name, out)) for name in names]
        names = [path.name if twice else name for path, name, twice in zip(paths, names, shared)]
    files: dict[Path, Path] = {}
    for path, name in zip(paths, names):
        for file in picture_files(name, out):
            other = files.setdefault(file, path)
            if other != path:
                raise InputError(f"{path}: would be written to {file}, like {other}; rename one of them.")
    return names


def _label_cloud(options: argparse.Namespace, net: Segmenter3D) -> None:
    path, out = options.input, options.out
    cloud_format = options.format or path.suffix.lower()[1:]
    OutputFolder(out).claim(cloud_files(path.stem, out, cloud_format), inputs=[path])
    save_legend(net.vocabulary, out)
    cloud = read_points(path, labels=False)
    scene = Scene(path.stem, cloud.points, (), cloud.colours, cloud.intensity)
    require_features(net, scene, str(path))
    prediction = fused_cloud(NetworkLabels(None, net), scene) if options.fuse else predict_points(net, scene)
    saved = save_prediction(prediction, out, cloud_format=cloud_format, like=path)
    print(f"labelled cloud: {saved[0]}")
