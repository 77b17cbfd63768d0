"""Pair pixels and points (Eq. 2); labels (Eq. 3) and features (Eq. 7) are transferred through the pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

DEPTH_TOLERANCE_M = 0.05
"""Largest difference in metres between a point's z and the depth map at which they form a pair."""

CELL_PX = 8
"""Side in pixels of the LiDAR z-buffer's cells, because scan lines are several pixels apart."""

HIDDEN_BEYOND = 1.1
"""Ratio of a LiDAR point's z to the nearest z in its cell above which the point is hidden."""

RELATIVE_SLACK = 1e-5
"""Distance at which points outside a view are still projected, relative to the largest coordinate: 80 times the error
of a rounding in float32."""


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

    def chosen(self, keep: Tensor) -> Pairs:  # [P] bool
        """Return the pairs that a mask selects."""
        return Pairs(self.point[keep], self.row[keep], self.column[keep])


def project(
    points_world: Tensor,  # [N, 3] metres
    world_to_camera: Tensor,  # [4, 4]
    intrinsics: Tensor,  # [3, 3]
) -> tuple[Tensor, Tensor]:  # [N, 2] float64 (u, v), [N] float64 z
    """Return image coordinates of points in pixels (pixel centres at integer + 0.5) and z in metres.

    Coordinates are NaN where z is 0.
    """
    u, v, z = _project(points_world, world_to_camera, intrinsics)
    return torch.where(z == 0, torch.nan, torch.stack([u, v])).T, z


def _project(
    points_world: Tensor,  # [N, 3] metres
    world_to_camera: Tensor,  # [4, 4]
    intrinsics: Tensor,  # [3, 3]
) -> tuple[Tensor, Tensor, Tensor]:  # u, v and z, each [N] float64
    """Return image coordinates and z of points, each in memory of its own; u and v mean nothing where z is 0."""
    pose = world_to_camera.double()
    camera = pose[:3, :3] @ points_world.T.contiguous().double() + pose[:3, 3:]
    u, v = (intrinsics.double()[:2] @ camera) / camera[2]
    return u, v, camera[2]


def pair_rgbd(
    points_world: Tensor,  # [N, 3] metres
    world_to_camera: Tensor,  # [4, 4]
    intrinsics: Tensor,  # [3, 3] of the depth grid
    depth_m: Tensor,  # [H, W] metres, 0 = missing
    tolerance_m: float = DEPTH_TOLERANCE_M,
    relative: float | None = None,
) -> Pairs:
    """Pair points whose z agrees with the depth map (Eq. 2) up to `tolerance_m` or, if given, `relative` * depth."""
    height, width = depth_m.shape
    near = _near_view(points_world, world_to_camera, intrinsics, (height, width))
    u, v, z = _project(points_world.index_select(0, near), world_to_camera, intrinsics)
    # The same pixel, whose square contains the point, serves the depth test and the pair.
    row, column = v.long().clamp_(0, height - 1), u.long().clamp_(0, width - 1)
    depth = depth_m.reshape(-1).index_select(0, row * width + column).double()
    allowed = depth * relative if relative is not None else tolerance_m
    agrees = (depth > 0) & ((depth - z).abs() <= allowed)
    seen = _positions((z > 0) & _inside(u, v, (height, width), 0) & agrees)
    return Pairs(*(part.index_select(0, seen) for part in (near, row, column)))


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
    near = _near_view(points_world, world_to_camera, intrinsics, size)
    u, v, z = _project(points_world.index_select(0, near), world_to_camera, intrinsics)
    seen = _positions((z > z_min) & _inside(u, v, size, border_px))
    u, v, z, near = (part.index_select(0, seen) for part in (u, v, z, near))
    pairs = Pairs(near, v.long(), u.long())  # u and v are not negative, so this rounds down
    return pairs.chosen(_visible(u, v, z, size)) if z_buffer else pairs


def _near_view(
    points_world: Tensor,  # [N, 3] metres
    world_to_camera: Tensor,  # [4, 4]
    intrinsics: Tensor,  # [3, 3]
    size: tuple[int, int],
) -> Tensor:  # [n] int64, ascending
    """Return all points in front of the camera and inside the image, and a few just outside.

    An image sees few of the points, so that only these are projected in double precision. The view is bounded by five
    planes. A single product in float32 gives the distances of all points to them; its rounding errors are far below
    the slack.
    """
    u, v, z = intrinsics.double() @ world_to_camera.double()[:3]  # [4] each: column * z, row * z, z of a point
    sides = torch.stack([z, u, size[1] * z - u, v, size[0] * z - v])
    sides = sides / sides[:, :3].norm(dim=1, keepdim=True)  # distances in metres, positive inside
    points = points_world.float()
    distance = torch.addmm(sides[:, 3:].float(), sides[:, :3].float(), points.T).amin(dim=0)
    reach = max(float(points.abs().amax()) if len(points) else 0.0, float(sides[:, 3].abs().amax()))
    return _positions(distance > -RELATIVE_SLACK * reach)


def _positions(mask: Tensor) -> Tensor:  # [N] bool -> [n] int64, ascending
    """Return where a mask is true; on a CPU NumPy finds the places five times faster than `torch.nonzero`."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return torch.nonzero(mask)[:, 0]


def _inside(
    u: Tensor,  # [N]
    v: Tensor,  # [N]
    size: tuple[int, int],
    border_px: float,
) -> Tensor:  # [N] bool
    # A border of one pixel is open on both sides, as in the nuScenes devkit; NaN compares false.
    low = (u > border_px) & (v > border_px) if border_px > 0 else (u >= 0) & (v >= 0)
    return low & (u < size[1] - border_px) & (v < size[0] - border_px)


def _visible(
    u: Tensor,  # [n] inside the image
    v: Tensor,  # [n]
    z: Tensor,  # [n] > 0
    size: tuple[int, int],
) -> Tensor:  # [n] bool
    cells_across = -(-size[1] // CELL_PX)
    index = (v / CELL_PX).long() * cells_across + (u / CELL_PX).long()
    count = cells_across * -(-size[0] // CELL_PX)
    nearest = z.new_full((count,), torch.inf).scatter_reduce_(0, index, z, "amin")
    return z <= nearest[index] * HIDDEN_BEYOND
