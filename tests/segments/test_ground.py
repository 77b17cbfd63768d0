"""The ground of a small street, against plain loops, and voxels that grow with the range."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelfree.segments.geometric import surface_graph
from labelfree.segments.ground import (
    CELL_M,
    REACH_CELLS,
    SLOPE,
    TOLERANCE_M,
    divided_at_ground,
    ground_points,
    range_scaled,
)


def street() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return a road that rises by 5 %, a car's box and a wall; and what is road."""
    rng = np.random.default_rng(0)
    road = np.c_[rng.uniform(-15, 15, (4000, 2)), np.zeros(4000)]
    road[:, 2] = 0.05 * road[:, 0] + rng.normal(scale=0.02, size=4000)
    car = rng.uniform([2, 2, 0.5], [5, 4, 1.6], (400, 3))
    wall = np.c_[rng.uniform(-15, 15, 600), np.full(600, 10.0), rng.uniform(1.3, 5, 600)]
    points = np.concatenate([road, car, wall]).astype(np.float32)
    return points, np.arange(len(points)) < len(road)


def plain_ground(points: NDArray[np.float32]) -> list[bool]:
    lowest: dict[tuple[int, int], float] = {}
    cells = [(int(np.floor(x / CELL_M)), int(np.floor(y / CELL_M))) for x, y in points[:, :2].astype(np.float64)]
    for cell, z in zip(cells, points[:, 2].tolist()):
        lowest[cell] = min(z, lowest.get(cell, np.inf))
    found = []
    for (x, y), z in zip(cells, points[:, 2].tolist()):
        limit = min(
            low + SLOPE * CELL_M * float(np.hypot(x - i, y - j))
            for (i, j), low in lowest.items()
            if max(abs(x - i), abs(y - j)) <= REACH_CELLS
        )
        found.append(z <= limit + TOLERANCE_M)
    return found


def test_ground_is_that_of_plain_loops() -> None:
    points, _ = street()
    thin = points[::8]
    assert ground_points(thin).tolist() == plain_ground(thin)
    moved = thin + np.array([-200, 300, -40], np.float32)
    assert (ground_points(moved) == ground_points(thin)).mean() > 0.99


def test_road_is_ground_and_what_stands_on_it_is_not() -> None:
    points, road = street()
    found = ground_points(points)
    assert found[road].all()
    assert found[~road].mean() < 0.02


def test_no_edge_joins_ground_and_other_voxels() -> None:
    points, _ = street()
    ground = ground_points(points)
    graph = surface_graph(points, None, 0.3)
    divided = divided_at_ground(graph, ground)
    share = np.array([ground[graph.grid.inverse == voxel].mean() for voxel in range(len(graph.grid))]) >= 0.5
    assert 0 < len(divided.edges) < len(graph.edges)
    assert (share[divided.edges[:, 0]] == share[divided.edges[:, 1]]).all()


def test_ranges_grow_by_the_logarithm_beyond_near_points() -> None:
    centre = np.array([1.0, 2.0, 3.0])
    direction = np.array([0.6, 0.0, 0.8])
    ranges = np.array([0.0, 4.0, 5.0, 5.0 * np.e, 5.0 * np.e**2])
    found = range_scaled(centre + ranges[:, None] * direction, centre, 5.0)
    np.testing.assert_allclose(found, centre + np.array([0, 4, 5, 10, 15])[:, None] * direction, atol=1e-9)
