"""Compute digests of the inputs that determine a frame and a scene."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from labelfree.scene import Frame


def frame_key(frame: Frame, points: str, with_depth: bool) -> str:
    """Return a digest of everything that determines a frame besides the settings.

    `points` is the digest of the scene's points. The names are part of it because teachers that are files look frames
    up by name. Depth is part of it only where it determines the pairs (`with_depth`).
    """
    depth = frame.depth.digest() if with_depth and frame.depth is not None else None
    grid = [frame.size, frame.intrinsics.tolist(), frame.world_to_camera.tolist(), frame.depth_scale]
    text = json.dumps([frame.scene, frame.name, frame.image.digest(), depth, points, grid])
    return hashlib.sha256(text.encode()).hexdigest()


def points_digest(points: NDArray[np.float32]) -> str:  # [N, 3]
    """Return a digest of a scene's points."""
    return hashlib.sha256(points.tobytes()).hexdigest()
