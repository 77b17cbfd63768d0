"""What every dataset's reader offers: scenes built when they are asked for, and a look at the files before any work."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from labelfree.data.calibrations import Calibration
from labelfree.errors import InputError
from labelfree.files.documents import reading
from labelfree.files.names import require_safe_name
from labelfree.scene import Scene


@dataclass(frozen=True)
class ReadOptions:
    """How much of a dataset is read, and what happens to what cannot be."""

    every: int | None = None
    """Take every n-th frame of a scene; None leaves it to the layout: all frames, or as many as its paper takes."""
    limit: int | None = None
    """Take at most so many frames of each scene."""
    split: str | None = None
    """Name of one of the dataset's own splits; None takes every scene that is there."""
    cache_dir: Path | None = None
    """Where fused clouds and indices are kept."""
    skip_broken: bool = False
    """Leave scenes out that cannot be read, and name them, instead of stopping at the first one."""

    def __post_init__(self) -> None:
        if (self.every is not None and self.every < 1) or (self.limit is not None and self.limit < 1):
            raise InputError(f"every is {self.every} and limit is {self.limit}: both must be 1 or more.")
        if self.split is not None:
            require_safe_name(self.split, "--split")
        if self.cache_dir is not None:
            object.__setattr__(self, "cache_dir", Path(self.cache_dir))

    def stride(self, described: int = 1) -> int:
        """Return the step between frames: `every`, or where it is not given what the description says."""
        return described if self.every is None else self.every


class SceneSource(Protocol):
    """One scene on disk; nothing is read before it is asked for."""

    @property
    def name(self) -> str:
        """Unique in its dataset; names the files written for this scene."""

    def build(self) -> Scene:
        """Return the scene, its pictures still on disk; raises `InputError` with the file that is at fault."""

    def faults(self, thorough: bool = False) -> tuple[str, ...]:
        """Return what is missing, truncated or contradictory in this scene's files, one sentence each.

        Headers, ends, sizes and tables are looked at; images are not decoded. With `thorough` checksums inside the
        files are verified, for which they are read as a whole.
        """


@runtime_checkable
class CalibratedSource(Protocol):
    """A scene whose intrinsics can come from more than one file."""

    def calibration(self) -> Calibration:
        """Return where the intrinsics are taken from; raises `InputError` where there are none."""


@runtime_checkable
class BenchmarkSource(Protocol):
    """A scene of a dataset whose benchmark takes labels of points as files of its own."""

    def submission_file(self, folder: Path, split: str | None) -> Path:
        """Return where the benchmark's tools look for the labels of the scene's points."""

    def submit(self, labels: NDArray[np.uint8], folder: Path, split: str | None) -> Path:  # [N], 255 = none
        """Write labels of the scene's points, in the dataset's classes, into their `submission_file`."""


@dataclass(frozen=True)
class OpenedDataset:
    """A dataset's scenes."""

    sources: Sequence[SceneSource]
    classes: tuple[str, ...] | None = None
    """Class names that the ground truth's ids mean, in order; None where the dataset comes without."""
    notes: tuple[str, ...] = ()
    """What a user should know, one sentence each: scenes left out, the split that was taken."""


@dataclass(frozen=True)
class Count:
    """How many of something are there."""

    what: str
    found: int
    official: int | None = None
    """As many as the dataset's authors publish; None where they publish no number."""


@dataclass(frozen=True)
class Survey:
    """What `labelfree prepare` says about a whole tree."""

    layout: str
    counts: tuple[Count, ...]
    problems: tuple[str, ...]
    """What must be mended, one sentence each, with the file."""
    notes: tuple[str, ...] = ()
    frames: int = 0
    """Images that teachers would label: the estimate of disk and time follows from it."""
    classes: tuple[str, ...] | None = None
    """Class names that come with the data; None where there are none."""


SurveyProgress = Callable[[int, int], None]
"""Hears how many of how many scenes are done."""


@dataclass(frozen=True)
class Layout:
    """A dataset's layout on disk: how it is recognised, opened and gone through.

    Each takes the dataset's folder, or the description file that stands for it with the folder it speaks of.
    """

    name: str
    """As `--layout` takes it."""
    recognises: Callable[[Path], bool]
    """Whether a folder or description file is of this layout, judged by a few names, never by reading data."""
    open: Callable[[Path, Path | None, ReadOptions], OpenedDataset]
    """Open (path, root or None, options)."""
    survey: Callable[[Path, Path | None, ReadOptions, SurveyProgress], Survey]
    """Go through the whole tree."""
    recipe: str = "quick"
    """The settings that suit it unless others are asked for."""
    preset: str | None = None
    """Preset of class names that the dataset's benchmark has, as `--classes` takes it."""
    first_verb: str = "run"
    """The verb that begins the work: `label` where it is done in parts, on several machines."""
    images_only: bool = False
    """Whether there are images without points: nothing can be trained on them."""
    depth: bool = True
    """Whether frames may have depth maps, through which recipes for RGB-D data pair points with pixels."""


def calibrations_of(sources: Sequence[SceneSource]) -> list[Calibration]:
    """Return the calibrations of the scenes that have one and can be read."""
    found = []
    for source in sources if sources and isinstance(sources[0], CalibratedSource) else ():
        with contextlib.suppress(InputError, OSError):
            found.append(cast(CalibratedSource, source).calibration())
    return found


def faults_of(source: SceneSource, thorough: bool = False) -> tuple[str, ...]:
    """Return what is wrong with a scene's files; files that the system refuses to read are among it."""
    try:
        with reading(Path(source.name)):
            return source.faults(thorough)
    except InputError as error:
        return (str(error),)


def leave_out_broken(path: Path, opened: OpenedDataset, options: ReadOptions) -> OpenedDataset:
    """Return the scenes without those that cannot be read, where these are to be left out; refuse to return none."""
    sources, notes = tuple(opened.sources), opened.notes
    if not sources:
        raise InputError(f"{path}: holds no scene; unpack its tables and files again, or give another folder.")
    for source in sources:
        require_safe_name(source.name, f"{path}: the name of a scene")
    if options.skip_broken:
        broken = {source.name: faults[0] for source in sources if (faults := faults_of(source))}
        sources = tuple(source for source in sources if source.name not in broken)
        notes += tuple(f"scene '{name}' is left out: {fault}" for name, fault in broken.items())
        if not sources:
            raise InputError(f"{path}: no scene is left after leaving out the broken ones; {notes[-1]}")
    return replace(opened, sources=sources, notes=notes)
