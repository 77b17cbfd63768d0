"""Voxels, normals, neighbours and segments of small clouds, each against a plain loop or a known shape."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from labelfree.segments.geometric import SegmentOptions, geometric_segments
from labelfree.segments.graph import colour_description, edge_weights, neighbour_edges
from labelfree.segments.normals import neighbourhood_spread, voxel_normals
from labelfree.segments.voxels import STEPS_PER_VOXEL, VoxelGrid, voxel_grid


def cells_of(grid: VoxelGrid) -> NDArray[np.int64]:  # [V, 3]
    return np.stack(np.unravel_index(grid.keys, grid.shape), axis=1)


def cloud(seed: int = 0, points: int = 400) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    random = np.random.default_rng(seed)
    places = random.normal(scale=0.2, size=(points, 3)) + np.array([1000, -20, 3])
    return places.astype(np.float32), random.integers(0, 256, (points, 3)).astype(np.uint8)


def corner(step_m: float = 0.04) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return a floor and two walls that meet in a corner, and the plane of each point."""
    line = np.arange(0.02, 2, step_m)
    a, b = (part.ravel() for part in np.meshgrid(line, line))
    zero = np.zeros_like(a)
    planes = [np.stack(plane, axis=1) for plane in ((a, b, zero), (a, zero, b), (zero, a, b))]
    return np.concatenate(planes).astype(np.float32), np.repeat(np.arange(3), len(a))


def test_voxels_hold_the_means_of_their_points() -> None:
    points, colours = cloud()
    grid = voxel_grid(points, colours, 0.1)
    assert grid.colours is not None
    cells = np.floor(points.astype(np.float64) / 0.1).astype(np.int64)
    assert len(grid) == len(np.unique(cells, axis=0))
    for voxel in range(len(grid)):
        inside = grid.inverse == voxel
        assert (cells[inside] == cells[inside][0]).all()
        np.testing.assert_allclose(grid.colours[voxel], colours[inside].mean(axis=0) / 255)
        offset = points[inside].astype(np.float64).mean(axis=0) / 0.1 - cells[inside][0]
        np.testing.assert_allclose(grid.positions[voxel] % STEPS_PER_VOXEL / STEPS_PER_VOXEL, offset, atol=0.005)


def test_spread_is_that_of_the_25_columns() -> None:
    grid = voxel_grid(*cloud(), 0.1)
    cells, spread = cells_of(grid), neighbourhood_spread(grid)
    for voxel in range(len(grid)):
        near = grid.positions[(np.abs(cells - cells[voxel]) <= 2).all(axis=1)].astype(np.float64)
        np.testing.assert_allclose(spread[voxel], np.cov(near.T, bias=True) * len(near) ** 2 if len(near) > 1 else 0)


def test_spread_is_exact_far_from_the_origin_of_a_large_grid() -> None:
    """Running sums wrap around there; two patches at the ends of 20 km must have the spread of one alone."""
    patch = np.random.default_rng(1).uniform(0, 0.3, (200, 3))
    ends = np.concatenate([patch, patch + 20_480])
    alone, both = (neighbourhood_spread(voxel_grid(points, None, 0.0625)) for points in (patch, ends))
    np.testing.assert_array_equal(np.concatenate([alone, alone]), both)


def test_neighbours_are_all_26() -> None:
    grid = voxel_grid(*cloud(), 0.1)
    cells = cells_of(grid)
    expected = {
        (a, b) for a in range(len(grid)) for b in range(a + 1, len(grid)) if np.abs(cells[a] - cells[b]).max() == 1
    }
    edges = neighbour_edges(grid)
    assert {(int(a), int(b)) for a, b in edges} == expected
    assert len(edges) == len(expected)


def test_normals_of_planes() -> None:
    points, plane = corner()
    grid = voxel_grid(points, None, 0.05)
    normals = np.abs(voxel_normals(grid))[grid.inverse]
    inner = (np.sort(points, axis=1)[:, 1] > 0.3) & (points.max(axis=1) < 1.8)  # away from the two edges
    np.testing.assert_allclose(normals[inner], np.eye(3)[[2, 1, 0]][plane[inner]], atol=1e-6)


def test_weights_follow_the_formula() -> None:
    normals = np.array([[0, 0, 1.0], [0, 0, -1.0], [1.0, 0, 0]])
    colours = np.array([[0.2, 0.4, 0.6], [0.2, 0.4, 0.6], [0.9, 0.1, 0.2]])
    edges = np.array([[0, 1], [1, 2]])
    light = colours.mean(axis=1)
    first, last = (
        np.array([0.3 * np.log(light[i] + 0.1), *(0.5 * (c / (light[i] + 0.05) - 1) for c in colours[i])])
        for i in (0, 2)
    )
    np.testing.assert_allclose(colour_description(colours)[2], last)
    weights = edge_weights(edges, normals, colours, 0.3, 1.0)
    np.testing.assert_allclose(weights, np.array([0, 0.3 + float(np.linalg.norm(first - last))]))
    np.testing.assert_allclose(edge_weights(edges, normals, None, 0.3, 1.0), np.array([0, 0.3]))


def test_planes_of_a_corner_are_segments() -> None:
    points, plane = corner()
    found = geometric_segments(points, None, SegmentOptions(normal_weight=1.0))
    inner = (np.sort(points, axis=1)[:, 1] > 0.3) & (points.max(axis=1) < 1.8)
    pairs = np.unique(np.stack([found[inner], plane[inner]]), axis=1)
    assert pairs.shape[1] == 3
    assert len(np.unique(pairs[0])) == 3


def test_colours_divide_a_plane() -> None:
    points, plane = corner()
    points = points[plane == 0]
    right = points[:, 0] > 1
    found = geometric_segments(points, np.where(right[:, None], [200, 40, 40], [40, 120, 200]).astype(np.uint8))
    assert found.max() == 1
    assert len(np.unique(found[right])) == 1


def test_a_shadow_weighs_less_than_another_colour() -> None:
    material, shadow, other = colour_description(np.array([[0.7, 0.6, 0.5], [0.56, 0.48, 0.4], [0.5, 0.6, 0.7]]))
    assert np.linalg.norm(shadow - material) < 0.4 * np.linalg.norm(other - material)


@pytest.mark.parametrize("voxel_m", [0.05, 0.3])
def test_the_order_of_the_points_does_not_matter(voxel_m: float) -> None:
    points, colours = cloud(points=3000)
    order = np.random.default_rng(5).permutation(len(points))
    options = SegmentOptions(k=0.3, voxel_m=voxel_m, least_voxels=3)
    found = geometric_segments(points, colours, options)
    np.testing.assert_array_equal(found[order], geometric_segments(points[order], colours[order], options))
    assert found.min() == 0
    assert len(np.unique(found)) == found.max() + 1


def test_a_single_point() -> None:
    assert geometric_segments(np.zeros((1, 3), np.float32)).tolist() == [0]
