"""How far points lie from the surfaces of depth maps: those of a scene's cloud, and those of its other frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.data.checking.misfit import HIDDEN_M
from labelfree.method.pairing import DEPTH_TOLERANCE_M, project
from labelfree.scene import Frame, Scene

BIN_M = 0.0001
"""Resolution of the median."""
FRAMES = 50
"""Frames of a scene that are compared with each other at most, evenly spaced."""
LENT_POINTS = 1000
"""Points of a frame's depth map that the other frames are compared with."""


@dataclass(frozen=True)
class Misfit:
    """The distances |z - depth| of points and depth maps, over the points within half a metre (`HIDDEN_M`).

    Points farther away are hidden or belong to another surface. A point counts in every frame that has depth there.
    """

    near: float
    """Share within 5 cm, 0..1: those that form pairs (Eq. 2)."""
    median_m: float
    counted: int


class SurfaceMisfit:
    """A histogram of the distances, added frame by frame."""

    def __init__(self) -> None:
        self.counts = np.zeros(round(HIDDEN_M / BIN_M), np.int64)

    def update(self, gaps: NDArray[np.float64]) -> None:  # [n] metres
        """Add distances; those beyond `HIDDEN_M` do not count."""
        self.counts += np.histogram(gaps, bins=len(self.counts), range=(0, HIDDEN_M))[0]

    def misfit(self) -> Misfit | None:
        """Return the values; None if nothing was counted."""
        total = int(self.counts.sum())
        if not total:
            return None
        running = self.counts.cumsum()
        median = (int(np.searchsorted(running, total / 2)) + 0.5) * BIN_M
        return Misfit(float(running[round(DEPTH_TOLERANCE_M / BIN_M) - 1] / total), median, total)


def cloud_gaps(scene: Scene) -> Iterable[NDArray[np.float64]]:  # [n] metres each
    """Return the distances of a scene's points to each depth map."""
    points = torch.from_numpy(scene.points_world)
    return (depth_gaps(points, frame, depth_m) for frame, depth_m in _with_depth(scene.frames))


def frame_gaps(scene: Scene) -> Iterable[NDArray[np.float64]]:  # [n] metres each
    """Return the distances of points of the other frames' depth maps to each depth map.

    No cloud is involved, so errors of poses and of the sensor are not hidden by a cloud fused from the same maps.
    """
    chosen = np.unique(np.linspace(0, len(scene.frames) - 1, min(FRAMES, len(scene.frames))).round().astype(int))
    frames = [scene.frames[int(index)] for index in chosen]
    lent = [lent_points(frame, depth_m) for frame, depth_m in _with_depth(frames)]
    for index, (frame, depth_m) in enumerate(_with_depth(frames) if len(lent) > 1 else ()):
        yield depth_gaps(torch.cat([*lent[:index], *lent[index + 1 :]]), frame, depth_m)


def lent_points(frame: Frame, depth_m: NDArray[np.float32]) -> Tensor:  # [n, 3] world
    """Return the points of a sample of a frame's pixels with depth, drawn with a fixed seed."""
    rows, columns = np.nonzero(depth_m)
    if len(rows) > LENT_POINTS:
        drawn = np.random.default_rng(0).choice(len(rows), LENT_POINTS, replace=False)
        rows, columns = rows[drawn], columns[drawn]
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))])
    camera = np.linalg.inv(frame.intrinsics) @ pixels * depth_m[rows, columns]
    world = frame.camera_to_world
    return torch.from_numpy((world[:3, :3] @ camera + world[:3, 3:]).T)


def depth_gaps(
    points_world: Tensor,  # [N, 3] metres
    frame: Frame,
    depth_m: NDArray[np.float32],  # [H, W] metres, 0 = missing
) -> NDArray[np.float64]:  # [n] metres
    """Return |z - depth| of the points inside a frame at pixels with depth."""
    uv, z = project(points_world, torch.from_numpy(frame.world_to_camera), torch.from_numpy(frame.intrinsics))
    height, width = depth_m.shape
    inside = (z > 0) & (uv >= 0).all(dim=1) & (uv[:, 0] < width) & (uv[:, 1] < height)  # NaN compares false
    columns, rows = uv[inside].long().numpy().T
    depth = depth_m[rows, columns].astype(np.float64)
    return np.abs(z[inside].numpy() - depth)[depth > 0]


def _with_depth(frames: Sequence[Frame]) -> Iterable[tuple[Frame, NDArray[np.float32]]]:
    for frame in frames:
        depth_m = frame.load_depth_m()
        if depth_m is not None:
            yield frame, depth_m
