"""How often the points of regions lie in the masks of views, and how well two regions agree there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_MASK = 0
"""Mask id of points that no mask covers; they do not vote."""


@dataclass(frozen=True, eq=False)
class MaskCounts:
    """The K non-zero counts of points per region and mask, by ascending region, then mask."""

    region: NDArray[np.int64]
    """[K] region of each count."""
    mask: NDArray[np.int64]
    """[K] mask of each count; masks are numbered over all views, those of one view are consecutive."""
    count: NDArray[np.int64]
    """[K] points of the region in the mask."""
    view: NDArray[np.int64]
    """[M] view of each mask."""

    def merged(self, label: NDArray[np.int64]) -> MaskCounts:  # [R] new region of each region
        """Return the counts after regions are merged."""
        return _summed(label[self.region], self.mask, self.count, self.view)


def count_masks(
    region: NDArray[np.int64],  # [N] region of each point
    views: Iterable[tuple[NDArray[np.int64], NDArray[np.integer[Any]]]],  # points [P] of a view and their mask ids [P]
) -> MaskCounts:
    """Return how many points of each region lie in each mask of each view; mask id 0 is left out."""
    regions, masks, view_of = [], [], []
    first = 0
    for number, (points, ids) in enumerate(views):
        covered = ids != NO_MASK
        present, own = np.unique(ids[covered], return_inverse=True)
        regions.append(region[points[covered]])
        masks.append(own + first)
        view_of.append(np.full(len(present), number))
        first += len(present)
    if not regions:
        none = np.empty(0, np.int64)
        return MaskCounts(none, none, none, none)
    column, row = np.concatenate(masks), np.concatenate(regions)
    return _summed(row, column, np.ones(len(row), np.int64), np.concatenate(view_of).astype(np.int64))


def _summed(
    region: NDArray[np.int64],  # [k]
    mask: NDArray[np.int64],  # [k]
    count: NDArray[np.int64],  # [k]
    view: NDArray[np.int64],  # [M]
) -> MaskCounts:
    """Return counts with one entry per region and mask."""
    across = max(1, len(view))
    keys, place = np.unique(region * across + mask, return_inverse=True)
    sums = np.bincount(place, weights=count, minlength=len(keys)).astype(np.int64)
    return MaskCounts(keys // across, keys % across, sums, view)


def agreement(
    counts: MaskCounts,
    regions: int,
    pairs: NDArray[np.int64],  # [E, 2] regions
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # [E], [E]
    """Return the agreement of pairs of regions summed over views, and the weight of the views.

    In a view, two regions agree by the cosine of their histograms over the view's masks. The weight of the view is the
    smaller number of covered points of both. A view that covers only one of both regions has no weight.
    """
    views = int(counts.view.max()) + 1 if len(counts.view) else 1
    seen_key, place = np.unique(counts.region * views + counts.view[counts.mask], return_inverse=True)
    covered = np.bincount(place, weights=counts.count, minlength=len(seen_key))
    norm = np.sqrt(np.bincount(place, weights=counts.count.astype(np.float64) ** 2, minlength=len(seen_key)))
    share, points = counts.count / norm[place], covered[place]

    edge, a, b = _shared(counts.region, counts.mask, max(1, len(counts.view)), regions, pairs)
    votes = share[a] * share[b] * np.minimum(points[a], points[b])
    agreed = np.bincount(edge, votes, minlength=len(pairs)).astype(np.float64)
    edge, a, b = _shared(seen_key // views, seen_key % views, views, regions, pairs)
    weight = np.bincount(edge, np.minimum(covered[a], covered[b]), minlength=len(pairs)).astype(np.float64)
    return agreed, weight


def _shared(
    row: NDArray[np.int64],  # [K] by ascending row, then column
    column: NDArray[np.int64],  # [K]
    columns: int,
    rows: int,
    pairs: NDArray[np.int64],  # [E, 2] rows
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:  # [J] each
    """Return the entries of a sparse matrix that the two rows of each pair have in the same column: pair and entries.

    The entries of the shorter row are looked up in the longer one.
    """
    start = np.searchsorted(row, np.arange(rows + 1))
    length = np.diff(start)
    swapped = length[pairs[:, 0]] > length[pairs[:, 1]]
    short, long = np.where(swapped, pairs[:, 1], pairs[:, 0]), np.where(swapped, pairs[:, 0], pairs[:, 1])
    pair = np.repeat(np.arange(len(pairs)), length[short])
    before = np.cumsum(length[short]) - length[short]
    entry = np.arange(len(pair)) - before[pair] + start[short[pair]]
    keys = row * columns + column
    wanted = long[pair] * columns + column[entry]
    place = np.searchsorted(keys, wanted)
    place[place == len(keys)] = 0
    found = np.flatnonzero(keys[place] == wanted) if len(keys) else np.empty(0, np.int64)
    return pair[found], entry[found], place[found]
