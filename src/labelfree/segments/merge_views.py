"""Merge a fine over-segmentation by agreement of masks across views, after SAI3D (Yin et al., CVPR 2024).

Two neighbouring regions have an affinity: the agreement of their histograms over the masks of each view, averaged over
the views that see both (`mask_counts.agreement`), and a geometric affinity that counts as much as a few points. Regions
are merged while a pair reaches a threshold; affinities of merged regions are computed again from their joint points.
The threshold falls in steps. Each step gives one level of a hierarchy, so the levels are nested.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelfree.segments.mask_counts import MaskCounts, agreement

DECIMALS = 9
"""Affinities are rounded, so that equal ones are not ordered by errors of rounding."""


@dataclass(frozen=True)
class MergeOptions:
    """The options of merging by views."""

    thresholds: tuple[float, ...] = (0.9, 0.8, 0.7, 0.6, 0.5)
    """Falling affinities from which regions are merged; one level of the hierarchy each."""
    geometry_points: float = 10.0
    """Number of points as much as which the geometric affinity counts against the views."""
    geometry_scale: float = 0.1
    """Dissimilarity of the border between two regions at which the geometric affinity falls to 1 / e."""


@dataclass(frozen=True, eq=False)
class Borders:
    """The B pairs of neighbouring regions, by ascending pair; the first region of a pair is the lower."""

    pairs: NDArray[np.int64]  # [B, 2]
    edges: NDArray[np.int64]  # [B] edges of the graph that cross the border
    weight: NDArray[np.float64]  # [B] sum of their weights

    def merged(self, label: NDArray[np.int64]) -> Borders:  # [R] new region of each region
        """Return the borders after regions are merged."""
        return borders(label[self.pairs], self.weight, self.edges)


def borders(
    pairs: NDArray[np.int64],  # [E, 2] regions of both ends of edges
    weights: NDArray[np.float64],  # [E]
    edges: NDArray[np.int64] | None = None,  # [E] number of edges; None for one each
) -> Borders:
    """Return the borders that edges between regions form."""
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    across = int(high.max()) + 1 if len(high) else 1
    keys, place = np.unique((low * across + high)[low != high], return_inverse=True)
    count = None if edges is None else edges[low != high]
    number = np.bincount(place, count, minlength=len(keys)).astype(np.int64)
    weight = np.bincount(place, weights[low != high], minlength=len(keys)).astype(np.float64)
    return Borders(np.stack([keys // across, keys % across], axis=1), number, weight)


def merge_by_views(
    regions: int,
    border: Borders,
    counts: MaskCounts,
    options: MergeOptions | None = None,
) -> NDArray[np.int64]:  # [L, regions]
    """Return the segment of each region at each level, finest first, numbered from 0 by the segments' first regions."""
    options = options or MergeOptions()
    label, levels = np.arange(regions), []
    for threshold in options.thresholds:
        while len(border.pairs):
            reached = affinities(int(label.max()) + 1, border, counts, options)
            chosen = np.flatnonzero(reached >= threshold)
            if not len(chosen):
                break
            step = _joined(int(label.max()) + 1, border.pairs[chosen], reached[chosen])
            label, counts, border = step[label], counts.merged(step), border.merged(step)
        levels.append(label)
    return np.stack(levels)


def affinities(
    regions: int, border: Borders, counts: MaskCounts, options: MergeOptions
) -> NDArray[np.float64]:  # [B] 0..1
    """Return the affinity of each pair of neighbours: agreement over views and geometry, weighted by their points."""
    geometric = np.exp(-border.weight / border.edges / options.geometry_scale)
    agreed, weight = agreement(counts, regions, border.pairs)
    total = weight + options.geometry_points
    return np.round((agreed + options.geometry_points * geometric) / total, DECIMALS)


def _joined(
    regions: int,
    pairs: NDArray[np.int64],  # [C, 2]
    affinity: NDArray[np.float64],  # [C]
) -> NDArray[np.int64]:  # [regions]
    """Return the new region of each region after one round.

    Pairs are ordered by falling affinity, then by number. A pair that is the first one of both of its regions is
    merged; a region whose first pair leads to a merged region joins it.
    """
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -affinity))
    a, b = pairs[order].T
    first = np.full(regions, len(order))
    np.minimum.at(first, a, np.arange(len(order)))
    np.minimum.at(first, b, np.arange(len(order)))
    rank = np.arange(len(order))
    mutual = (first[a] == rank) & (first[b] == rank)
    root = np.arange(regions)
    root[b[mutual]] = a[mutual]
    taken = np.zeros(regions, np.bool_)
    taken[a[mutual]] = taken[b[mutual]] = True
    for here, there in ((a, b), (b, a)):
        follows = (first[here] == rank) & ~taken[here] & taken[there]
        root[here[follows]] = root[there[follows]]
    lowest = np.arange(regions)
    np.minimum.at(lowest, root, np.arange(regions))
    return np.unique(lowest[root], return_inverse=True)[1]
