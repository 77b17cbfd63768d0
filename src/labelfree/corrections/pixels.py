"""Corrected labels of points on the pixels that see them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.config.labels import PairingConfig
from labelfree.data.pairs import pair_points
from labelfree.raster import ImageArray
from labelfree.scene import Scene
from labelfree.vocabulary import IGNORE_LABEL


def corrected_pixels(
    fixed: NDArray[np.uint8],  # [N] class of each point, 255 = not corrected
    point: NDArray[np.integer[Any]],  # [P]
    row: NDArray[np.integer[Any]],  # [P]
    column: NDArray[np.integer[Any]],  # [P]
    size: tuple[int, int],
) -> NDArray[np.uint8]:  # [H, W], 255 = not corrected
    """Return the labels of the pixels that see a corrected point; of several classes the lowest id counts."""
    labels = np.full(size, IGNORE_LABEL, np.uint8)
    # Points without a correction have the highest id, so that they never replace a class.
    np.minimum.at(labels, (row, column), fixed[point])
    return labels


def as_truth(scene: Scene, fixed: NDArray[np.uint8], size: tuple[int, int], pairing: PairingConfig) -> Scene:
    """Return a scene whose ground truth are its corrections, in 3D and on the pixels that see them."""

    def pixels(index: int) -> NDArray[np.uint8]:
        pairs = pair_points(scene, scene.frames[index], size, pairing)
        return corrected_pixels(fixed, pairs.point.numpy(), pairs.row.numpy(), pairs.column.numpy(), size)

    frames = (replace(frame, labels=ImageArray(pixels(index))) for index, frame in enumerate(scene.frames))
    return replace(scene, labels=fixed, frames=tuple(frames))
