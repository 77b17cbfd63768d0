"""The share of views in which a border between masks runs between two neighbouring voxels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.segments.mask_counts import NO_MASK


def border_share(
    edges: NDArray[np.int64],  # [E, 2] voxels
    voxel: NDArray[np.int64],  # [N] voxel of each point
    voxels: int,
    views: Iterable[tuple[NDArray[np.int64], NDArray[np.integer[Any]]]],  # points [P] of a view and their mask ids [P]
    prior_views: float,
) -> NDArray[np.float64]:  # [E] 0..1
    """Return the share of the views that cover both ends of an edge in which the ends have different masks.

    `prior_views` views without a border are added, so that few views say little.
    """
    order = np.argsort(edges[:, 0], kind="stable")
    start = np.searchsorted(edges[order, 0], np.arange(voxels + 1))
    differ, both = np.zeros(len(edges), np.int64), np.zeros(len(edges), np.int64)
    own = np.full(voxels, NO_MASK, np.int64)
    for points, ids in views:
        seen, mask = voxel_masks(voxel[points], ids)
        own[seen] = mask
        # The edges whose first end is seen
        count = start[seen + 1] - start[seen]
        before = np.cumsum(count) - count
        edge = order[np.arange(count.sum()) - np.repeat(before - start[seen], count)]
        there = own[edges[edge, 1]]
        covered = there != NO_MASK
        both[edge] += covered
        differ[edge] += covered & (there != np.repeat(mask, count))
        own[seen] = NO_MASK
    return differ / np.maximum(both + prior_views, 1e-9)


def voxel_masks(
    voxel: NDArray[np.int64],  # [P] voxel of each point
    ids: NDArray[np.integer[Any]],  # [P] mask of each point, 0 = no mask
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # [v], [v]
    """Return the voxels that a mask covers, in ascending order, and the most frequent mask of each one's points.

    Ties go to the lowest id.
    """
    covered = ids != NO_MASK
    across = int(ids.max()) + 1 if len(ids) else 1
    keys, count = np.unique(voxel[covered] * across + ids[covered], return_counts=True)
    order = np.lexsort((keys % across, -count, keys // across))
    found, first = np.unique(keys[order] // across, return_index=True)
    return found, keys[order][first] % across
