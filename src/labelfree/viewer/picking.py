"""Selection of points: the one under a click, those in a sphere and those in a rectangle of the screen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.data.poses import quaternion_rotation

TOLERANCE = 0.012
"""Largest tangent of the angle between the ray of a click and a point: about 10 pixels of a screen."""
SURFACE = 1.03
"""Ratio of depths up to which points belong to the surface that the click meets first."""
CELLS = 160
"""Cells of the screen's height in which points hide those behind them."""
HIDDEN_BEYOND = 1.05
"""Ratio of a point's depth to the nearest one in its cell above which it is hidden."""


def pick(
    points: NDArray[np.floating[Any]],  # [N, 3] metres
    origin: NDArray[np.floating[Any]],  # [3] metres
    direction: NDArray[np.floating[Any]],  # [3] any length
    shown: NDArray[np.bool_] | None = None,  # [N]
    tolerance: float = TOLERANCE,
) -> int | None:
    """Return the point under a click: of the first surface near the ray, the point nearest to the ray in angle.

    Without a point within `tolerance` it is the nearest in angle up to four times as far; None if there is none.
    """
    ray = (direction / np.linalg.norm(direction)).astype(np.float32)
    offset = points.astype(np.float32, copy=False) - origin.astype(np.float32)
    depth = offset @ ray
    aside = offset - depth[:, None] * ray
    ahead = depth > 0 if shown is None else (depth > 0) & shown
    with np.errstate(divide="ignore", invalid="ignore"):
        tangent = np.where(ahead, np.sqrt(np.einsum("nd,nd->n", aside, aside)) / depth, np.inf)
    near = tangent <= tolerance
    if near.any():
        front = depth[near].min()
        tangent = np.where(near & (depth <= SURFACE * front), tangent, np.inf)
    best = int(tangent.argmin()) if len(tangent) else 0
    return best if len(tangent) and tangent[best] <= 4 * tolerance else None


def in_sphere(
    points: NDArray[np.floating[Any]],  # [N, 3] metres
    centre: NDArray[np.floating[Any]],  # [3] metres
    radius_m: float,
) -> NDArray[np.bool_]:  # [N]
    """Return which points lie within a distance of a centre."""
    offset = points - centre
    return np.asarray(np.einsum("nd,nd->n", offset, offset) <= radius_m**2)


@dataclass(frozen=True, eq=False)
class ScreenCamera:
    """The camera of a browser: a pinhole whose axes are x right, y down, z forward."""

    position: NDArray[np.float64]
    """[3] metres."""
    wxyz: NDArray[np.float64]
    """[4] unit quaternion of the rotation from camera to world."""
    fov: float
    """Vertical angle of view in radians."""
    aspect: float
    """Width over height of the screen."""

    def project(self, points: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the places [N, 2] of points on the screen, 0..1 from left and top, and their depths [N] in metres."""
        camera = (points - self.position) @ quaternion_rotation(self.wxyz)
        depth = camera[:, 2]
        half = math.tan(self.fov / 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            across = camera[:, :2] / depth[:, None] / (2 * half * np.array([self.aspect, 1.0])) + 0.5
        return across, depth


def in_rectangle(
    points: NDArray[np.floating[Any]],  # [N, 3] metres
    camera: ScreenCamera,
    low: tuple[float, float],
    high: tuple[float, float],
    shown: NDArray[np.bool_] | None = None,  # [N]
) -> NDArray[np.bool_]:  # [N]
    """Return which visible points lie in a rectangle of the screen, given by two corners in 0..1 from left and top.

    A point is visible if it is not much farther than the nearest point in its cell of the screen.
    """
    place, depth = camera.project(points)
    inside = (depth > 0) & (place >= low).all(axis=1) & (place <= high).all(axis=1)
    if shown is not None:
        inside &= shown
    chosen = np.flatnonzero(inside)
    cell = (place[chosen] * CELLS * np.array([camera.aspect, 1.0])).astype(np.int64)
    key = cell[:, 1] * (int(CELLS * camera.aspect) + 2) + cell[:, 0]
    nearest = np.full(int(key.max(initial=0)) + 1, np.inf)
    np.minimum.at(nearest, key, depth[chosen])
    inside[chosen] = depth[chosen] <= HIDDEN_BEYOND * nearest[key]
    return inside
