"""The paper's augmentations: random crop, resize and flip of images; rotation about z and flips of points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.config.training import AugmentConfig
from labelfree.raster import resize_image


@dataclass(frozen=True)
class ImageCrop:
    """A rectangle of an image, optionally mirrored, that is resized to the size of the whole image."""

    top: int
    left: int
    height: int
    width: int
    flip: bool

    def image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the crop of an image [H, W, 3], resized to [H, W, 3]."""
        part = resize_image(np.ascontiguousarray(self._part(image)), (image.shape[0], image.shape[1]))
        return np.ascontiguousarray(part[:, ::-1]) if self.flip else part

    def map(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the crop of a label or mask map [H, W], resized by the nearest pixel."""
        height, width = values.shape[:2]
        rows = self.top + ((np.arange(height) + 0.5) * self.height / height).astype(np.int64)
        columns = self.left + ((np.arange(width) + 0.5) * self.width / width).astype(np.int64)
        return values.take(rows, axis=0).take(columns[::-1] if self.flip else columns, axis=1)

    def holds(
        self,
        rows: NDArray[np.int32],  # [P]
        columns: NDArray[np.int32],  # [P]
    ) -> NDArray[np.bool_]:  # [P]
        """Return whether each source pixel is inside the crop."""
        below, beside = rows - np.int32(self.top), columns - np.int32(self.left)
        return (below >= 0) & (below < self.height) & (beside >= 0) & (beside < self.width)

    def pixels(
        self,
        rows: NDArray[np.int32],  # [P]
        columns: NDArray[np.int32],  # [P]
        size: tuple[int, int],
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:  # [P], [P]
        """Return the rows and columns in the crop of source pixels inside it."""
        new_rows = ((rows + 0.5 - self.top) * size[0] / self.height).astype(np.int32)
        new_columns = ((columns + 0.5 - self.left) * size[1] / self.width).astype(np.int32)
        return new_rows, size[1] - 1 - new_columns if self.flip else new_columns

    def _part(self, values: NDArray[Any]) -> NDArray[Any]:
        return values[self.top : self.top + self.height, self.left : self.left + self.width]


def draw_crop(config: AugmentConfig, size: tuple[int, int], random: np.random.Generator) -> ImageCrop:
    """Draw a random crop for images of `size` (height, width); every draw is valid."""
    area = random.uniform(*config.crop_area)
    aspect = math.exp(random.uniform(math.log(config.crop_aspect[0]), math.log(config.crop_aspect[1])))
    if config.crop_area == (1.0, 1.0):
        aspect = 1.0
    height = min(size[0], max(1, round(size[0] * math.sqrt(area / aspect))))
    width = min(size[1], max(1, round(size[1] * math.sqrt(area * aspect))))
    top = int(random.integers(size[0] - height + 1))
    left = int(random.integers(size[1] - width + 1))
    flip = bool(random.random() < 0.5) and config.flip_images
    return ImageCrop(top, left, height, width, flip)


def mean_point(points: NDArray[np.float32]) -> NDArray[np.float64]:  # [N, 3] -> [3]
    """Return the mean of points in metres."""
    return np.asarray(points.mean(axis=0, dtype=np.float64))


def move_points(
    points: NDArray[np.float32],  # [N, 3] z up
    config: AugmentConfig,
    random: np.random.Generator,
    mean: NDArray[np.float64] | None = None,  # [3] of the points, if it is known
) -> NDArray[np.float32]:  # [N, 3]
    """Return the points centred at their mean, rotated about z and mirrored, as far as `config` asks."""
    angle = random.uniform(0.0, 2.0 * math.pi) if config.rotate_points else 0.0
    mirror = np.where(random.random(2) < 0.5, -1.0, 1.0) if config.flip_points else np.ones(2)
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    turn[:2] *= mirror[:, None]
    return ((points - (mean_point(points) if mean is None else mean)) @ turn.T).astype(np.float32)
