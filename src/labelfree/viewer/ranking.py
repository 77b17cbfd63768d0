"""Lists of segments and points: those most similar to words, and those whose labels are most doubtful."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_POINTS = 10
"""Segments with fewer points are not listed."""


@dataclass(frozen=True)
class RankedSegment:
    """A segment with its mean value."""

    segment: int
    mean: float
    points: int


def segment_means(
    values: NDArray[np.floating[Any]],  # [N], NaN = unknown
    segments: NDArray[np.integer[Any]],  # [N] from 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:  # [S], [S]
    """Return the mean of the known values of each segment, NaN if there are none, and the number of its points."""
    known = np.isfinite(values)
    count = int(segments.max(initial=-1)) + 1
    sums = np.bincount(segments[known], values[known], count)
    with np.errstate(invalid="ignore"):
        means = sums / np.bincount(segments[known], minlength=count)
    return means, np.bincount(segments, minlength=count)


def ranked_segments(
    similarity: NDArray[np.floating[Any]],  # [N]
    segments: NDArray[np.integer[Any]],  # [N]
    threshold: float = -np.inf,
    least_points: int = LEAST_POINTS,
) -> tuple[RankedSegment, ...]:
    """Return the segments whose mean similarity is at least a threshold, most similar first."""
    means, sizes = segment_means(similarity, segments)
    listed = np.flatnonzero((sizes >= least_points) & (means >= threshold))
    order = listed[np.argsort(-means[listed], kind="stable")]
    return tuple(RankedSegment(int(s), float(means[s]), int(sizes[s])) for s in order)


def doubtful_segments(
    scores: NDArray[np.floating[Any]],  # [N] confidence 0..1
    segments: NDArray[np.integer[Any]],  # [N]
    done: NDArray[np.bool_],  # [N] points that are corrected already
    least_points: int = LEAST_POINTS,
) -> tuple[RankedSegment, ...]:
    """Return segments by expected wrong points, (1 - mean confidence) x size, most first.

    Segments of which more than half is corrected are left out.
    """
    means, sizes = segment_means(scores, segments)
    finished = np.bincount(segments[done], minlength=len(sizes))
    listed = np.flatnonzero((sizes >= least_points) & (2 * finished <= sizes) & np.isfinite(means))
    doubt = (1.0 - means[listed]) * sizes[listed]
    order = listed[np.argsort(-doubt, kind="stable")]
    return tuple(RankedSegment(int(s), float(means[s]), int(sizes[s])) for s in order)
