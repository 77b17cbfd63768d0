"""`labelfree calibrate`: how hard data is for votes, segments and pairs, as one table over worlds and real data."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from labelfree.calibration.calibrate import Calibration, CalibrationData, calibrate
from labelfree.calibration.table import calibration_json, calibration_table
from labelfree.cli.arguments import command_line, tell, vocabulary
from labelfree.cli.out_folder import check_out
from labelfree.cli.run_config import run_config
from labelfree.data.collection import SceneCollection, layout_of, open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.errors import InputError
from labelfree.files.atomic import write_text
from labelfree.files.outputs import OutputFolder
from labelfree.runtime.devices import pick_device
from labelfree.runtime.lab import lab_module
from labelfree.runtime.progress import Progress
from labelfree.scene import Scene
from labelfree.teachers.opening import load_teachers
from labelfree.teachers.teachers import Teachers
from labelfree.vocabulary import Vocabulary

DESCRIPTIONS = (".yaml", ".yml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the data, the worlds, the teachers and the output folder."""
    parser.add_argument(
        "data",
        type=Path,
        nargs="*",
        metavar="DATA",
        help="dataset folder, capture folder, folder of captures, or description file (.yaml); one column each",
    )
    parser.add_argument(
        "--root",
        type=Path,
        action="append",
        default=[],
        help="data folder of a description file; repeated, one for each description in order",
    )
    parser.add_argument("--every", type=int, default=None, help="read every n-th frame of a scene of DATA")
    parser.add_argument("--limit", type=int, default=None, help="read at most n frames of a scene of DATA")
    parser.add_argument("--split", default=None, help="split of DATA, such as val (default: all scenes)")
    parser.add_argument(
        "--classes",
        default=None,
        help="classes of DATA: comma-separated names, preset or vocabulary file (default: those of the data)",
    )
    parser.add_argument(
        "--world", default=None, help="worlds of the lab: rooms, clean, streets, or several (rooms,streets)"
    )
    parser.add_argument("--seed", type=int, default=900001, help="seed of the worlds' scenes (default: 900001)")
    parser.add_argument("--scenes", type=int, default=12, help="scenes of each world (default: 12)")
    parser.add_argument(
        "--recipe", default=None, help="settings of the teachers (default: quick for DATA, a world's own for a world)"
    )
    for name in ("clip", "sam"):
        parser.add_argument(
            f"--{name}",
            default=None,
            help=f"{name.upper()}: hub name, model folder, folder of maps, rooms or streets (default: none for DATA, a "
            "world's own for a world)",
        )
    parser.add_argument("--out", type=Path, default=Path("runs/calibration"), help="folder of the table and its data")
    parser.add_argument("--cache", type=Path, default=None, help="folder of teacher outputs (default: OUT/cache)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Measure all data, write the table and all values after each column, and print the table."""
    worlds = _check(options)
    check_out(options.out)
    options.cache = options.cache or options.out / "cache"
    files = [options.out / "calibration.json", options.out / "calibration.md"]
    OutputFolder(options.out).claim(files)
    found: list[Calibration] = []
    page = ""
    for each in (*_worlds(options, worlds, overrides), *_data(options, overrides)):
        parts = len(each.scenes) + len(each.pictures)
        with Progress(f"calibrate {each.name}", parts) as progress:
            found.append(calibrate(each, progress.advance))
        page = _write(found, *files)
    print(page)
    return 0


def _write(found: Sequence[Calibration], data_file: Path, page_file: Path) -> str:
    """Write the columns so far; return the table."""
    page = calibration_table(found).markdown()
    data = {"command": command_line(), "columns": [calibration_json(each) for each in found]}
    write_text(data_file, json.dumps(data, indent=1, allow_nan=False) + "\n")
    write_text(page_file, f"{page}\n\n    {command_line()}\n")
    return page


def _check(options: argparse.Namespace) -> list[str]:
    """Return the worlds. Raises an `InputError` for options that do not fit together."""
    worlds = [world.strip() for world in options.world.split(",")] if options.world else []
    if not worlds and not options.data:
        raise InputError("calibrate has nothing to measure: give a folder of scenes, or --world rooms.")
    if options.seed < 0 or options.scenes < 1:
        raise InputError(f"--seed is {options.seed} and --scenes {options.scenes}: give at least 0 and 1.")
    described = sum(path.suffix in DESCRIPTIONS for path in options.data)
    if len(options.root) > described:
        raise InputError(f"--root is given {len(options.root)} times for {described} description files: give one each.")
    if options.data and (options.clip is None) != (options.sam is None):
        raise InputError(f"--clip is {options.clip} and --sam {options.sam}: give both teachers of DATA, or none.")
    return worlds


def _worlds(options: argparse.Namespace, worlds: Sequence[str], overrides: Sequence[str]) -> Iterator[CalibrationData]:
    """Return the held-out scenes of a seed of each world, which are written first."""
    for world in worlds:
        tables = lab_module("tables", f"--world {world}")
        data = tables.open_world(world, options.out / "data" / world, 1, options.scenes, None)
        if data is None:
            raise InputError(f"--world {world}: is no world of the lab; use rooms, clean or streets.")
        scenes = data.open(options.seed)
        teachers = _teachers(options, options.recipe or world, scenes.vocabulary, overrides)
        pictures = scenes.held_out if scenes.pictures is None else scenes.pictures
        measured = None if scenes.pictures is None else scenes.pictures.measured
        yield CalibrationData(world, scenes.held_out, pictures, scenes.vocabulary, scenes.measured, measured, teachers)


def _data(options: argparse.Namespace, overrides: Sequence[str]) -> Iterator[CalibrationData]:
    """Return the scenes of each DATA; without --clip and --sam no teacher labels them."""
    roots = iter(options.root)
    reading = ReadOptions(options.every, options.limit, options.split, options.cache / "clouds")
    for path in options.data:
        root = next(roots, None) if path.suffix in DESCRIPTIONS else None
        scenes = open_scenes(path, root, reading)
        tell(scenes.notes)
        names = _names(options, path, scenes)
        teachers = None
        if options.clip is not None and options.sam is not None and names is not None:
            teachers = _teachers(options, options.recipe or "quick", names, overrides)
        if names is not None:
            scenes = scenes.counted_by(names)
        images_only = layout_of(path).images_only
        points: Sequence[Scene] = () if images_only else scenes
        yield CalibrationData(path.stem, points, scenes, names, scenes.measured, scenes.measured, teachers)


def _names(options: argparse.Namespace, path: Path, scenes: SceneCollection) -> Vocabulary | None:
    """Return the classes of --classes, else those of the data; None without any."""
    if options.classes is None and scenes.classes is None:
        return None
    return vocabulary(argparse.Namespace(classes=options.classes, data=path), scenes)


def _teachers(options: argparse.Namespace, recipe: str, names: Vocabulary, overrides: Sequence[str]) -> Teachers:
    wanted = argparse.Namespace(recipe=recipe, clip=options.clip, sam=options.sam)
    config = run_config(wanted, overrides)
    return load_teachers(config, names, options.cache, pick_device(options.device))
