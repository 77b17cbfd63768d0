"""Pixel-point pairs of a frame (Eq. 2), by the rule that suits its data."""

from __future__ import annotations

import torch

from labelfree.config.labels import PairingConfig
from labelfree.errors import InputError
from labelfree.method.pairing import Pairs, pair_lidar, pair_rgbd
from labelfree.scene import Frame, Scene


def pair_points(scene: Scene, frame: Frame, size: tuple[int, int], config: PairingConfig) -> Pairs:
    """Return the pixel-point pairs of a frame on a grid of (height, width)."""
    frame = frame.resized(size)
    if not pairs_by_depth(frame, config):
        return pair_lidar(
            torch.from_numpy(scene.points_world),
            torch.from_numpy(frame.world_to_camera),
            torch.from_numpy(frame.intrinsics),
            size,
            z_min=config.z_min_m,
            border_px=config.border_px,
            z_buffer=config.z_buffer,
        )
    depth_m = frame.load_depth_m()
    if depth_m is None:
        raise InputError(f"Frame '{frame.name}' of scene '{scene.name}' has no depth: set pairing.rule to lidar.")
    return pair_rgbd(
        torch.from_numpy(scene.points_world),
        torch.from_numpy(frame.world_to_camera),
        torch.from_numpy(frame.intrinsics),
        torch.from_numpy(depth_m),
        tolerance_m=config.tolerance_m,
        relative=config.relative,
    )


def pairs_by_depth(frame: Frame, config: PairingConfig) -> bool:
    """Whether a frame's depth map decides its pairs."""
    return config.rule == "rgbd" or (config.rule == "auto" and frame.depth is not None)
