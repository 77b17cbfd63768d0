"""Regions of label maps, and masks as run lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from labelfree.prediction import Prediction

Per = Literal["region", "class"]


@dataclass(frozen=True, eq=False)
class Region:
    """A connected region of one class, or all pixels of a class."""

    label: int
    top: int
    left: int
    mask: NDArray[np.bool_]
    """[h, w] pixels inside the bounding box, whose first pixel is (top, left)."""
    score: float | None = None
    """Mean confidence, if the prediction has scores."""

    @property
    def area(self) -> int:
        """Return the number of pixels."""
        return int(self.mask.sum())

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Return (left, top, width, height) in pixels."""
        return self.left, self.top, self.mask.shape[1], self.mask.shape[0]


def regions_of(prediction: Prediction, per: Per = "region", least_pixels: int = 1) -> list[Region]:
    """Return the regions of an image's classes with at least `least_pixels`; pixels without a label are in none."""
    labels = prediction.labels
    part = label_parts(labels) if per == "region" else labels.astype(np.int64)
    order = np.argsort(part, axis=None, kind="stable")
    firsts = np.flatnonzero(np.diff(part.ravel()[order], prepend=-1))
    found = []
    for pixels in np.split(order, firsts[1:]):
        label = int(labels.ravel()[pixels[0]])
        if label == prediction.vocabulary.ignore or len(pixels) < least_pixels:
            continue
        rows, columns = np.divmod(pixels, labels.shape[1])
        top, left = int(rows.min()), int(columns.min())
        mask = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1), np.bool_)
        mask[rows - top, columns - left] = True
        score = None if prediction.scores is None else float(prediction.scores.ravel()[pixels].mean(dtype=np.float64))
        found.append(Region(label, top, left, mask, score))
    return found


def label_parts(labels: NDArray[np.uint8]) -> NDArray[np.int64]:  # [H, W] -> [H, W]
    """Return the connected part of each pixel, 0, 1, ...: neighbours, also diagonal ones, of equal labels.

    Runs of equal labels in rows are the nodes, which touching runs of the next row join.
    """
    begins = np.ones(labels.shape, np.bool_)
    begins[:, 1:] = labels[:, 1:] != labels[:, :-1]
    run = (np.cumsum(begins) - 1).reshape(labels.shape)
    edges = []
    for shift in (-1, 0, 1):
        above, below = _shifted(labels, shift), _shifted(labels, -shift)
        touching = above[:-1] == below[1:]
        edges.append(np.stack([_shifted(run, shift)[:-1][touching], _shifted(run, -shift)[1:][touching]]))
    joined = _join(int(run[-1, -1]) + 1, np.unique(np.concatenate(edges, axis=1), axis=1))
    return np.unique(joined, return_inverse=True)[1][run]


def _shifted(values: NDArray[np.generic], shift: int) -> NDArray[np.generic]:
    """Return the columns that have a partner at `shift` columns to the right in the array shifted by minus that."""
    return values[:, max(0, -shift) : values.shape[1] - max(0, shift)]


def _join(count: int, edges: NDArray[np.int64]) -> NDArray[np.int64]:  # [2, E] -> [count]
    """Return the smallest node of each node's connected component."""
    root = np.arange(count)
    while True:
        one, other = root[edges[0]], root[edges[1]]
        if (one == other).all():
            return root
        np.minimum.at(root, np.maximum(one, other), np.minimum(one, other))
        while (root[root] != root).any():
            root = root[root]


def line_counts(mask: NDArray[np.bool_], place: tuple[int, int], size: tuple[int, int]) -> list[int]:
    """Return the run lengths of a mask [h, w] at (row, column) `place` of an image of `size`, row by row.

    The first run is of zeros and may be 0 long; runs alternate. Their sum is the number of pixels of the image.
    """
    padded = np.pad(mask, ((0, 0), (0, 1))).ravel()
    edges = np.flatnonzero(np.diff(padded, prepend=False))
    rows, columns = np.divmod(edges, mask.shape[1] + 1)
    flat = (rows + place[0]) * size[1] + columns + place[1]
    begins, ends = flat[::2], flat[1::2]
    touching = begins[1:] == ends[:-1]  # a row that ends at the border, and the next one
    begins, ends = begins[np.r_[True, ~touching]], ends[np.r_[~touching, True]]
    bounds = np.concatenate([[0], np.stack([begins, ends], axis=1).ravel(), [size[0] * size[1]]])
    counts: list[int] = np.diff(bounds).tolist()
    return counts if counts[-1] else counts[:-1]


def column_counts(mask: NDArray[np.bool_], place: tuple[int, int], size: tuple[int, int]) -> list[int]:
    """Return the run lengths of a mask like `line_counts`, but column by column, as COCO stores them."""
    return line_counts(mask.T, place[::-1], size[::-1])
