"""The vehicle's sensors: six cameras in all directions and a LiDAR of 32 beams, placed as in nuScenes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from labelfree_lab.streets.drive import Rig, RigCamera

DIRECTIONS = (
    ("CAM_FRONT", 0.0),
    ("CAM_FRONT_RIGHT", -55.0),
    ("CAM_BACK_RIGHT", -110.0),
    ("CAM_BACK", 180.0),
    ("CAM_BACK_LEFT", 110.0),
    ("CAM_FRONT_LEFT", 55.0),
)
"""Channels in nuScenes' order, with their yaw in degrees, counted from ahead to the left."""
FIELD_OF_VIEW = 70.0
BEAMS = 32
LOWEST, HIGHEST = -30.67, 10.67
"""Elevations of the LiDAR's outer beams, degrees."""
OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Camera axes (x right, y down, z forward) in those of a body (x forward, y left, z up)."""


def vehicle_rig(size: tuple[int, int] = (112, 208)) -> Rig:
    """Return the sensors; `size` is the (height, width) of images."""
    focal = size[1] / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2))
    intrinsics = np.array([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1.0]])
    cameras = []
    for channel, degrees in DIRECTIONS:
        yaw = math.radians(degrees)
        camera_to_ego = np.eye(4)
        camera_to_ego[:3, :3] = _turn(yaw) @ OPTICAL
        camera_to_ego[:3, 3] = (0.95 + 0.7 * math.cos(yaw), 0.5 * math.sin(yaw), 1.55)
        cameras.append(RigCamera(channel, camera_to_ego, intrinsics, size))
    lidar_to_ego = np.eye(4)
    lidar_to_ego[:3, :3] = _turn(-math.pi / 2)  # x right, y forward
    lidar_to_ego[:3, 3] = (0.94, 0.0, 1.84)
    return Rig(lidar_to_ego, tuple(cameras))


def lidar_rays(azimuths: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:  # [N, 3], [N]
    """Return the unit directions of one turn in the LiDAR's frame and their beams, 0 the lowest."""
    elevation = np.radians(np.linspace(LOWEST, HIGHEST, BEAMS))
    around = 2 * np.pi * (np.arange(azimuths) + 0.5) / azimuths
    flat = np.cos(elevation)[:, None]
    rays = np.stack(
        [flat * np.cos(around), flat * np.sin(around), np.broadcast_to(np.sin(elevation)[:, None], (BEAMS, azimuths))],
        2,
    )
    ring = np.broadcast_to(np.arange(BEAMS, dtype=np.uint8)[:, None], (BEAMS, azimuths))
    return rays.reshape(-1, 3).astype(np.float32), ring.reshape(-1).copy()


def _turn(yaw: float) -> NDArray[np.float64]:
    return np.array([[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1.0]])
