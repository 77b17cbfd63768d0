"""Segments of clouds whose geometry or masks are weak, and the borders of masks against plain loops."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from labelfree.segments.geometric import surface_graph
from labelfree.segments.mask_borders import border_share, voxel_masks
from labelfree.segments.view_segments import ViewSegments, view_segments

Views = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


def floor(step_m: float = 0.04) -> NDArray[np.float32]:
    line = np.arange(0.02, 2, step_m)
    x, y = (part.ravel() for part in np.meshgrid(line, line))
    return np.stack([x, y, np.zeros_like(x)], axis=1).astype(np.float32)


def halves(points: NDArray[np.float32]) -> NDArray[np.int64]:
    return (points[:, 0] > 1).astype(np.int64)


def found(points: NDArray[np.float32], colours: NDArray[np.uint8] | None, views: Views) -> ViewSegments:
    return view_segments(surface_graph(points, colours, 0.05), views)


def test_masks_divide_a_plane_that_geometry_cannot() -> None:
    points = floor()
    side = halves(points)
    every = np.arange(len(points))
    segments = found(points, None, [(every, side + 1)] * 8).at(0.7)
    assert len(np.unique(segments)) == 2
    assert (segments == segments[0]).mean() == pytest.approx((side == side[0]).mean(), abs=0.03)


def test_colours_divide_a_plane_that_no_mask_covers() -> None:
    points = floor()
    colours = np.where(halves(points)[:, None] == 1, [200, 40, 40], [40, 120, 200]).astype(np.uint8)
    for views in ([], [(np.arange(len(points)), np.zeros(len(points), np.int64))]):
        segments = found(points, colours, views)
        assert len(np.unique(segments.at(0.7))) == 2


def test_masks_join_stripes() -> None:
    points = floor()
    stripe = (points[:, 1] // 0.5).astype(np.int64) % 2
    colours = np.where(stripe[:, None] == 1, [200, 40, 40], [40, 120, 200]).astype(np.uint8)
    segments = found(points, colours, [(np.arange(len(points)), np.ones(len(points), np.int64))] * 2)
    assert segments.fine.max() == 3
    assert segments.at(0.7).max() == 0


def test_levels_are_nested_and_the_order_of_the_points_does_not_matter() -> None:
    random = np.random.default_rng(2)
    points = (random.normal(scale=0.3, size=(3000, 3)) * [1, 1, 0.1]).astype(np.float32)
    colours = random.integers(0, 256, (3000, 3)).astype(np.uint8)
    views: Views = []
    for _ in range(4):
        seen = np.flatnonzero(random.random(3000) < 0.5)
        views.append((seen, (points[seen, 0] > random.normal(scale=0.2)).astype(np.int64) + 1))
    segments = found(points, colours, views)
    for fine, coarse in pairwise([segments.fine, *segments.levels]):
        assert len(np.unique(np.stack([fine, coarse]), axis=1).T) == fine.max() + 1
    assert segments.levels[-1].max() < segments.fine.max()
    order = random.permutation(3000)
    place = np.argsort(order)
    moved = found(points[order], colours[order], [(place[seen], ids) for seen, ids in views])
    np.testing.assert_array_equal(moved.levels, segments.levels[:, order])


def plain_masks(voxel: NDArray[np.int64], ids: NDArray[np.int64], voxels: int) -> list[int]:
    found = []
    for each in range(voxels):
        counts = Counter(ids[(voxel == each) & (ids > 0)].tolist())
        found.append(min(counts, key=lambda mask: (-counts[mask], mask)) if counts else 0)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_border_share_is_that_of_plain_loops(seed: int) -> None:
    random = np.random.default_rng(seed)
    voxel, edges = random.integers(0, 20, 200), random.integers(0, 20, (40, 2))
    views: Views = []
    for _ in range(4):
        seen = np.flatnonzero(random.random(200) < 0.3)
        views.append((seen, random.integers(0, 4, len(seen))))
    views.append((np.empty(0, np.int64), np.empty(0, np.int64)))
    maps = [plain_masks(voxel[seen], ids, 20) for seen, ids in views]
    expected = []
    for a, b in edges.tolist():
        both = [own for own in maps if own[a] and own[b]]
        expected.append(sum(own[a] != own[b] for own in both) / (len(both) + 2))
    np.testing.assert_allclose(border_share(edges, voxel, 20, views, 2), expected)
    for (seen, ids), own in zip(views, maps):
        place, mask = voxel_masks(voxel[seen], ids)
        assert dict(zip(place.tolist(), mask.tolist())) == {v: m for v, m in enumerate(own) if m}
