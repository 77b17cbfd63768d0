"""Report which file a scene's intrinsics come from and which other files disagree with it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.data.poses import read_intrinsics, scaled_intrinsics
from labelfree.errors import InputError

TOLERANCE_PX = 0.5
"""Largest difference in fx, fy, cx and cy, in pixels, at which two calibrations count as equal."""
NAMED = 5
"""Number of disagreements that are listed; the others are counted."""
DEPTH_INTRINSICS = (
    *("intrinsics_depth.txt", "intrinsic/intrinsic_depth.txt", "intrinsics/intrinsic_depth.txt"),
    *("intrinsics/intrinsics_depth.txt", "intrinsic/intrinsics_depth.txt", "intrinsic_depth.txt"),
)
"""Files with the depth camera's intrinsics in exports: scannet_frames_25k, ScanNet's reader and usual variants."""
_VALUES = {"fx": (0, 0), "fy": (1, 1), "cx": (0, 2), "cy": (1, 2)}


@dataclass(frozen=True, eq=False)
class StatedIntrinsics:
    """Intrinsics and their source."""

    where: str
    """The file and the keys in it."""
    matrix: NDArray[np.float64]
    """[3, 3] in pixels of the frames' grid."""


@dataclass(frozen=True)
class Calibration:
    """The source of the intrinsics of a scene."""

    used: str
    """The file and how it was used."""
    kind: str
    """The file's path within its scene, equal for scenes with the same layout."""
    doubts: tuple[str, ...] = ()
    """Other files with different intrinsics, one sentence each."""


def doubts(used: StatedIntrinsics, others: Iterable[StatedIntrinsics]) -> tuple[str, ...]:
    """Return one sentence for each other source whose intrinsics differ by more than half a pixel."""
    return tuple(text for other in others if (text := disagreement(used, [other])) is not None)


def disagreement(used: StatedIntrinsics, readings: Sequence[StatedIntrinsics]) -> str | None:
    """Return a sentence if every reading of another source disagrees with the intrinsics in use; else None."""
    found = []
    for reading in readings:
        apart = {name: abs(float(used.matrix[at] - reading.matrix[at])) for name, at in _VALUES.items()}
        name = max(apart, key=lambda value: apart[value])
        found.append((apart[name], name, reading))
    if not found or min(found, key=lambda each: each[0])[0] <= TOLERANCE_PX:
        return None
    pixels, name, reading = min(found, key=lambda each: each[0])
    at = _VALUES[name]
    return (
        f"{used.where} and {reading.where} disagree: {name} is {used.matrix[at]:.1f} and {reading.matrix[at]:.1f}, a "
        f"difference of {pixels:.1f} pixels; the first one is used, remove the wrong one."
    )


def readings_of(path: Path, sizes: Iterable[tuple[int, int]], grid: tuple[int, int]) -> tuple[StatedIntrinsics, ...]:
    """Return the intrinsics of a file on the frames' grid, one for each image size that they may belong to.

    Returns an empty tuple if the file contains no intrinsics.
    """
    with contextlib.suppress(InputError):
        matrix = read_intrinsics(path)
        return tuple(StatedIntrinsics(str(path), scaled_intrinsics(matrix, own, grid)) for own in dict.fromkeys(sizes))
    return ()


def calibration_notes(found: Sequence[Calibration]) -> tuple[str, ...]:
    """Return notes: which calibration is used, by kind, and which sources disagree."""
    kinds = Counter(each.kind for each in found)
    if len(found) == 1:
        used = [f"calibration: {found[0].used}"]
    else:
        used = [f"calibration of {count} scenes: {kind}" for kind, count in kinds.most_common()]
    return (*used, *doubt_notes(found))


def doubt_notes(found: Sequence[Calibration]) -> tuple[str, ...]:
    """Return notes on sources of calibration that disagree: the first few in full, the others counted."""
    told = list(dict.fromkeys(text for each in found for text in each.doubts))
    if len(told) > NAMED:
        told = [*told[:NAMED], f"{len(told) - NAMED} more sources of calibration disagree"]
    return tuple(told)
