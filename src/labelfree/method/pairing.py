"""Eq. 2: which pixel of a frame sees which point; the pairs also carry labels (Eq. 3) and features (Eq. 7) across."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

DEPTH_TOLERANCE_M = 0.05
"""A point is seen where the depth map says what its z says, up to this."""

CELL_PX = 8
"""Side of the cells of the LiDAR z-buffer: scan lines are several pixels apart, single pixels would never collide."""

HIDDEN_BEYOND = 1.1
"""A LiDAR point is hidden when it is this many times farther than the nearest point of its cell."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """The P pixel-point pairs of one frame, by ascending point; a point stands in it at most once."""

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
    """Return where points fall in the picture (pixel centres at integer + 0.5) and their z; uv is NaN where z is 0."""
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
    """Pair the points whose z agrees with the depth map, in metres or, with `relative` (0.25), as a share of depth."""
    uv, z = project(points_world, world_to_camera, intrinsics)
    height, width = depth_m.shape
    seen = torch.nonzero((z > 0) & _inside(uv, (height, width), 0))[:, 0]
    # One rounding rule for the depth test and the pair: the pixel whose square the point falls in.
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
    """Pair the points in front of the camera and inside the picture; only `z_buffer` leaves hidden ones out."""
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
    uv: Tensor,  # [n, 2] inside the picture
    z: Tensor,  # [n] > 0
    size: tuple[int, int],
) -> Tensor:  # [n] bool
    cells_across = -(-size[1] // CELL_PX)
    cells = (uv / CELL_PX).floor().long()
    index = cells[:, 1] * cells_across + cells[:, 0]
    count = cells_across * -(-size[0] // CELL_PX)
    nearest = z.new_full((count,), torch.inf).scatter_reduce_(0, index, z, "amin")
    return z <= nearest[index] * HIDDEN_BEYOND
