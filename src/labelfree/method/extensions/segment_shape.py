"""Describe the shape and place of segments, without colour and without CLIP: the view of the shape namer.

The descriptors are those of indoor parsing by geometry: height, extent, normal, planarity, size and distance to the
bounding walls (Koppula et al., NeurIPS 2011; Silberman et al., ECCV 2012), and the eigenvalue features of Weinmann et
al. (ISPRS 2015). They do not change if the scene is turned about the vertical or moved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NAMES = (
    "height", "lowest", "highest", "rise", "length", "breadth", "linearity", "planarity", "scattering",
    "upright", "tilt_spread", "log_points", "log_area", "filling", "wall_distance", "nearest_wall", "below_top",
)  # fmt: skip
"""Names of the descriptors, in order."""
FLOOR_QUANTILE = 0.01
"""Quantile of the heights of a scene that counts as its floor; 1 less it as its top."""

DIRECTIONS = 16
"""Directions whose extreme places bound the ones that the hull leaves out."""


def shape_descriptors(
    points_up: NDArray[np.floating[Any]],  # [N, 3] metres, z up
    steepness: NDArray[np.floating[Any]],  # [N] |z| of the unit normal at each point
    segments: NDArray[np.int64],  # [N] from 0
    point_m: float,
) -> NDArray[np.float32]:  # [G, len(NAMES)]
    """Return the descriptors of each segment; `point_m` is the spacing of the points in metres."""
    count = int(segments.max()) + 1
    points = points_up.astype(np.float64)
    floor, top = np.quantile(points[:, 2], (FLOOR_QUANTILE, 1 - FLOOR_QUANTILE))
    size = np.bincount(segments, minlength=count).astype(np.float64)
    centre = _means(points, segments, size)
    low, high = _bounds(points[:, 2], segments, count)
    eigen = _eigenvalues(points - centre[segments], segments, size)
    spread = np.sqrt(eigen[:, ::-1])  # standard deviations, largest first
    largest = np.maximum(spread[:, 0], 1e-6)
    flat = np.sqrt(_eigenvalues((points - centre[segments])[:, :2], segments, size))
    length, breadth = np.sqrt(12.0) * flat[:, 1], np.sqrt(12.0) * flat[:, 0]  # sides of a uniform rectangle
    tilt = _means(steepness[:, None].astype(np.float64), segments, size)[:, 0]
    tilt_square = _means(steepness[:, None].astype(np.float64) ** 2, segments, size)[:, 0]
    area = size * point_m**2
    hull = convex_hull(points[:, :2])
    place = inside_distance(points[:, :2], hull)
    nearest, _ = _bounds(place, segments, count)
    columns = (
        centre[:, 2] - floor, low - floor, high - floor, high - low, length, breadth,
        (spread[:, 0] - spread[:, 1]) / largest, (spread[:, 1] - spread[:, 2]) / largest, spread[:, 2] / largest,
        tilt, np.sqrt(np.maximum(tilt_square - tilt**2, 0)), np.log(size), np.log(area + 1e-4),
        area / (np.pi * 4 * spread[:, 0] * spread[:, 1] + point_m**2),
        _means(place[:, None], segments, size)[:, 0], nearest, top - high,
    )  # fmt: skip
    return np.stack(columns, axis=1).astype(np.float32)


def convex_hull(places: NDArray[np.float64]) -> NDArray[np.float64]:  # [N, 2] -> [M, 2] anticlockwise
    """Return the corners of the convex hull (Andrew's monotone chain).

    Places inside the polygon of the extreme ones in some directions are left out first (Akl and Toussaint, 1978).
    """
    angle = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    corners = places[(places @ np.stack([np.cos(angle), np.sin(angle)])).argmax(axis=0)]
    left = np.min([_left(places, start, end) for start, end in zip(corners, np.roll(corners, -1, axis=0))], axis=0)
    rows = [(float(x), float(y)) for x, y in np.unique(places[left <= 0], axis=0)]
    if len(rows) < 3:
        return np.array(rows)
    return np.array(_chain(rows)[:-1] + _chain(rows[::-1])[:-1])


def inside_distance(
    places: NDArray[np.float64],  # [N, 2]
    hull: NDArray[np.float64],  # [M, 2] anticlockwise
) -> NDArray[np.float64]:  # [N] metres, 0 on the border
    """Return the distance of places inside a convex hull to its nearest side."""
    found = np.full(len(places), np.inf)
    for start, end in zip(hull, np.roll(hull, -1, axis=0)):
        found = np.minimum(found, np.abs(_left(places, start, end)) / max(1e-9, float(np.linalg.norm(end - start))))
    return found


def _left(places: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return twice the area of the triangle of start, end and each place; positive to the left."""
    along, offset = end - start, places - start
    area: NDArray[np.float64] = along[0] * offset[:, 1] - along[1] * offset[:, 0]
    return area


def _chain(rows: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return half of the hull of places in order: the turns that are not to the left are removed."""
    kept: list[tuple[float, float]] = []
    for row in rows:
        while len(kept) > 1 and _turn(kept[-2], kept[-1], row) <= 0:
            kept.pop()
        kept.append(row)
    return kept


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _means(
    values: NDArray[np.float64],  # [N, C]
    segments: NDArray[np.int64],  # [N]
    size: NDArray[np.float64],  # [G]
) -> NDArray[np.float64]:  # [G, C]
    sums = [np.bincount(segments, column, minlength=len(size)) for column in values.T]
    return np.stack(sums, axis=1) / np.maximum(size, 1)[:, None]


def _eigenvalues(
    offsets: NDArray[np.float64],  # [N, C] from the centre of the segment
    segments: NDArray[np.int64],  # [N]
    size: NDArray[np.float64],  # [G]
) -> NDArray[np.float64]:  # [G, C] ascending, at least 0
    first, second = np.triu_indices(offsets.shape[1])
    products = _means(offsets[:, first] * offsets[:, second], segments, size)
    matrix = np.empty((len(size), offsets.shape[1], offsets.shape[1]))
    matrix[:, first, second] = matrix[:, second, first] = products
    values: NDArray[np.float64] = np.maximum(np.linalg.eigvalsh(matrix), 0.0)
    return values


def _bounds(
    values: NDArray[np.float64],  # [N]
    segments: NDArray[np.int64],  # [N]
    count: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # [G], [G]
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, segments, values)
    np.maximum.at(high, segments, values)
    return low, high
