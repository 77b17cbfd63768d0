from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labelfree.results.point_render import ViewPoint, look, nearest_points


def z_buffer(
    rows: NDArray[Any], columns: NDArray[Any], depth: NDArray[Any], size: tuple[int, int], radius: int
) -> NDArray[np.int64]:
    """Slow twin: every pixel asks every point."""
    winner = np.full(size, -1, dtype=np.int64)
    for row in range(size[0]):
        for column in range(size[1]):
            covering = [
                (depth[i], i)
                for i in range(len(depth))
                if abs(rows[i] - row) <= radius and abs(columns[i] - column) <= radius
            ]
            if covering:
                winner[row, column] = min(covering)[1]
    return winner


@pytest.mark.parametrize("radius", [0, 1, 2])
def test_equals_a_z_buffer_of_loops(radius: int) -> None:
    random = np.random.default_rng(radius)
    rows, columns = random.integers(-2, 14, 40), random.integers(-2, 11, 40)
    depth = random.permutation(40).astype(np.float64)
    np.testing.assert_array_equal(
        nearest_points(rows, columns, depth, (12, 9), radius), z_buffer(rows, columns, depth, (12, 9), radius)
    )


@pytest.mark.parametrize("up", [(0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0)])
def test_axes_are_a_right_handed_camera_looking_down(up: tuple[float, float, float]) -> None:
    axes = ViewPoint(up).axes()
    right, screen_up, away = axes
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.cross(right, screen_up), -away, atol=1e-12)
    assert abs(right @ np.asarray(up)) < 1e-12
    assert screen_up @ np.asarray(up) > 0 > away @ np.asarray(up)


def test_the_upper_of_two_stacked_patches_is_seen() -> None:
    square = np.stack(np.meshgrid(np.linspace(0, 1, 40), np.linspace(0, 1, 40)), -1).reshape(-1, 2)
    low, high = np.insert(square, 2, 0.0, axis=1), np.insert(square, 2, 0.2, axis=1)
    colours = np.repeat(np.array([[200, 0, 0], [0, 0, 200]], np.uint8), len(square), axis=0)
    view = ViewPoint(elevation_degrees=90.0)
    picture = look(np.concatenate([low, high]).astype(np.float32), (40, 40), view).paint(colours)
    assert picture[20, 20].tolist() == [0, 0, 200]
    assert picture[0, 0].tolist() == [255, 255, 255]


def test_one_point_and_a_vertical_line_are_drawn() -> None:
    for points in (np.zeros((1, 3)), np.array([[0, 0, 0], [0, 0, 1.0]])):
        picture = look(points.astype(np.float32), (20, 20)).paint(np.zeros((len(points), 3), np.uint8))
        assert (picture == 0).any()
