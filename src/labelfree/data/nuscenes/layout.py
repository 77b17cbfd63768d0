"""Open nuScenes by its folder: choose version, split and key frames, with or without lidarseg."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from labelfree.data.layout import Count, Layout, OpenedDataset, ReadOptions, SceneSource, Survey, SurveyProgress
from labelfree.data.nuscenes.index import CAMERAS, NuScenesIndex, open_index
from labelfree.data.nuscenes.lidarseg import HIGHEST_RAW_ID, MERGED, RAW_IDS, merging
from labelfree.data.nuscenes.metadata import small_table, text_field, whole_field
from labelfree.data.nuscenes.reader import KeyFrameSource, PointLabels
from labelfree.data.nuscenes.splits import split_names, split_scenes
from labelfree.data.sources import checked_sources
from labelfree.errors import InputError

VERSIONS = ("v1.0-trainval", "v1.0-test", "v1.0-mini")
OFFICIAL = {
    "v1.0-trainval": (850, 34149, 2631083),
    "v1.0-test": (150, 6008, 462901),
    "v1.0-mini": (10, 404, 31206),
}
"""Published numbers of scenes, samples and sensor readings."""


@dataclass(frozen=True, eq=False)
class KeyFrames(Sequence[SceneSource]):
    """The selected key frames; each is created on access."""

    tables: NuScenesIndex
    samples: NDArray[np.int64]
    labels: PointLabels | None

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, place: int) -> SceneSource: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[SceneSource]: ...
    def __getitem__(self, place: int | slice) -> SceneSource | Sequence[SceneSource]:
        if isinstance(place, slice):
            return KeyFrames(self.tables, self.samples[place], self.labels)
        return KeyFrameSource(self.tables, int(self.samples[place]), self.labels)


def recognises(path: Path) -> bool:
    """Return whether a folder contains the tables of a nuScenes version; nuImages has no `scene.json`."""
    return any((path / version / "scene.json").is_file() for version in VERSIONS)


def open_nuscenes(path: Path, root: Path | None, options: ReadOptions) -> OpenedDataset:
    """Open the key frames of a split, or all; `every` and `limit` count the key frames of each drive.

    Raises an `InputError` if tables are missing or contradictory, or the split has no scene here.
    """
    keys, notes = _key_frames(path, root, options)
    return OpenedDataset(keys, tuple(MERGED), notes)


def _key_frames(path: Path, root: Path | None, options: ReadOptions) -> tuple[KeyFrames, tuple[str, ...]]:
    if root is not None:
        raise InputError(f"--root {root} is for a description file, but {path} is itself a dataset; leave it out.")
    version = _version(path, options.split)
    index = open_index(path, version)
    samples, notes = _chosen(path, index, options)
    labels = point_labels(path, version)
    return KeyFrames(index, samples, labels), notes + _said(index, samples, labels)


def _version(path: Path, split: str | None) -> str:
    there = [version for version in VERSIONS if (path / version).is_dir()]
    if not there:
        raise InputError(f"{path}: has none of the folders {', '.join(VERSIONS)}; unpack nuScenes' metadata there.")
    if split is None or len(there) == 1:
        if len(there) > 1:
            raise InputError(
                f"{path}: holds {' and '.join(there)}; select scenes with --split train, val, test or mini_train."
            )
        return there[0]
    wanted = "v1.0-mini" if split.startswith("mini") else "v1.0-test" if split == "test" else "v1.0-trainval"
    return wanted if wanted in there else there[0]


def _chosen(path: Path, index: NuScenesIndex, options: ReadOptions) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    samples: NDArray[np.int64] = np.arange(len(index))
    notes: tuple[str, ...] = ()
    if options.split is not None:
        wanted = split_scenes(path, options.split)
        there = np.array([name in wanted for name in index.scenes], bool)
        if not there.any():
            raise InputError(
                f"{path}: none of the {len(index.scenes)} scenes of {index.version} is in split '{options.split}'; "
                f"known splits are {', '.join(split_names())}."
            )
        samples = samples[there[index.arrays.sample_scene]]
        if int(there.sum()) < len(wanted):
            notes = (f"split {options.split}: {int(there.sum())} of its {len(wanted)} scenes are in {index.version}",)
    if options.every is not None or options.limit is not None:
        every, order = options.every or 1, index.arrays.sample_order[samples]
        kept = order % every == 0
        if options.limit is not None:
            kept &= order < every * options.limit
        samples = samples[kept]
    return samples, notes


def _said(index: NuScenesIndex, samples: NDArray[np.int64], labels: PointLabels | None) -> tuple[str, ...]:
    drives = len(np.unique(index.arrays.sample_scene[samples]))
    taken = f"nuScenes {index.version}: {len(samples)} key frames of {drives} scenes"
    return (taken if labels is not None else f"{taken}, without lidarseg: nothing can be evaluated in 3D",)


def point_labels(path: Path, version: str) -> PointLabels | None:
    """Return the location of lidarseg's labels; None if they are not unpacked."""
    folder = path / "lidarseg" / version
    if not folder.is_dir():
        return None
    table = path / version / "category.json"
    categories = small_table(table)
    indexed = {
        text_field(table, row, "name"): whole_field(table, row, "index", 0, 255)
        for row in categories.values()
        if "index" in row
    }
    return PointLabels(folder, merging(indexed or RAW_IDS), max(indexed.values(), default=HIGHEST_RAW_ID))


def survey_nuscenes(path: Path, root: Path | None, options: ReadOptions, progress: SurveyProgress) -> Survey:
    """Count scenes, key frames and readings beside the published numbers, and check every key frame's files."""
    keys, notes = _key_frames(path, root, options)
    index = keys.tables
    whole = options.split is None and options.every is None and options.limit is None
    official: tuple[int | None, ...] = OFFICIAL[index.version] if whole else (None, None, None)
    problems: list[str] = []
    for _, faults in checked_sources(keys, progress):
        problems += faults
    found = [("scenes", len(np.unique(index.arrays.sample_scene[keys.samples]))), ("key frames", len(keys))]
    if whole:
        found.append(("sensor readings", len(index.arrays.data_time)))
    counts = tuple(Count(what, number, published) for (what, number), published in zip(found, official))
    return Survey("nuscenes", counts, tuple(problems), notes, len(keys) * len(CAMERAS))


NUSCENES = Layout(
    "nuscenes",
    recognises,
    open_nuscenes,
    survey_nuscenes,
    "nuscenes",
    preset="nuscenes16",
    first_verb="label",
    depth=False,
)
