"""Define the interface of every dataset reader: scenes built on access, and a check of the files before work begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from labelfree.data.calibrations import Calibration
from labelfree.errors import InputError
from labelfree.files.names import require_safe_name
from labelfree.scene import Scene


@dataclass(frozen=True)
class ReadOptions:
    """Options that select what is read of a dataset and how unreadable scenes are handled."""

    every: int | None = None
    """Take every n-th frame of a scene; None uses the layout's default: all frames, or the number of its paper."""
    limit: int | None = None
    """Take at most this many frames of each scene."""
    split: str | None = None
    """Name of one of the dataset's own splits; None takes all scenes found."""
    cache_dir: Path | None = None
    """Folder in which fused clouds are kept."""
    skip_broken: bool = False
    """Leave out scenes that cannot be read, and name them, instead of stopping at the first one."""

    def __post_init__(self) -> None:
        if (self.every is not None and self.every < 1) or (self.limit is not None and self.limit < 1):
            raise InputError(f"every is {self.every} and limit is {self.limit}: both must be 1 or more.")
        if self.split is not None:
            require_safe_name(self.split, "--split")
        if self.cache_dir is not None:
            object.__setattr__(self, "cache_dir", Path(self.cache_dir))

    def stride(self, described: int = 1) -> int:
        """Return the step between frames: `every`, or the value of the description if `every` is None."""
        return described if self.every is None else self.every


class SceneSource(Protocol):
    """One scene on disk; files are read only on request."""

    @property
    def name(self) -> str:
        """Return the scene's name, unique in its dataset; it names the files written for this scene."""

    def build(self) -> Scene:
        """Return the scene; its images stay on disk. Raises an `InputError` that names the file at fault."""

    def faults(self, thorough: bool = False) -> tuple[str, ...]:
        """Return what is missing, truncated or contradictory in this scene's files, one sentence each.

        Headers, ends, sizes and tables are checked; images are not decoded. With `thorough`, files are read as a whole
        and the checksums inside them are verified.
        """


@runtime_checkable
class CalibratedSource(Protocol):
    """A scene whose intrinsics can come from more than one file."""

    def calibration(self) -> Calibration:
        """Return the source of the intrinsics; raises an `InputError` if there are none."""


@runtime_checkable
class BenchmarkSource(Protocol):
    """A scene of a dataset whose benchmark accepts point labels in its own file format."""

    def submission_file(self, folder: Path, split: str | None) -> Path:
        """Return the path at which the benchmark's tools expect the labels of the scene's points."""

    def submit(self, labels: NDArray[np.uint8], folder: Path, split: str | None) -> Path:  # [N], 255 = none
        """Write the labels of the scene's points, in the dataset's classes, to `submission_file`; return its path."""


@dataclass(frozen=True)
class OpenedDataset:
    """The scenes of a dataset, its class names and notes."""

    sources: Sequence[SceneSource]
    classes: tuple[str, ...] | None = None
    """Class names of the ground truth's ids, in order; None if the dataset has none."""
    notes: tuple[str, ...] = ()
    """Notes for the user, one sentence each, such as scenes left out or the split taken."""


@dataclass(frozen=True)
class Count:
    """A number of things found, beside the published number."""

    what: str
    found: int
    official: int | None = None
    """Number published by the dataset's authors; None if there is none."""


@dataclass(frozen=True)
class Survey:
    """The outcome of `labelfree prepare` for a whole dataset."""

    layout: str
    counts: tuple[Count, ...]
    problems: tuple[str, ...]
    """What must be fixed, one sentence each, with the file."""
    notes: tuple[str, ...] = ()
    frames: int = 0
    """Number of images that teachers would label; the estimates of disk space and time follow from it."""
    classes: tuple[str, ...] | None = None
    """Class names of the data; None if there are none."""


SurveyProgress = Callable[[int, int], None]
"""Called with the number of scenes done and the total."""


@dataclass(frozen=True)
class Layout:
    """A dataset's layout on disk: how it is recognised, opened and surveyed.

    Each function takes the dataset's folder, or a description file and the folder that it refers to.
    """

    name: str
    """Name for `--layout`."""
    recognises: Callable[[Path], bool]
    """Return whether a folder or description file has this layout; only names are looked at, no data is read."""
    open: Callable[[Path, Path | None, ReadOptions], OpenedDataset]
    """Open the dataset: (path, root or None, options)."""
    survey: Callable[[Path, Path | None, ReadOptions, SurveyProgress], Survey]
    """Check the whole dataset and count its contents."""
    recipe: str = "quick"
    """Default recipe for data of this layout."""
    preset: str | None = None
    """Preset of the benchmark's class names, for `--classes`."""
    first_verb: str = "run"
    """First command to run: `label` where the work is split over several machines."""
    images_only: bool = False
    """Whether the data has images without points, so that nothing can be trained on it."""
    depth: bool = True
    """Whether frames may have depth maps, with which recipes for RGB-D data pair points and pixels."""
