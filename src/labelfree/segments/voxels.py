"""Occupied voxels of a cloud, with mean position and colour; equal for any order of the points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MARGIN = 2
"""Empty voxels kept on each side of the grid, so that neighbours up to this far have keys of their own."""

STEPS_PER_VOXEL = 512
"""Resolution of positions inside a voxel. Whole steps add up exactly, so the order of the points does not matter."""


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """The V occupied voxels of N points, by ascending key."""

    keys: NDArray[np.int64]
    """[V] (x * shape[1] + y) * shape[2] + z of each voxel's cell."""
    shape: tuple[int, int, int]
    """Cells of the grid along each axis, with the margin."""
    positions: NDArray[np.int64]
    """[V, 3] mean position of a voxel's points, in steps of `voxel_m / STEPS_PER_VOXEL`."""
    colours: NDArray[np.float64] | None
    """[V, 3] mean RGB in 0..1; None without colours."""
    inverse: NDArray[np.int64]
    """[N] the voxel of each point."""
    voxel_m: float
    """Side of a voxel in metres."""

    def __len__(self) -> int:
        return len(self.keys)

    def step(self, x: int, y: int, z: int) -> int:
        """Return the difference of key to the neighbour at (x, y, z)."""
        return (x * self.shape[1] + y) * self.shape[2] + z


def voxel_grid(
    points: NDArray[np.floating[Any]],  # [N, 3] metres
    colours: NDArray[np.uint8] | None,  # [N, 3]
    voxel_m: float,
) -> VoxelGrid:
    """Return the occupied voxels of a cloud of at least one point."""
    steps = np.floor(points.astype(np.float64) / voxel_m * STEPS_PER_VOXEL).astype(np.int64)
    cells = steps // STEPS_PER_VOXEL
    low = cells.min(axis=0) - MARGIN
    cells -= low
    x, y, z = (int(side) + 1 + MARGIN for side in cells.max(axis=0))
    keys, inverse = np.unique((cells[:, 0] * y + cells[:, 1]) * z + cells[:, 2], return_inverse=True)
    count = np.bincount(inverse, minlength=len(keys))
    positions = _sums(steps - low * STEPS_PER_VOXEL, inverse, len(keys)) // count[:, None]
    mean = None if colours is None else _sums(colours.astype(np.int64), inverse, len(keys)) / (255.0 * count[:, None])
    return VoxelGrid(keys, (x, y, z), positions, mean, inverse, voxel_m)


def _sums(
    values: NDArray[np.int64],  # [N, C]
    inverse: NDArray[np.int64],  # [N]
    voxels: int,
) -> NDArray[np.int64]:  # [V, C]
    """Return the sums of each voxel's points; doubles hold whole numbers up to 2^53 exactly."""
    columns = [np.bincount(inverse, weights=column, minlength=voxels) for column in values.T]
    return np.stack(columns, axis=1).astype(np.int64)
