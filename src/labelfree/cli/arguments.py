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
from labelfree.data.checking.check import CheckReport, check_collection, raise_problems
from labelfree.data.collection import SceneCollection, layout_of, open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.data.next_step import GivenData
from labelfree.errors import InputError
from labelfree.vocabulary import Vocabulary


def add_data(parser: argparse.ArgumentParser) -> None:
    """DATA and how much of it to take."""
    parser.add_argument(
        "data", type=Path, help="a dataset's or a capture's folder, a folder of such, or a description file (.yaml)"
    )
    add_reading(parser)


def add_reading(parser: argparse.ArgumentParser) -> None:
    """How data is read, and how much of it."""
    parser.add_argument("--root", type=Path, default=None, help="the folder that a description file speaks of")
    parser.add_argument("--every", type=int, default=None, help="take every n-th frame")
    parser.add_argument("--limit", type=int, default=None, help="take at most so many frames of each scene")
    parser.add_argument("--layout", default=None, help="the dataset's layout, where its files do not tell")
    parser.add_argument("--split", default=None, help="one of the dataset's own splits (default: every scene there)")
    parser.add_argument("--skip-broken", action="store_true", help="leave out, by name, scenes that cannot be read")


def add_classes(parser: argparse.ArgumentParser) -> None:
    """The class names."""
    parser.add_argument(
        "--classes",
        default=None,
        help="comma list, preset (scannet20, nuscenes16, rooms16) or vocabulary file; default: those of the data",
    )


def add_teachers(parser: argparse.ArgumentParser) -> None:
    """Recipe and teachers."""
    parser.add_argument("--recipe", default="quick", help="settings: quick, lab, scannet, nuscenes, or a YAML file")
    parser.add_argument("--clip", default=None, help="hub name, model folder, folder of label maps, or lab")
    parser.add_argument("--sam", default=None, help="hub name, model folder, folder of mask-id PNGs, or lab")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--cache", type=Path, default=None, help="teacher outputs (default: beside --out)")


def open_data(options: argparse.Namespace, path: Path | None = None, tell: bool = True) -> SceneCollection:
    """Open the scenes that DATA, or another path, and the options beside it name."""
    scenes = open_scenes(path or options.data, options.root, read_options(options), options.layout)
    return told(scenes) if tell else scenes


def read_options(options: argparse.Namespace) -> ReadOptions:
    """Return how much of the data is taken, and where fused clouds are kept."""
    cache = cache_dir(options) / "clouds" if getattr(options, "out", None) else None
    return ReadOptions(options.every, options.limit, options.split, cache, options.skip_broken)


def given_data(options: argparse.Namespace) -> GivenData:
    """Return how the command names its data, to be repeated in the one that it recommends."""
    return GivenData(options.data, options.root, options.layout, read_options(options), options.classes)


def told(scenes: SceneCollection) -> SceneCollection:
    """Say what a user should know about the data."""
    for note in scenes.notes:
        say(note)
    return scenes


def require_sound(scenes: SceneCollection) -> tuple[CheckReport, ...]:
    """Check the capture before any work and stop with one sentence if something is wrong."""
    reports = check_collection(scenes)
    raise_problems(reports)
    return reports


def require_points(options: argparse.Namespace) -> None:
    """Stop before any work where there are images without points, on which nothing can be trained."""
    layout = layout_of(options.data, options.layout)
    if layout.images_only:
        raise InputError(
            f"{options.data}: has images but no points, so that nothing can be trained on it: measure a finished run "
            "on it with 'labelfree evaluate', or predict."
        )


def require_depth(options: argparse.Namespace, config: RunConfig) -> None:
    """Stop before any work where the recipe pairs points through depth maps and the data cannot have any."""
    layout = layout_of(options.data, options.layout)
    if not layout.depth and config.pairing.rule == "rgbd":
        raise InputError(
            f"{options.data}: is LiDAR data without depth maps, through which recipe '{options.recipe}' pairs points "
            f"(pairing.rule: rgbd); use --recipe {layout.recipe}."
        )


def vocabulary(options: argparse.Namespace, scenes: SceneCollection) -> Vocabulary:
    """Return the classes that are asked for, or those that come with the data."""
    if options.classes is not None:
        return Vocabulary.parse(options.classes)
    if scenes.classes is None:
        raise InputError(f"{options.data}: comes without class names; give them with --classes 'wall, floor, chair'.")
    return with_preset_colours(Vocabulary.from_names(scenes.classes))


def with_preset_colours(plain: Vocabulary) -> Vocabulary:
    """Give class names of ScanNet's benchmark its colours when all of them are among its names."""
    benchmark = Vocabulary.parse("scannet20")
    if not set(plain.names) <= set(benchmark.names):
        return plain
    return replace(plain, colours=tuple(benchmark.colours[benchmark.index(name)] for name in plain.names))


def cache_dir(options: argparse.Namespace) -> Path:
    """Return where teachers' outputs are kept: shared by the runs of one folder unless --cache says otherwise."""
    return Path(options.cache) if getattr(options, "cache", None) else Path(options.out).parent / "cache"


def command_line(arguments: Sequence[str] | None = None) -> str:
    """Return the command as typed."""
    return "labelfree " + shlex.join(sys.argv[1:] if arguments is None else arguments)
