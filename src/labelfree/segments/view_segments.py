"""Segments of a scene from geometry and masks: a fine over-segmentation, merged by agreement of masks across views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.segments.geometric import SegmentOptions, SurfaceGraph
from labelfree.segments.graph import edge_weights
from labelfree.segments.mask_borders import border_share
from labelfree.segments.mask_counts import count_masks
from labelfree.segments.merge_views import MergeOptions, borders, merge_by_views
from labelfree.segments.merging import merge_segments

ViewMasks = tuple[NDArray[np.int64], NDArray[np.integer[Any]]]
"""The points [P] that a view sees, and the ids of their masks [P], 0 = no mask."""


@dataclass(frozen=True)
class ViewSegmentOptions:
    """The options of segments from geometry and masks."""

    fine: SegmentOptions = field(default_factory=lambda: SegmentOptions(k=0.2))
    """Options of the over-segmentation."""
    merge: MergeOptions = field(default_factory=MergeOptions)
    """Options of merging by views."""
    border_weight: float = 0.1
    """Weight of a border between masks in the over-segmentation; 0 leaves masks out."""
    border_prior: float = 2.0
    """Views without a border that are added to those that see an edge."""
    level: float = 0.7
    """Threshold whose level is used where one is wanted."""


@dataclass(frozen=True, eq=False)
class ViewSegments:
    """The segments of N points: an over-segmentation and L nested levels above it."""

    fine: NDArray[np.int64]
    """[N] segment in the over-segmentation."""
    levels: NDArray[np.int64]
    """[L, N] segment at each threshold, finest first, each numbered from 0."""
    thresholds: tuple[float, ...]
    """[L] affinity down to which segments were merged."""

    def at(self, threshold: float) -> NDArray[np.int64]:  # [N]
        """Return the level of a threshold."""
        return self.levels[self.thresholds.index(threshold)]


def view_segments(
    graph: SurfaceGraph, views: Sequence[ViewMasks], options: ViewSegmentOptions | None = None
) -> ViewSegments:
    """Return the segments of a cloud from its voxels and the masks of its views."""
    options = options or ViewSegmentOptions()
    grid, fine = graph.grid, options.fine
    weights = edge_weights(graph.edges, graph.normals, grid.colours, fine.normal_weight, fine.colour_weight)
    divided = weights
    if options.border_weight > 0:
        share = border_share(graph.edges, grid.inverse, len(grid), views, options.border_prior)
        divided = weights + options.border_weight * share
    region = merge_segments(len(grid), graph.edges, divided, fine.k, fine.least_voxels)
    of_point = region[grid.inverse]
    border = borders(region[graph.edges], weights)
    levels = merge_by_views(int(region.max()) + 1, border, count_masks(of_point, views), options.merge)
    return ViewSegments(of_point, levels[:, of_point], options.merge.thresholds)
