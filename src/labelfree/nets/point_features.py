"""Compute input features of points for the 3D network."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.scene import Scene


def point_features(scene: Scene) -> NDArray[np.float32]:  # [N, C]
    """Return the 3D network's input: colours as -1..1 if there are any, else intensity 0..255 as 0..1, else 1."""
    if scene.colours is not None:
        return scene.colours.astype(np.float32) / 127.5 - 1.0
    if scene.intensity is not None:
        return scene.intensity[:, None].astype(np.float32) / np.float32(255.0)
    return np.ones((len(scene), 1), dtype=np.float32)


def stored_features(scene: Scene) -> NDArray[np.uint8] | NDArray[np.float32]:  # [N, C]
    """Return what `unpacked_features` turns into the features of a scene: its colours as bytes if there are any."""
    return point_features(scene) if scene.colours is None else scene.colours


def unpacked_features(stored: Tensor) -> Tensor:  # [N, C] uint8 or float32 -> float32
    """Return the features of `point_features`, with the same bits on a CPU."""
    return stored.float() / 127.5 - 1.0 if stored.dtype == torch.uint8 else stored


COLOUR_CHANNELS = 3


def input_name(channels: int) -> str:
    """Return the name of the input features with this number of channels, for messages."""
    named = {COLOUR_CHANNELS: "colour (3 values per point)", 1: "intensity (1 value per point)"}
    return named.get(channels, f"{channels} values per point")
