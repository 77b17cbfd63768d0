"""Ground of LiDAR clouds, and voxels that grow with the range."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.segments.geometric import SurfaceGraph

CELL_M, REACH_CELLS = 1.0, 4
"""Side of the cells whose lowest points are compared, and how many cells away."""
SLOPE = 0.15
"""Steepest ground, as rise over distance."""
TOLERANCE_M = 0.2
"""Height above the ground up to which points belong to it."""


def ground_points(points_up: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:  # [N, 3] metres, z up -> [N]
    """Return which points are ground: none of the lowest points around is lower than a slope allows.

    This is the slope-based filter of Vosselman (2000) on the lowest point of each cell.
    """
    cells = np.floor(points_up[:, :2].astype(np.float64) / CELL_M).astype(np.int64)
    cells -= cells.min(axis=0) - REACH_CELLS
    across = int(cells[:, 1].max()) + REACH_CELLS + 1
    keys, cell = np.unique(cells[:, 0] * across + cells[:, 1], return_inverse=True)
    lowest = np.full(len(keys), np.inf)
    np.minimum.at(lowest, cell, points_up[:, 2].astype(np.float64))
    limit = lowest.copy()
    for x, y in product(range(-REACH_CELLS, REACH_CELLS + 1), repeat=2):
        wanted = keys + x * across + y
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        there = keys[place] == wanted
        allowed = lowest[place] + SLOPE * CELL_M * float(np.hypot(x, y))
        limit = np.where(there, np.minimum(limit, allowed), limit)
    return points_up[:, 2] <= limit[cell] + TOLERANCE_M


def divided_at_ground(graph: SurfaceGraph, ground: NDArray[np.bool_]) -> SurfaceGraph:  # [N]
    """Return the graph without the edges between ground and other voxels; most of a voxel's points decide."""
    inverse = graph.grid.inverse
    share = np.bincount(inverse, ground, minlength=len(graph.grid)) / np.bincount(inverse, minlength=len(graph.grid))
    flat = share >= 0.5
    return replace(graph, edges=graph.edges[flat[graph.edges[:, 0]] == flat[graph.edges[:, 1]]])


def range_scaled(
    points_world: NDArray[np.floating[Any]],  # [N, 3] metres
    centre: NDArray[np.float64],  # [3] metres
    near_m: float,
) -> NDArray[np.float64]:  # [N, 3]
    """Return points drawn towards a sensor beyond `near_m`, so that their spacing grows less with the range r.

    The range becomes near_m (1 + ln(r / near_m)). Voxels of the result are voxels that grow with the range.
    """
    offset = points_world.astype(np.float64) - centre
    r = np.maximum(np.linalg.norm(offset, axis=1), near_m)
    return centre + offset * (near_m * (1.0 + np.log(r / near_m)) / r)[:, None]
