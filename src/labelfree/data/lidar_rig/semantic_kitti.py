"""Open SemanticKITTI by its folder: sequences of KITTI's odometry benchmark with labels of the points.

The layout of a sequence is described in `semantic_kitti.yaml`, which users may copy and change.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path

from labelfree.data.layout import Layout, OpenedDataset, ReadOptions, Survey, SurveyProgress
from labelfree.data.lidar_rig.description import RigDescription, read_rig
from labelfree.data.lidar_rig.reader import SweepSource, rig_at, survey_sweeps, sweeps_of
from labelfree.errors import InputError

NAME = "semantickitti"
SWEEPS = "velodyne"
SPLITS = {
    "train": ("00", "01", "02", "03", "04", "05", "06", "07", "09", "10"),
    "val": ("08",),
    "test": tuple(f"{number:02d}" for number in range(11, 22)),
}
OFFICIAL = {"train": 19_130, "val": 4_071, "test": 20_351}
"""Sweeps of each split, as published (http://semantic-kitti.org)."""


def recognises(path: Path) -> bool:
    """Return whether a folder is a sequence or contains sequences."""
    return path.is_dir() and bool(_sequences(path))


def _sequences(path: Path) -> dict[str, Path]:
    """Return the sequences by name: the folder itself, or those in it, in `sequences` or in `dataset/sequences`."""
    if (path / SWEEPS).is_dir():
        return {path.resolve().name: path}
    for base in (path, path / "sequences", path / "dataset" / "sequences"):
        numbered = sorted(child for child in base.iterdir() if child.name.isdigit()) if base.is_dir() else []
        found = {child.name: child for child in numbered if (child / SWEEPS).is_dir()}
        if found:
            return found
    return {}


@cache
def description() -> RigDescription:
    """Return the description of a sequence's layout."""
    with resources.as_file(resources.files("labelfree.data.lidar_rig").joinpath("semantic_kitti.yaml")) as file:
        return read_rig(file)


def open_semantic_kitti(path: Path, root: Path | None, options: ReadOptions) -> OpenedDataset:
    """Open the sweeps of a split, or all; `every` and `limit` count the sweeps of each sequence.

    Raises an `InputError` if the split is unknown or its sequences are missing.
    """
    sources, notes = _sweeps(path, root, options)
    return OpenedDataset(sources, description().names(), notes)


def _sweeps(path: Path, root: Path | None, options: ReadOptions) -> tuple[tuple[SweepSource, ...], tuple[str, ...]]:
    if root is not None:
        raise InputError(f"--root {root} is for a description file, but {path} is itself a dataset; leave it out.")
    there = _sequences(path)
    if not there:
        raise InputError(f"{path}: holds no sequence with a folder {SWEEPS}, such as sequences/00/{SWEEPS}.")
    wanted = there if options.split is None else _of_split(path, options.split, there)
    sources, notes = list[SweepSource](), list[str]()
    for name, folder in wanted.items():
        rig, said = rig_at(description(), folder)
        if not rig.sweeps:
            raise InputError(f"{folder / SWEEPS}: holds no sweeps (*.bin); unpack the sequence again.")
        sources += sweeps_of(rig, options, name)
        notes += said
    notes.insert(0, f"SemanticKITTI: {len(sources)} sweeps of {len(wanted)} sequences ({', '.join(wanted)})")
    return tuple(sources), tuple(notes)


def _of_split(path: Path, split: str, there: dict[str, Path]) -> dict[str, Path]:
    if split not in SPLITS:
        raise InputError(f"--split is '{split}': SemanticKITTI has {', '.join(SPLITS)}.")
    found = {name: folder for name, folder in there.items() if name in SPLITS[split]}
    if not found:
        raise InputError(
            f"{path}: holds sequences {', '.join(there)}, but split '{split}' is {', '.join(SPLITS[split])}; leave "
            "--split out or unpack these."
        )
    return found


def survey_semantic_kitti(path: Path, root: Path | None, options: ReadOptions, progress: SurveyProgress) -> Survey:
    """Count the sweeps of a split beside the published number and check every file."""
    sources, notes = _sweeps(path, root, options)
    found = survey_sweeps(NAME, sources, notes, description().names(), progress)
    whole = options.every is None and options.limit is None
    official = OFFICIAL.get(options.split or "") if whole else None
    sweeps, pictures = found.counts
    return replace(found, counts=(replace(sweeps, official=official), pictures))


SEMANTIC_KITTI = Layout(NAME, recognises, open_semantic_kitti, survey_semantic_kitti, "nuscenes", depth=False)
