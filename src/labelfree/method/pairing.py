"""Pair pixels and points (Eq. 2); labels (Eq. 3) and features (Eq. 7) are transferred through the pairs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

DEPTH_TOLERANCE_M = 0.05
"""Largest difference in metres between a point's z and the depth map at which they form a pair."""

CELL_PX = 8
"""Side in pixels of the LiDAR z-buffer's cells, because scan lines are several pixels apart."""

HIDDEN_BEYOND = 1.1
"""Ratio of a LiDAR point's z to the nearest z in its cell above which the point is hidden."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """The P pixel-point pairs of one frame, by ascending point; each point occurs at most once."""

    point: Tensor
    """[P] int64 index into the scene's points."""
    row: Tensor
    """[P] int64 pixel row."""
    column: Tensor
    """[P] int64 pixel column."""

    def __len__(self) -> int:
        return len(self.point)


def project(
    points_world: Tensor,  # [N, 3] metres
    world_to_camera: Tensor,  # [4, 4]
    intrinsics: Tensor,  # [3, 3]
) -> tuple[Tensor, Tensor]:  # [N, 2] float64 (u, v), [N] float64 z
    """Return image coordinates of points in pixels (pixel centres at integer + 0.5) and z in metres.

    Coordinates are NaN where z is 0.
    """
    pose, pinhole = world_to_camera.double(), intrinsics.double()
    camera = points_world.double() @ pose[:3, :3].T + pose[:3, 3]
    z = camera[:, 2]
    uv = (camera @ pinhole.T)[:, :2] / torch.where(z == 0, torch.nan, z)[:, None]
    return uv, z


def pair_rgbd(
    points_world: Tensor,  # [N, 3] metres
    world_to_camera: Tensor,  # [4, 4]
    intrinsics: Tensor,  # [3, 3] of the depth grid
    depth_m: Tensor,  # [H, W] metres, 0 = missing
    tolerance_m: float = DEPTH_TOLERANCE_M,
    relative: float | None = None,
) -> Pairs:
    """Pair points whose z agrees with the depth map (Eq. 2) up to `tolerance_m` or, if given, `relative` * depth."""
    uv, z = project(points_world, world_to_camera, intrinsics)
    height, width = depth_m.shape
    seen = torch.nonzero((z > 0) & _inside(uv, (height, width), 0))[:, 0]
    # The same pixel, whose square contains the point, serves the depth test and the pair.
    pixel = uv[seen].floor().long()
    depth = depth_m.double()[pixel[:, 1], pixel[:, 0]]
    allowed = depth * relative if relative is not None else torch.full_like(depth, tolerance_m)
    keep = (depth > 0) & ((depth - z[seen]).abs() <= allowed)
    return Pairs(seen[keep], pixel[keep, 1], pixel[keep, 0])


def pair_lidar(
    points_world: Tensor,  # [N, 3] metres
    world_to_camera: Tensor,  # [4, 4]
    intrinsics: Tensor,  # [3, 3]
    size: tuple[int, int],
    z_min: float = 1.0,
    border_px: float = 1,
    z_buffer: bool = False,
) -> Pairs:
    """Pair points beyond `z_min` metres inside the image of (height, width) pixels (Eq. 2).

    Hidden points are left out only with `z_buffer`.
    """
    uv, z = project(points_world, world_to_camera, intrinsics)
    seen = torch.nonzero((z > z_min) & _inside(uv, size, border_px))[:, 0]
    if z_buffer:
        seen = seen[_visible(uv[seen], z[seen], size)]
    pixel = uv[seen].floor().long()
    return Pairs(seen, pixel[:, 1], pixel[:, 0])


def _inside(
    uv: Tensor,  # [N, 2]
    size: tuple[int, int],
    border_px: float,
) -> Tensor:  # [N] bool
    limits = uv.new_tensor([size[1] - border_px, size[0] - border_px])
    # A border of one pixel is open on both sides, as in the nuScenes devkit; NaN compares false.
    low = uv > border_px if border_px > 0 else uv >= 0
    return (low & (uv < limits)).all(dim=1)


def _visible(
    uv: Tensor,  # [n, 2] inside the image
    z: Tensor,  # [n] > 0
    size: tuple[int, int],
) -> Tensor:  # [n] bool
    cells_across = -(-size[1] // CELL_PX)
    cells = (uv / CELL_PX).floor().long()
    index = cells[:, 1] * cells_across + cells[:, 0]
    count = cells_across * -(-size[0] // CELL_PX)
    nearest = z.new_full((count,), torch.inf).scatter_reduce_(0, index, z, "amin")
    return z <= nearest[index] * HIDDEN_BEYOND
