"""Normals of voxels by principal components of the voxels around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelfree.segments.voxels import MARGIN, VoxelGrid

_FIRST, _SECOND = np.triu_indices(3)


def voxel_normals(grid: VoxelGrid) -> NDArray[np.float64]:  # [V, 3]
    """Return the unit normal of each voxel, of either sign: the direction of least spread of its 5x5x5 neighbourhood.

    Each occupied voxel counts once, at the mean position of its points.
    """
    _, directions = np.linalg.eigh(neighbourhood_spread(grid))
    return np.ascontiguousarray(directions[:, :, 0])


def neighbourhood_spread(grid: VoxelGrid) -> NDArray[np.float64]:  # [V, 3, 3]
    """Return the covariance of the positions in each 5x5x5 neighbourhood, times the squared number of voxels.

    Voxels of one column are consecutive, so the sum over five of them is a difference of two running sums. All sums are
    whole numbers. Running sums may wrap around, their differences are exact nevertheless.
    """
    p = grid.positions
    columns = [np.ones((len(p), 1), np.int64), p, p[:, _FIRST] * p[:, _SECOND]]
    running = np.concatenate([np.zeros((1, 10), np.int64), np.concatenate(columns, axis=1).cumsum(axis=0)])
    found = np.zeros((len(p), 10), np.int64)
    for x in range(-MARGIN, MARGIN + 1):
        for y in range(-MARGIN, MARGIN + 1):
            first = np.searchsorted(grid.keys, grid.keys + grid.step(x, y, -MARGIN), "left")
            last = np.searchsorted(grid.keys, grid.keys + grid.step(x, y, MARGIN), "right")
            some = np.flatnonzero(last > first)
            found[some] += running[last[some]] - running[first[some]]
    count, sums, products = found[:, :1], found[:, 1:4], found[:, 4:]
    spread = count * products - sums[:, _FIRST] * sums[:, _SECOND]
    matrix = np.empty((len(p), 3, 3))
    matrix[:, _FIRST, _SECOND] = matrix[:, _SECOND, _FIRST] = spread
    return matrix
