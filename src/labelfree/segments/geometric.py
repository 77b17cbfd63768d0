"""Geometric segments of a cloud: Felzenszwalb and Huttenlocher's method on the graph of its voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.segments.graph import edge_weights, neighbour_edges
from labelfree.segments.merging import merge_segments
from labelfree.segments.normals import voxel_normals
from labelfree.segments.voxels import VoxelGrid, voxel_grid


@dataclass(frozen=True)
class SegmentOptions:
    """The options of geometric segments."""

    k: float = 1.0
    """Scale of the method: a larger value gives larger segments."""
    normal_weight: float = 0.3
    """Weight of 1 - |n n'| of neighbouring normals."""
    colour_weight: float = 1.0
    """Weight of the difference of neighbouring colours; 0 leaves colours out."""
    voxel_m: float = 0.05
    """Side of a voxel in metres."""
    least_voxels: int = 20
    """Segments of fewer voxels are merged with a neighbour."""


@dataclass(frozen=True, eq=False)
class SurfaceGraph:
    """The voxels of a cloud, their normals and their neighbours: what segments of several options share."""

    grid: VoxelGrid
    normals: NDArray[np.float64]  # [V, 3]
    edges: NDArray[np.int64]  # [E, 2]


def surface_graph(
    points: NDArray[np.floating[Any]],  # [N, 3] metres
    colours: NDArray[np.uint8] | None,  # [N, 3]
    voxel_m: float,
) -> SurfaceGraph:
    """Return the graph of a cloud's voxels."""
    grid = voxel_grid(points, colours, voxel_m)
    return SurfaceGraph(grid, voxel_normals(grid), neighbour_edges(grid))


def segments_of(graph: SurfaceGraph, options: SegmentOptions) -> NDArray[np.int64]:  # [N]
    """Return the segment of each point, numbered from 0; `options.voxel_m` is that of the graph."""
    colours = graph.grid.colours
    weights = edge_weights(graph.edges, graph.normals, colours, options.normal_weight, options.colour_weight)
    found = merge_segments(len(graph.grid), graph.edges, weights, options.k, options.least_voxels)
    return found[graph.grid.inverse]


def geometric_segments(
    points: NDArray[np.floating[Any]],  # [N, 3] metres
    colours: NDArray[np.uint8] | None = None,  # [N, 3]
    options: SegmentOptions | None = None,
) -> NDArray[np.int64]:  # [N]
    """Return the segment of each point, numbered from 0; the order of the points does not matter."""
    options = options or SegmentOptions()
    return segments_of(surface_graph(points, colours, options.voxel_m), options)
