"""A classifier of a few numbers by histograms, and its cross-validation over scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError
from labelfree.evaluation.confusion import ConfusionMatrix

BINS = 32
"""Bins of each feature at the finest level, with equally many fitted samples; coarser levels join two neighbours."""
FOLDS = 4
"""Parts of the scenes: each is measured with a classifier that was fitted on the others."""
CLASS_POWERS = (0.0, -0.5)
"""Class weights that are tried: frequency to these powers."""


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of one scene: pixels, points or components."""

    features: NDArray[np.float64]
    """[n, D]"""
    labels: NDArray[np.int64]
    """[n] ground-truth classes."""
    weights: NDArray[np.int64]
    """[n] number of pixels or points that a sample stands for."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """The best class of each cell of the features, on grids from fine to coarse."""

    edges: tuple[NDArray[np.float64], ...]
    """Inner edges of each feature's bins at the finest level."""
    winners: tuple[NDArray[np.int64], ...]
    """Class of each cell per level, -1 where too few samples fell; the coarsest level has one cell and a class."""

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.int64]:  # [n, D] -> [n]
        """Return the class of each sample: that of the finest cell which has one."""
        cells = _bins(features, self.edges)
        found = np.full(len(features), -1)
        for level, winners in enumerate(self.winners):
            found = np.where(found < 0, winners[_cell(cells >> level, level)], found)
        return found


def fit_histogram(samples: Samples, classes: int, class_power: float, least: int) -> Histogram:
    """Return the classifier of samples; a cell has a class from `least` samples on.

    A sample has the square root of its weight, and a class its share of the weights to the power `class_power`.
    """
    share = np.bincount(samples.labels, weights=samples.weights, minlength=classes) / samples.weights.sum()
    class_weight = np.where(share > 0, np.maximum(share, 1e-9) ** class_power, 0.0)
    mass = np.sqrt(samples.weights) * class_weight[samples.labels]
    quantiles = np.arange(1, BINS) / BINS
    edges = tuple(np.quantile(column, quantiles) for column in samples.features.T)
    cells, winners = _bins(samples.features, edges), []
    for level in range(BINS.bit_length()):
        cell = _cell(cells >> level, level)
        count = (BINS >> level) ** len(edges)
        table = np.bincount(cell * classes + samples.labels, weights=mass, minlength=count * classes)
        enough = np.bincount(cell, minlength=count) >= (least if count > 1 else 1)
        winners.append(np.where(enough, table.reshape(count, classes).argmax(axis=1), -1))
    return Histogram(edges, tuple(winners))


def cross_validated_miou(scenes: Sequence[Samples], classes: int, least: int) -> float | None:
    """Return the mIoU of histogram classifiers, each on scenes that it was not fitted on; None below two scenes.

    The better one of the class weights counts, so that the value is rather too high than too low.
    """
    scenes = [scene for scene in scenes if len(scene.labels)]
    largest = max((int(scene.labels.max()) for scene in scenes), default=0)
    if largest >= classes:
        raise InputError(f"The ground truth holds label {largest}, but there are {classes} classes: give all of them.")
    folds = min(FOLDS, len(scenes))
    if folds < 2:
        return None
    reached = []
    for power in CLASS_POWERS:
        matrix = ConfusionMatrix(classes)
        for fold in range(folds):
            fitted = fit_histogram(
                joined([s for i, s in enumerate(scenes) if i % folds != fold]), classes, power, least
            )
            for scene in scenes[fold::folds]:
                np.add.at(matrix.counts, (scene.labels, fitted.predict(scene.features)), scene.weights)
        reached.append(matrix.miou())
    return max(reached)


def joined(scenes: Sequence[Samples]) -> Samples:
    """Return the samples of several scenes or images as one."""
    return Samples(*(np.concatenate([getattr(s, name) for s in scenes]) for name in ("features", "labels", "weights")))


def _bins(features: NDArray[np.float64], edges: Sequence[NDArray[np.float64]]) -> NDArray[np.int64]:  # [n, D]
    columns = [np.searchsorted(edge, column, "right") for edge, column in zip(edges, features.T)]
    return np.stack(columns, axis=1).astype(np.int64)


def _cell(bins: NDArray[np.int64], level: int) -> NDArray[np.int64]:  # [n, D] -> [n]
    cell = np.zeros(len(bins), np.int64)
    for column in bins.T:
        cell = cell * (BINS >> level) + column
    return cell
