"""`labelfree predict RUN INPUT --out DIR`: label an image, a folder of images, a PLY cloud or a scene."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from labelfree.cli.arguments import add_reading, open_data
from labelfree.comparison import NetworkLabels
from labelfree.data.ply import read_ply
from labelfree.errors import InputError
from labelfree.inference import predict_images, predict_points, require_features
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
from labelfree.pipeline import pick_device
from labelfree.progress import Progress
from labelfree.raster import ImageFile
from labelfree.reporting import save_predictions
from labelfree.results.export import save_prediction
from labelfree.results.submission import save_submission
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
    if not options.input.exists():
        raise InputError(f"{options.input}: no such file or folder.")
    if options.input.suffix.lower() == ".ply":
        _label_cloud(options.input, Segmenter3D.from_pretrained(folder / "3d").to(device), options.out)
        return 0
    if options.submission:
        _submit(options, Segmenter3D.from_pretrained(folder / "3d").to(device))
        return 0
    net_2d = Segmenter2D.from_pretrained(folder / "2d").to(device)
    pictures = _pictures(options.input)
    if pictures:
        _label_pictures(pictures, net_2d, options.out)
        return 0
    scenes = open_data(options, options.input)
    net_3d = Segmenter3D.from_pretrained(folder / "3d").to(device)
    save_predictions(scenes, NetworkLabels(net_2d, net_3d), options.out)
    print(f"labels of {len(scenes)} scene(s) are in {options.out}")
    return 0


def _submit(options: argparse.Namespace, net: Segmenter3D) -> None:
    scenes = open_data(options, options.input)
    unknown = save_submission(scenes, partial(predict_points, net), net.vocabulary, options.out, options.split)
    if unknown:
        print(f"the benchmark has no {', '.join(unknown)}: points of these classes are left unlabelled")
    print(f"labels of {len(scenes)} scene(s), as the benchmark takes them, are in {options.out}")


def _pictures(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() in IMAGE_SUFFIXES else []
    return sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)


def _label_pictures(paths: Sequence[Path], net: Segmenter2D, out: Path) -> None:
    with Progress("predict", len(paths)) as progress:
        for path in paths:
            image = ImageFile(path).load()
            if image.ndim != 3:
                image = image[:, :, None].repeat(3, axis=2)
            save_prediction(predict_images(net, [image], [path.stem])[0], out, image)
            progress.advance()
    print(f"labels and overlays of {len(paths)} image(s) are in {out}")


def _label_cloud(path: Path, net: Segmenter3D, out: Path) -> None:
    cloud = read_ply(path, labels=False)
    scene = Scene(path.stem, cloud.points, (), cloud.colours, cloud.intensity)
    require_features(net, scene, str(path))
    saved = save_prediction(predict_points(net, scene), out)
    print(f"labelled cloud: {saved[0]}")
