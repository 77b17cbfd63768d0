"""Arguments that several verbs share."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from labelfree.cli.terminal import say as say
from labelfree.config.run_config import RunConfig
from labelfree.data.collection import SceneCollection, layout_of, open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.data.next_step import GivenData
from labelfree.errors import InputError
from labelfree.files.run_lock import rank
from labelfree.vocabulary import Vocabulary


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add DATA and the options that control how it is read."""
    parser.add_argument(
        "data", type=Path, help="dataset folder, capture folder, folder of captures, or description file (.yaml)"
    )
    add_reading(parser)


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add DATA, the class names, the recipe and the teachers."""
    add_data(parser)
    add_classes(parser)
    add_teachers(parser)


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add the options that control how data is read, and how much of it."""
    parser.add_argument(
        "--root", type=Path, default=None, help="data folder of a description file (default: the folder it names)"
    )
    parser.add_argument(
        "--every", type=int, default=None, help="read every n-th frame of a scene (default: the layout's choice)"
    )
    parser.add_argument("--limit", type=int, default=None, help="read at most n frames of a scene (default: all)")
    parser.add_argument(
        "--layout", default=None, help="dataset layout, such as scannet (default: recognised from the files)"
    )
    parser.add_argument(
        "--split", default=None, help="split of the dataset, such as train or val (default: all scenes)"
    )
    parser.add_argument(
        "--skip-broken", action="store_true", help="skip scenes that cannot be read, and print their names"
    )


def add_classes(parser: argparse.ArgumentParser) -> None:
    """Add --classes."""
    parser.add_argument(
        "--classes",
        default=None,
        help="comma-separated names, preset (scannet20, nuscenes16, rooms16) or vocabulary file "
        "(default: the classes of the data)",
    )


def add_teachers(parser: argparse.ArgumentParser, names: bool = True) -> None:
    """Add the recipe, the teachers, the device and the cache; without `names` nothing is labelled by CLIP."""
    parser.add_argument(
        "--recipe",
        default="quick",
        help="settings: quick, rooms, clean, streets, scannet, nuscenes, or a YAML file "
        "(default: quick; for prepare the layout's recipe)",
    )
    if names:
        parser.add_argument(
            "--clip",
            default=None,
            help="CLIP: hub name, model folder, folder of label or score maps, rooms or streets "
            "(default: the recipe's)",
        )
    else:
        parser.set_defaults(clip=None)
    parser.add_argument(
        "--sam",
        default=None,
        help="SAM: hub name, model folder, folder of mask-id PNGs, rooms or streets (default: the recipe's)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument(
        "--cache", type=Path, default=None, help="folder of teacher outputs (default: cache beside --out)"
    )


def open_data(options: argparse.Namespace, path: Path | None = None, tell: bool = True) -> SceneCollection:
    """Open the scenes of DATA, or of `path`, as the reading options select them; `tell` prints the notes."""
    scenes = open_scenes(path or options.data, options.root, read_options(options), options.layout)
    return told(scenes) if tell else scenes


def reading_line(options: argparse.Namespace) -> str:
    """Return the first line of a command: which data it reads, as what, and with which recipe."""
    layout = layout_of(options.data, options.layout)
    return f"reading {options.data} ({layout.name}), recipe {options.recipe}"


def read_options(options: argparse.Namespace) -> ReadOptions:
    """Return which frames and scenes are read, and where fused clouds are cached."""
    cache = cache_dir(options) / "clouds" if getattr(options, "out", None) else None
    return ReadOptions(options.every, options.limit, options.split, cache, options.skip_broken)


def given_data(options: argparse.Namespace) -> GivenData:
    """Return the data options of the command, for the command that is recommended next."""
    return GivenData(options.data, options.root, options.layout, read_options(options), options.classes)


def told(scenes: SceneCollection) -> SceneCollection:
    """Print the notes about the data; return the scenes."""
    tell(scenes.notes)
    return scenes


def tell(notes: Sequence[str]) -> None:
    """Print notes, one per line; of several processes only the first prints them."""
    for note in notes if rank() == 0 else ():
        say(note)


def require_points(options: argparse.Namespace) -> None:
    """Raise an InputError if the data has images but no points; training needs both."""
    layout = layout_of(options.data, options.layout)
    if layout.images_only:
        raise InputError(
            f"{options.data}: has images but no points, and training needs both; measure a finished run on it with "
            "'labelfree evaluate', or label it with 'labelfree predict'."
        )


def require_depth(options: argparse.Namespace, config: RunConfig) -> None:
    """Raise an InputError if the recipe pairs points by depth and the layout has no depth maps."""
    layout = layout_of(options.data, options.layout)
    if not layout.depth and config.pairing.rule == "rgbd":
        raise InputError(
            f"{options.data}: LiDAR data without depth maps, but recipe '{options.recipe}' pairs points by depth "
            f"(pairing.rule: rgbd); use --recipe {layout.recipe}."
        )


def vocabulary(options: argparse.Namespace, scenes: SceneCollection) -> Vocabulary:
    """Return the classes of --classes, else those of the data. Raises an InputError if there are none."""
    if options.classes is not None:
        return Vocabulary.parse(options.classes)
    if scenes.classes is None:
        raise InputError(f"{options.data}: has no class names; give them with --classes 'wall, floor, chair'.")
    return with_preset_colours(Vocabulary.from_names(scenes.classes))


def with_preset_colours(plain: Vocabulary) -> Vocabulary:
    """Return the vocabulary with the colours of ScanNet's benchmark if all its classes belong to that benchmark."""
    benchmark = Vocabulary.parse("scannet20")
    if not set(plain.names) <= set(benchmark.names):
        return plain
    return replace(plain, colours=tuple(benchmark.colours[benchmark.index(name)] for name in plain.names))


def cache_dir(options: argparse.Namespace) -> Path:
    """Return the cache folder of teacher outputs: --cache, else `cache` beside the run folder."""
    return Path(options.cache) if getattr(options, "cache", None) else Path(options.out).parent / "cache"


def command_line(arguments: Sequence[str] | None = None) -> str:
    """Return the command as typed."""
    return "labelfree " + shlex.join(sys.argv[1:] if arguments is None else arguments)
