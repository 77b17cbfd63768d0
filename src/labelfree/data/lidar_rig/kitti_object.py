"""Open KITTI's object benchmark by its folder: `training` and `testing` with a calibration file per sweep.

The layout of a split is described in `kitti_object.yaml`, which users may copy and change.
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

NAME = "kitti-object"
SWEEPS = "velodyne"
OFFICIAL = {"training": 7_481, "testing": 7_518}
"""Sweeps of each split, as published (https://www.cvlibs.net/datasets/kitti/eval_object.php)."""


def recognises(path: Path) -> bool:
    """Return whether a folder is a split or contains splits."""
    return path.is_dir() and bool(_splits(path))


def is_split(folder: Path) -> bool:
    """Return whether a folder contains sweeps with boxes or one calibration file each, unlike KITTI odometry."""
    own = any((folder / name).is_dir() for name in ("calib", "label_2"))
    return own and (folder / SWEEPS).is_dir() and not (folder / "calib.txt").is_file()


def _splits(path: Path) -> dict[str, Path]:
    """Return the splits by name: the folder itself, or those in it, in `object` or in `data_object`."""
    if is_split(path):
        return {path.resolve().name: path}
    for base in (path, path / "object", path / "data_object"):
        found = {name: base / name for name in OFFICIAL if is_split(base / name)}
        if found:
            return found
    return {}


@cache
def description() -> RigDescription:
    """Return the description of a split's layout."""
    with resources.as_file(resources.files("labelfree.data.lidar_rig").joinpath("kitti_object.yaml")) as file:
        return read_rig(file)


def open_kitti_object(path: Path, root: Path | None, options: ReadOptions) -> OpenedDataset:
    """Open the sweeps of one split or both; `every` and `limit` count the sweeps of each split.

    Raises an `InputError` if the split or its sweeps are missing.
    """
    sources, notes = _sweeps(path, root, options)
    return OpenedDataset(sources, None, notes)


def _sweeps(path: Path, root: Path | None, options: ReadOptions) -> tuple[tuple[SweepSource, ...], tuple[str, ...]]:
    if root is not None:
        raise InputError(f"--root {root} is for a description file, but {path} is itself a dataset; leave it out.")
    there = _splits(path)
    if not there:
        raise InputError(
            f"{path}: holds no training/{SWEEPS} with training/calib/*.txt; unpack KITTI's archives there."
        )
    if options.split is not None and options.split not in there:
        raise InputError(f"--split is '{options.split}': {path} holds {', '.join(there)}.")
    wanted = there if options.split is None else {options.split: there[options.split]}
    sources, notes = list[SweepSource](), list[str]()
    for name, folder in wanted.items():
        rig, said = rig_at(description(), folder)
        if not rig.sweeps:
            raise InputError(f"{folder / SWEEPS}: holds no sweeps (*.bin); unpack the split again.")
        sources += sweeps_of(rig, options, name if len(wanted) > 1 else None)
        notes += said
    found = f"KITTI object: {len(sources)} sweeps of {' and '.join(wanted)}; the boxes in label_2 are not read"
    return tuple(sources), (found, *notes)


def survey_kitti_object(path: Path, root: Path | None, options: ReadOptions, progress: SurveyProgress) -> Survey:
    """Count the sweeps of a split beside the published number and check every file."""
    sources, notes = _sweeps(path, root, options)
    found = survey_sweeps(NAME, sources, notes, None, progress)
    whole = options.every is None and options.limit is None
    taken = _splits(path) if options.split is None else (options.split,)
    official = sum(OFFICIAL.get(name, 0) for name in taken) if whole else 0
    sweeps, pictures = found.counts
    return replace(found, counts=(replace(sweeps, official=official or None), pictures))


KITTI_OBJECT = Layout(NAME, recognises, open_kitti_object, survey_kitti_object, "nuscenes", depth=False)
