"""A small room made of flat patches, with true labels and a noisy guess, for the tests of results."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelfree.results.cloud_view import CloudLayer, CloudView, label_layer
from labelfree.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("wall", "floor", "table", "chair"))
WALL, FLOOR, TABLE, CHAIR = range(4)


def patch(origin: ArrayLike, first: ArrayLike, second: ArrayLike, per_metre: int) -> NDArray[np.float32]:
    """Return points on the parallelogram spanned by two edges."""
    a, b = np.asarray(first, float), np.asarray(second, float)
    rows, columns = (max(2, int(np.linalg.norm(edge) * per_metre)) for edge in (a, b))
    s, t = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    points: NDArray[Any] = np.asarray(origin) + s.reshape(-1, 1) * a + t.reshape(-1, 1) * b
    return points.astype(np.float32)


def box(origin: ArrayLike, size: ArrayLike, per_metre: int) -> NDArray[np.float32]:
    """Return points on the sides and the top of a box."""
    x, y, z = np.diag(np.asarray(size, float))
    corner = np.asarray(origin, float)
    faces = [(corner, x, z), (corner, y, z), (corner + y, x, z), (corner + x, y, z), (corner + z, x, y)]
    return np.concatenate([patch(*face, per_metre) for face in faces])


def room(per_metre: int = 8, ceiling: bool = False) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return points and labels of a 4 x 3 m room with a table and a chair."""
    parts = [
        (FLOOR, patch((0, 0, 0), (4, 0, 0), (0, 3, 0), per_metre)),
        (WALL, patch((0, 3, 0), (4, 0, 0), (0, 0, 2.4), per_metre)),
        (WALL, patch((0, 0, 0), (0, 3, 0), (0, 0, 2.4), per_metre)),
        (TABLE, box((2, 1, 0), (1.2, 0.8, 0.75), per_metre)),
        (CHAIR, box((1.1, 1.2, 0), (0.45, 0.45, 0.5), per_metre)),
    ]
    if ceiling:
        parts.append((255, patch((0, 0, 2.4), (4, 0, 0), (0, 3, 0), per_metre)))
    points = np.concatenate([points for _, points in parts])
    return points, np.concatenate([np.full(len(points), label, np.uint8) for label, points in parts])


def guess(labels: NDArray[np.uint8], wrong: float, seed: int = 0) -> NDArray[np.uint8]:
    """Return the labels with some share replaced by chance."""
    random = np.random.default_rng(seed)
    noise = random.integers(0, len(VOCABULARY), labels.shape).astype(np.uint8)
    return np.where((random.random(labels.shape) < wrong) | (labels == 255), noise, labels).astype(np.uint8)


def room_view(per_metre: int = 8, ceiling: bool = False, name: str = "room") -> CloudView:
    """Return the room with the layers that a report shows."""
    points, truth = room(per_metre, ceiling)
    shade = np.clip(90 + 50 * points, 0, 255).astype(np.uint8)
    layers = (
        CloudLayer("input colours", shade),
        label_layer("CLIP labels", guess(truth, 0.5), VOCABULARY),
        label_layer("labels after the vote", guess(truth, 0.3), VOCABULARY),
        label_layer("ours", guess(truth, 0.1), VOCABULARY),
        label_layer("truth", truth, VOCABULARY),
    )
    return CloudView(name, points, layers)
