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
    differ, both = np.zeros(len(edges), np.int64), np.zeros(len(edges), np.int64)
    for points, ids in views:
        own = voxel_masks(voxel[points], ids, voxels)
        a, b = own[edges[:, 0]], own[edges[:, 1]]
        seen = (a != NO_MASK) & (b != NO_MASK)
        both += seen
        differ += seen & (a != b)
    return differ / np.maximum(both + prior_views, 1e-9)


def voxel_masks(
    voxel: NDArray[np.int64],  # [P] voxel of each point
    ids: NDArray[np.integer[Any]],  # [P] mask of each point, 0 = no mask
    voxels: int,
) -> NDArray[np.int64]:  # [voxels]
    """Return the most frequent mask of the points of each voxel; ties go to the lowest id, 0 where no mask is."""
    covered = ids != NO_MASK
    across = int(ids.max()) + 1 if len(ids) else 1
    keys, count = np.unique(voxel[covered] * across + ids[covered], return_counts=True)
    order = np.lexsort((keys % across, -count, keys // across))
    place, first = np.unique(keys[order] // across, return_index=True)
    found = np.full(voxels, NO_MASK, np.int64)
    found[place] = keys[order][first] % across
    return found
