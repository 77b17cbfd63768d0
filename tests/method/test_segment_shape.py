"""Descriptors of segments: known shapes, the same after a turn about the vertical, hulls against all triples."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from labelfree.method.extensions.segment_shape import NAMES, convex_hull, inside_distance, shape_descriptors

STEP = 0.05


def grid(u: NDArray[np.float64], v: NDArray[np.float64], corner: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = [np.arange(0, float(np.linalg.norm(side)), STEP) / float(np.linalg.norm(side)) for side in (u, v)]
    return np.array([corner + a * u + b * v for a, b in product(*sides)])


def room() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return a floor of 4 x 3 m, a wall of 4 x 2.5 m and a table top of 1 x 0.6 m at 0.75 m."""
    x, y, z = np.eye(3)
    parts = [
        grid(4 * x, 3 * y, np.zeros(3)),
        grid(4 * x, 2.5 * z, np.zeros(3)),
        grid(1.0 * x, 0.6 * y, np.array([1.5, 1.2, 0.75])),
    ]
    ids = np.repeat(np.arange(3), [len(part) for part in parts])
    return np.concatenate(parts), np.array([1.0, 0.0, 1.0])[ids], ids


def test_known_shapes() -> None:
    found = shape_descriptors(*room(), STEP)
    assert found.shape == (3, len(NAMES))
    floor, wall, table = (dict(zip(NAMES, row)) for row in found)
    assert table["height"] == pytest.approx(0.75, abs=0.01)
    assert (table["length"], table["breadth"]) == (pytest.approx(1.0, abs=0.02), pytest.approx(0.6, abs=0.02))
    assert wall["rise"] == pytest.approx(2.45, abs=0.01)
    assert (wall["upright"], floor["upright"]) == (0, 1)
    assert wall["wall_distance"] == pytest.approx(0, abs=0.01)
    assert table["nearest_wall"] == pytest.approx(1.2, abs=0.1)
    assert all(shape["scattering"] < 0.01 for shape in (floor, wall, table))
    assert np.exp(table["log_area"]) == pytest.approx(0.6, abs=0.01)
    assert table["filling"] == pytest.approx(12 / (4 * np.pi), abs=0.06)


@pytest.mark.parametrize("degrees", [30.0, 90.0])
def test_a_turn_about_the_vertical_and_a_move_change_nothing(degrees: float) -> None:
    points, steepness, ids = room()
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = points @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + [5, -3, 1]
    before, after = (shape_descriptors(each, steepness, ids, STEP) for each in (points, turned))
    np.testing.assert_allclose(after, before, atol=2e-3)


def test_empty_segments_have_finite_descriptors() -> None:
    points, steepness, ids = room()
    few = shape_descriptors(points[:1], steepness[:1], ids[:1], STEP)
    assert few.shape == (1, len(NAMES))
    assert np.isfinite(few).all()


def test_the_hull_holds_all_places_and_has_only_places_as_corners() -> None:
    places = np.random.default_rng(0).normal(size=(300, 2)) * [2, 1]
    hull = convex_hull(places)
    for start, end in zip(hull, np.roll(hull, -1, axis=0)):
        (ax, ay), (bx, by) = start, end
        assert all((bx - ax) * (y - ay) - (by - ay) * (x - ax) >= -1e-9 for x, y in places)
    assert {tuple(row) for row in hull} <= {tuple(row) for row in places}


def test_the_distance_is_that_to_the_nearest_side() -> None:
    square = np.array([[0.0, 0], [4, 0], [4, 2], [0, 2]])
    found = inside_distance(np.array([[1.0, 1.2], [0.1, 1.0], [3.7, 1.5], [2.0, 0.0]]), square)
    np.testing.assert_allclose(found, [0.8, 0.1, 0.3, 0.0])
