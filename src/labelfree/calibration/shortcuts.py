"""Features that should not suffice to tell classes: colour, texture, position and size alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelfree.calibration.histogram import Samples
from labelfree.raster import resize_nearest
from labelfree.scene import Frame, Scene
from labelfree.segments.geometric import SurfaceGraph
from labelfree.segments.merging import merge_segments
from labelfree.vocabulary import IGNORE_LABEL

SAMPLES_PER_IMAGE = 5000
"""Pixels of an image that are sampled at most, and four times as many points of a scene."""
WINDOWS = (5, 13)
"""Sides in pixels of the windows of texture statistics."""
PERCENTILES = (1.0, 99.0)
"""Of the points' coordinates: the scene's bounding box without outliers."""


def colour_samples(frame: Frame) -> Samples:
    """Return the colour of pixels: red, green and blue."""
    return _of_pixels(frame, frame.load_image().astype(np.float64))


def texture_samples(frame: Frame) -> Samples:
    """Return the texture around pixels: contrast in two windows, and the share of horizontal gradients."""
    light = frame.load_image().astype(np.float64).mean(axis=2)
    down, right = (np.abs(part) for part in np.gradient(light))
    contrasts = [np.log(_mean(light**2, side) - _mean(light, side) ** 2 + 1.0) for side in WINDOWS]
    vertical, horizontal = _mean(down, WINDOWS[-1]), _mean(right, WINDOWS[-1])
    return _of_pixels(frame, np.stack([*contrasts, (horizontal + 0.1) / (vertical + horizontal + 0.2)], axis=2))


def position_samples(scene: Scene) -> Samples:
    """Return the place of points: height above the floor, and the distances to the nearest walls of the bounding box.

    Of the two horizontal distances the smaller one is the first.
    """
    points = scene.upright_points().astype(np.float64)
    low, high = np.percentile(points, PERCENTILES, axis=0)
    walls = np.sort(np.minimum(points - low, high - points)[:, :2], axis=1)
    features = np.column_stack([points[:, 2] - low[2], walls])
    return _sampled(features, _truth(scene), 4 * SAMPLES_PER_IMAGE)


def size_samples(scene: Scene, graph: SurfaceGraph) -> Samples:
    """Return the size of objects: height, length and width of each connected part of one ground-truth class."""
    truth, inverse = _truth(scene), graph.grid.inverse
    label = np.full(len(graph.grid), IGNORE_LABEL)
    label[inverse] = truth  # the last point of a voxel decides
    a, b = graph.edges.T
    inside = graph.edges[(label[a] == label[b]) & (label[a] != IGNORE_LABEL)]
    part = merge_segments(len(graph.grid), inside, np.zeros(len(inside)), 1.0)[inverse]
    order = np.argsort(part, kind="stable")
    first = np.flatnonzero(np.diff(part[order], prepend=-1))
    points = scene.upright_points()[order]
    extent = np.maximum.reduceat(points, first) - np.minimum.reduceat(points, first)
    across = np.sort(extent[:, :2], axis=1)
    features = np.column_stack([extent[:, 2], across]).astype(np.float64)
    labels = label[inverse[order[first]]].astype(np.int64)
    count = np.diff(first, append=len(part))
    known = labels != IGNORE_LABEL
    return Samples(features[known], labels[known], count[known])


def _truth(scene: Scene) -> NDArray[np.uint8]:
    return np.full(len(scene), IGNORE_LABEL, np.uint8) if scene.labels is None else scene.labels


def _of_pixels(frame: Frame, features: NDArray[np.float64]) -> Samples:  # [H, W, D]
    labels = frame.load_labels()
    size = (features.shape[0], features.shape[1])
    truth = np.full(size, IGNORE_LABEL, np.uint8) if labels is None else resize_nearest(labels, size)
    return _sampled(features.reshape(-1, features.shape[2]), truth.ravel(), SAMPLES_PER_IMAGE)


def _sampled(
    features: NDArray[np.float64],  # [n, D]
    truth: NDArray[np.uint8],  # [n]
    most: int,
) -> Samples:
    """Return at most so many samples with ground truth, drawn with a fixed seed."""
    known = np.flatnonzero(truth != IGNORE_LABEL)
    if len(known) > most:
        known = np.sort(np.random.default_rng(0).choice(known, most, replace=False))
    return Samples(features[known], truth[known].astype(np.int64), np.ones(len(known), np.int64))


def _mean(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:  # [H, W]
    """Return the mean over a square window of odd side; the border is repeated outwards."""
    half = side // 2
    padded = np.pad(values, half, mode="edge")
    sums = np.pad(padded.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    total = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return total / side**2
