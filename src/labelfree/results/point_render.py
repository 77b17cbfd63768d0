"""Still images of a point cloud: orthographic, seen obliquely from above, in plain NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BACKGROUND = 255

SUPERSAMPLING = 2

MAX_SPLAT_RADIUS = 4


@dataclass(frozen=True)
class ViewPoint:
    """The direction from which a cloud is drawn."""

    up_world: tuple[float, float, float] = (0.0, 0.0, 1.0)
    azimuth_degrees: float = -60.0
    elevation_degrees: float = 50.0
    """90 is straight down."""

    def axes(self) -> NDArray[np.float64]:
        """Return [3, 3] rows right, up and away from the viewer, in world axes."""
        up = np.asarray(self.up_world, dtype=np.float64)
        up = up / np.linalg.norm(up)
        first = np.eye(3)[(int(np.abs(up).argmax()) + 1) % 3]
        first = first - up * (first @ up)
        first = first / np.linalg.norm(first)
        second = np.cross(up, first)
        azimuth, elevation = np.radians(self.azimuth_degrees), np.radians(self.elevation_degrees)
        flat = np.cos(azimuth) * first + np.sin(azimuth) * second
        away = -(np.cos(elevation) * flat + np.sin(elevation) * up)
        right = np.cross(-flat, up)
        return np.stack([right, np.cross(right, away), away])


@dataclass(frozen=True, eq=False)
class Sight:
    """The point that each pixel shows; computed once for a cloud and painted in several colourings."""

    winner: NDArray[np.int64]
    """[H, W] point index, -1 for none."""
    shade: NDArray[np.float64]
    """[H, W] brightness in 0..1."""

    def paint(self, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:  # [N, 3] -> [H, W, 3]
        """Return the image in these colours, averaged from the supersampled grid."""
        picture = np.full((*self.winner.shape, 3), float(BACKGROUND))
        seen = self.winner >= 0
        picture[seen] = colours[self.winner[seen]]
        fine = Image.fromarray(np.rint(picture * self.shade[..., None]).astype(np.uint8))
        return np.asarray(fine.reduce(SUPERSAMPLING))


def look(
    points_world: NDArray[np.float32],  # [N, 3]
    size: tuple[int, int],  # (height, width) of the images
    view: ViewPoint = ViewPoint(),
) -> Sight:
    """Return the point of each pixel: points are small squares, the nearest on top, darkened at depth edges."""
    fine = (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING)
    rows, columns, depth, scale = _to_screen(points_world, fine, view)
    winner = nearest_points(rows, columns, depth, fine, _splat_radius(len(points_world), fine))
    depth_map = np.full(fine, np.inf)
    depth_map[winner >= 0] = depth[winner[winner >= 0]] * scale
    return Sight(winner, _depth_shade(depth_map))


def nearest_points(
    rows: NDArray[np.int64],  # [N]
    columns: NDArray[np.int64],  # [N]
    depth: NDArray[np.float64],  # [N]
    size: tuple[int, int],
    radius: int,
) -> NDArray[np.int64]:  # [H, W]
    """Return the nearest point covering each pixel, -1 for none; a point covers a square of 2 radius + 1 pixels."""
    winner = np.full(size[0] * size[1], -1, dtype=np.int64)
    nearest = np.full(size[0] * size[1], np.inf)
    # Far points are written first, so that the nearest point of a pixel remains.
    order = np.argsort(-depth, kind="stable")
    for down in range(-radius, radius + 1):
        for across in range(-radius, radius + 1):
            row, column = rows[order] + down, columns[order] + across
            inside = (row >= 0) & (row < size[0]) & (column >= 0) & (column < size[1])
            pixel, point = row[inside] * size[1] + column[inside], order[inside]
            better = depth[point] < nearest[pixel]
            winner[pixel[better]] = point[better]
            nearest[pixel[better]] = depth[point[better]]
    return winner.reshape(size)


def _to_screen(
    points_world: NDArray[np.float32], size: tuple[int, int], view: ViewPoint
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], float]:
    """Return pixel rows, columns, depths [N] and the pixels per metre that fit the cloud into the image."""
    right, up, depth = view.axes() @ points_world.T.astype(np.float64)
    low, high = np.quantile(np.stack([right, up]), (0.002, 0.998), axis=1)
    extent = np.maximum(high - low, 1e-6)
    scale = 0.94 * float(min(size[1] / extent[0], size[0] / extent[1]))
    middle = (low + high) / 2
    columns = np.floor((right - middle[0]) * scale + size[1] / 2).astype(np.int64)
    rows = np.floor((middle[1] - up) * scale + size[0] / 2).astype(np.int64)
    return rows, columns, depth, scale


def _splat_radius(count: int, size: tuple[int, int]) -> int:
    """Return the radius at which the squares together cover the image about twice."""
    side = np.sqrt(2.0 * size[0] * size[1] / max(count, 1))
    return int(np.clip(np.ceil((side - 1) / 2), 1, MAX_SPLAT_RADIUS))


def _depth_shade(depth: NDArray[np.float64]) -> NDArray[np.float64]:  # [H, W]
    """Return 0..1 per pixel: darker behind the edge of something nearer (eye-dome lighting, Boucheny 2009)."""
    height, width = depth.shape
    padded = np.pad(depth, 2, constant_values=np.inf)
    drop = np.zeros_like(depth)
    for down, across in ((0, 2), (2, 0), (0, -2), (-2, 0)):
        beside = padded[2 + down : 2 + down + height, 2 + across : 2 + across + width]
        both = np.isfinite(depth) & np.isfinite(beside)
        drop[both] += np.clip((depth[both] - beside[both]) / 40.0, 0.0, 1.0)
    return np.exp(-0.35 * drop)
