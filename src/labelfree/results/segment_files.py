"""Segments of scenes as files: PLY with the segment of each point, and all levels as an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.data.ply import write_ply
from labelfree.files.atomic import atomic_file
from labelfree.results.export import cloud_files
from labelfree.scene import Scene
from labelfree.segments.view_segments import ViewSegments

NO_SEGMENT = -1
"""Segment of points of the cloud's file that are not finite."""


def save_segments(scene: Scene, found: ViewSegments, threshold: float, folder: Path) -> tuple[Path, Path]:
    """Write NAME.ply with the property `segment` at one threshold, and NAME.npy with all levels; return both files.

    Both have the points of the cloud's file in their order. NAME.npy is int32 [1 + L, M]: the over-segmentation, then
    the level of each threshold.
    """
    ply, array = cloud_files(scene.name, folder)
    levels = _in_file_order(scene, np.concatenate([found.fine[None], found.levels]))
    segment = levels[1 + found.thresholds.index(threshold)]
    write_ply(ply, _file_points(scene), colours=segment_colours(segment), segments=segment)
    with atomic_file(array) as file:
        np.save(file, levels)
    return ply, array


def segment_colours(segments: NDArray[np.int32]) -> NDArray[np.uint8]:  # [M] -> [M, 3]
    """Return a colour for each point: one per segment, far apart for successive segments; grey for no segment."""
    hue = np.arange(int(segments.max(initial=0)) + 1) * 0.6180339887 % 1.0
    bright = np.where(np.arange(len(hue)) % 2 == 0, 230, 170)
    wave = np.clip(np.abs((hue[:, None] * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    table = np.concatenate([(bright[:, None] * (0.25 + 0.75 * wave)).astype(np.uint8), np.full((1, 3), 128, np.uint8)])
    return table[segments]


def _in_file_order(scene: Scene, levels: NDArray[np.int64]) -> NDArray[np.int32]:  # [L, N] -> [L, M]
    if scene.kept is None:
        return levels.astype(np.int32)
    filled = np.full((len(levels), len(scene.kept)), NO_SEGMENT, np.int32)
    filled[:, scene.kept] = levels
    return filled


def _file_points(scene: Scene) -> NDArray[np.floating]:  # [M, 3]
    points = scene.output_points()
    if scene.kept is None:
        return points
    filled = np.full((len(scene.kept), 3), np.nan, points.dtype)
    filled[scene.kept] = points
    return filled
