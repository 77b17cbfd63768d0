"""Compute the pixel-point pairs of a frame (Eq. 2) by the rule for its data."""

from __future__ import annotations

import torch

from labelfree.config.labels import PairingConfig
from labelfree.errors import InputError
from labelfree.method.pairing import Pairs, pair_lidar, pair_rgbd
from labelfree.scene import Frame, Scene


def pair_points(scene: Scene, frame: Frame, size: tuple[int, int], config: PairingConfig) -> Pairs:
    """Return the pixel-point pairs of a frame on a grid of (height, width) pixels.

    Raises an `InputError` if the rule needs depth and the frame has no depth map.
    """
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
        raise InputError(f"Frame '{frame.name}' of scene '{scene.name}' has no depth map: set pairing.rule to lidar.")
    return pair_rgbd(
        torch.from_numpy(scene.points_world),
        torch.from_numpy(frame.world_to_camera),
        torch.from_numpy(frame.intrinsics),
        torch.from_numpy(depth_m),
        tolerance_m=config.tolerance_m,
        relative=config.relative,
    )


def pairs_by_depth(frame: Frame, config: PairingConfig) -> bool:
    """Return whether a frame's pairs are determined by its depth map."""
    return config.rule == "rgbd" or (config.rule == "auto" and frame.depth is not None)
