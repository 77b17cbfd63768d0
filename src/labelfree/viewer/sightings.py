"""The images that see a point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from labelfree.config.labels import PairingConfig
from labelfree.data.pairs import pair_points, pairs_by_depth
from labelfree.method.pairing import Pairs, pair_lidar, pair_rgbd
from labelfree.raster import resize_image
from labelfree.scene import Frame, Scene

MARK_RADIUS = 0.04
"""Radius of the ring around a point in an image, as a share of its height."""


@dataclass(frozen=True)
class Sighting:
    """An image that sees a point, and the pixel."""

    frame: int
    row: int
    column: int


def sightings(scene: Scene, point: int, pairing: PairingConfig) -> tuple[Sighting, ...]:
    """Return the images whose pairs (Eq. 2) contain a point, with its pixel at the size of each image."""
    found = []
    for index, frame in enumerate(scene.frames):
        pairs = _pairs_of(scene, frame, point, pairing)
        if len(pairs):
            found.append(Sighting(index, int(pairs.row[0]), int(pairs.column[0])))
    return tuple(found)


def _pairs_of(scene: Scene, frame: Frame, point: int, pairing: PairingConfig) -> Pairs:
    """Return the pair of one point, or none; only a z-buffer needs the other points."""
    by_depth = pairs_by_depth(frame, pairing)
    if not by_depth and pairing.z_buffer:
        pairs = pair_points(scene, frame, frame.size, pairing)
        return pairs.chosen(pairs.point == point)
    alone = torch.from_numpy(scene.points_world[point : point + 1])
    pose, intrinsics = torch.from_numpy(frame.world_to_camera), torch.from_numpy(frame.intrinsics)
    if not by_depth:
        return pair_lidar(alone, pose, intrinsics, frame.size, pairing.z_min_m, pairing.border_px)
    depth_m = frame.load_depth_m()
    if depth_m is None:
        return Pairs(*(torch.zeros(0, dtype=torch.int64) for _ in range(3)))
    return pair_rgbd(alone, pose, intrinsics, torch.from_numpy(depth_m), pairing.tolerance_m, pairing.relative)


def marked_image(
    image: NDArray[np.uint8],  # [H, W, 3]
    row: int,
    column: int,
    height: int,
) -> NDArray[np.uint8]:  # [height, W', 3]
    """Return an image at a height, with a ring around a pixel."""
    scale = height / image.shape[0]
    picture = resize_image(image, (height, max(1, round(image.shape[1] * scale)))).copy()
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    distance = np.hypot(rows - (row + 0.5) * scale, columns - (column + 0.5) * scale)
    radius = max(3.0, MARK_RADIUS * height)
    picture[np.abs(distance - radius) <= 1.6] = (255, 255, 255)
    picture[np.abs(distance - radius) <= 0.8] = (255, 40, 200)
    return picture
