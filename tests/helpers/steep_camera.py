"""A camera that looks steeply down."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

DOWN = math.radians(60)


def steep_rotation() -> NDArray[np.float64]:  # [3, 3]
    """Return world_to_camera of a camera that looks along y and 60 degrees down, in a world with z up.

    Its up direction is nearer to y than to z.
    """
    right, forward = np.array([1.0, 0, 0]), np.array([0, math.cos(DOWN), -math.sin(DOWN)])
    return np.stack([right, np.cross(forward, right), forward])
