"""How far the points of scenes lie from the surfaces of their depth maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from labelfree.method.pairing import DEPTH_TOLERANCE_M, project
from labelfree.scene import Frame, Scene

REACH_M = 0.2
"""Points farther than this from the depth map are hidden or belong to another surface and do not count."""
BIN_M = 0.0001
"""Resolution of the median."""


@dataclass(frozen=True)
class Misfit:
    """The distances |z - depth| of points and depth maps, over the points within `REACH_M`."""

    near: float
    """Share within 5 cm, 0..1: those that form pairs (Eq. 2)."""
    median_m: float
    counted: int
    """Number of distances: a point counts in every frame that has depth at its pixel."""


class SurfaceMisfit:
    """A histogram of the distances, added scene by scene."""

    def __init__(self) -> None:
        self.counts = np.zeros(round(REACH_M / BIN_M), np.int64)

    def update(self, scene: Scene) -> None:
        """Add all frames of a scene that have a depth map."""
        for frame in scene.frames:
            gaps = depth_gaps(scene, frame)
            self.counts += np.histogram(gaps, bins=len(self.counts), range=(0, REACH_M))[0]

    def misfit(self) -> Misfit | None:
        """Return the values; None if there are no depth maps."""
        total = int(self.counts.sum())
        if not total:
            return None
        running = self.counts.cumsum()
        median = (int(np.searchsorted(running, total / 2)) + 0.5) * BIN_M
        return Misfit(float(running[round(DEPTH_TOLERANCE_M / BIN_M) - 1] / total), median, total)


def depth_gaps(scene: Scene, frame: Frame) -> NDArray[np.float64]:  # [n] metres
    """Return |z - depth| of the points inside a frame at pixels with depth; empty without a depth map."""
    depth_m = frame.load_depth_m()
    if depth_m is None:
        return np.empty(0)
    points = torch.from_numpy(scene.points_world)
    uv, z = (
        part.numpy()
        for part in project(points, torch.from_numpy(frame.world_to_camera), torch.from_numpy(frame.intrinsics))
    )
    height, width = frame.size
    with np.errstate(invalid="ignore"):
        inside = (z > 0) & (uv >= 0).all(axis=1) & (uv[:, 0] < width) & (uv[:, 1] < height)
    columns, rows = uv[inside].astype(np.int64).T
    depth = depth_m[rows, columns].astype(np.float64)
    return np.abs(z[inside] - depth)[depth > 0]
