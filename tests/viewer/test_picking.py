from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from labelfree.data.poses import quaternion_rotation
from labelfree.viewer.picking import (
    CELLS,
    HIDDEN_BEYOND,
    SURFACE,
    TOLERANCE,
    ScreenCamera,
    in_rectangle,
    in_sphere,
    pick,
)

RANDOM = np.random.default_rng(0)
CLOUD = RANDOM.uniform(-2, 2, (400, 3)).astype(np.float32)


def slow_pick(points: NDArray[np.float32], origin: NDArray[np.float64], direction: NDArray[np.float64]) -> int | None:
    """Pick as `pick` does, one point after the other."""
    length = math.sqrt(sum(part * part for part in direction))
    seen = []
    for index, point in enumerate(points.tolist()):
        offset = [a - b for a, b in zip(point, origin.tolist())]
        depth = sum(a * b / length for a, b in zip(offset, direction.tolist()))
        if depth > 0:
            aside = math.sqrt(max(sum(a * a for a in offset) - depth * depth, 0.0))
            seen.append((aside / depth, depth, index))
    near = [each for each in seen if each[0] <= TOLERANCE]
    if near:
        front = min(depth for _, depth, _ in near)
        near = [each for each in near if each[1] <= SURFACE * front]
    best = min(near or seen, default=None)
    return best[2] if best is not None and best[0] <= 4 * TOLERANCE else None


def test_pick_agrees_with_the_slow_twin() -> None:
    found = []
    for _ in range(200):
        origin = RANDOM.uniform(-4, 4, 3)
        direction = RANDOM.uniform(-1.5, 1.5, 3) - origin
        found.append(pick(CLOUD, origin, direction))
        assert found[-1] == slow_pick(CLOUD, origin, direction)
    assert any(each is None for each in found)
    assert sum(each is not None for each in found) > 20


def test_pick_takes_the_front_surface_and_only_shown_points() -> None:
    points = np.array([[0, 0, 5], [0.01, 0, 2], [0, 0, -1], [0.3, 0, 1]], np.float32)
    eye, ahead = np.zeros(3), np.array([0.0, 0, 3])
    assert pick(points, eye, ahead) == 1
    assert pick(points, eye, ahead, np.array([True, False, True, True])) == 0
    assert pick(points[2:], eye, ahead) is None
    assert pick(points[:0], eye, ahead) is None


def test_sphere() -> None:
    centre = np.array([0.3, -0.2, 0.5])
    slow = [math.dist(point, centre) <= 0.8 for point in CLOUD.tolist()]
    assert in_sphere(CLOUD, centre, 0.8).tolist() == slow
    assert any(slow)


def slow_rectangle(camera: ScreenCamera, low: tuple[float, float], high: tuple[float, float]) -> list[bool]:
    places, turn, half = [], quaternion_rotation(camera.wxyz), math.tan(camera.fov / 2)
    for point in CLOUD.astype(np.float64):
        x, y, z = turn.T @ (point - camera.position)
        u, v = x / z / (2 * half * camera.aspect) + 0.5, y / z / (2 * half) + 0.5
        inside = z > 0 and low[0] <= u <= high[0] and low[1] <= v <= high[1]
        places.append((inside, int(u * CELLS * camera.aspect), int(v * CELLS), z))
    nearest: dict[tuple[int, int], float] = {}
    for inside, column, row, z in places:
        if inside:
            nearest[column, row] = min(z, nearest.get((column, row), math.inf))
    return [bool(inside and z <= HIDDEN_BEYOND * nearest[column, row]) for inside, column, row, z in places]


def test_rectangle_agrees_with_the_slow_twin() -> None:
    camera = ScreenCamera(np.array([0.5, -6.0, 1.0]), np.array([0.7, -0.7, 0.05, 0.1]), math.radians(50), 1.4)
    low, high = (0.2, 0.3), (0.6, 0.7)
    found = in_rectangle(CLOUD, camera, low, high)
    assert found.tolist() == slow_rectangle(camera, low, high)
    assert 5 < found.sum() < 200
    shown = np.zeros(len(CLOUD), np.bool_)
    assert not in_rectangle(CLOUD, camera, low, high, shown).any()


def test_hidden_points_are_not_selected() -> None:
    camera = ScreenCamera(np.zeros(3), np.array([1.0, 0, 0, 0]), 1.0, 1.0)
    points = np.array([[0.001, 0.001, 1.0], [0.003, 0.003, 3.0], [0.3, 0.3, 3.0]])
    assert in_rectangle(points, camera, (0.0, 0.0), (1.0, 1.0)).tolist() == [True, False, True]
