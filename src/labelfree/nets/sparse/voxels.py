"""Quantise points to voxels: the occupied cells of a grid, each with the mean of its points' features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from labelfree.errors import InputError
from labelfree.nets.sparse.kernel_map import SparseGeometry
from labelfree.nets.sparse.keys import KeyLayout
from labelfree.nets.sparse.sums import row_sums, sum_rows

LARGEST_COORDINATE = 2**30


@dataclass(frozen=True, eq=False)
class Voxels:
    """The V occupied voxels of a batch of point clouds, sorted by (batch, x, y, z)."""

    coords: Tensor  # [V, 4] int32 (batch, x, y, z)
    inverse: Tensor  # [N] int64 voxel of each point
    features: Tensor  # [V, C] mean over the voxel's points
    spread: Tensor  # [V, C] standard deviation over the voxel's points

    def __len__(self) -> int:
        return self.coords.shape[0]

    @cached_property
    def geometry(self) -> SparseGeometry:
        """Return coordinates and kernel maps at every stride, which are built on first use and kept."""
        return SparseGeometry(self.coords)


def voxelise(
    points: Tensor,  # [N, 3] metres
    voxel_m: float,
    batch_index: Tensor,  # [N] integer: cloud that each point belongs to
    features: Tensor,  # [N, C] float
) -> Voxels:
    """Quantise points by rounding down, as MinkowskiEngine does; compute mean and spread of the features per voxel.

    Raises an `InputError` if lengths differ, `voxel_m` is not positive, or points are too far away or not finite.
    """
    if not voxel_m > 0:
        raise InputError(f"voxel_m is {voxel_m}: give the voxel's edge in metres, such as 0.05.")
    if not len(points) == len(batch_index) == len(features):
        raise InputError(
            f"There are {len(points)} points, {len(batch_index)} batch indices and {len(features)} features: "
            "give one of each per point."
        )
    cells = torch.floor(points / voxel_m)
    if not bool((cells.abs() < LARGEST_COORDINATE).all()):
        raise InputError(
            f"Points reach {float(points.abs().amax()):g} m, too far for voxels of {voxel_m} m, or are not finite: "
            "centre the cloud and remove broken points."
        )
    coords = torch.cat([batch_index[:, None].long(), cells.long()], dim=1)
    layout = KeyLayout.around(coords)
    keys, inverse, counts = torch.unique(layout.pack(coords), return_inverse=True, return_counts=True)
    rows, shares = row_sums(inverse, keys.numel()), counts[:, None].to(features.dtype).reciprocal()
    mean = sum_rows(features, rows) * shares
    spread = (sum_rows((features - mean[inverse]).square(), rows) * shares).sqrt()
    return Voxels(layout.unpack(keys).int(), inverse, mean, spread)
