"""Which labels a run delivers: the networks', or those they were trained on where the networks lose classes.

On a single capture the labels are all there is to learn from, and a network that was trained for a short time, or on
few images, names the frequent classes only. Class shares and agreement tell without ground truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from labelfree.config.training import Modality
from labelfree.evaluation.confusion import ConfusionMatrix
from labelfree.labelling.labellers import Labeller
from labelfree.raster import resize_nearest
from labelfree.scene import Scene
from labelfree.vocabulary import Vocabulary

Item = TypeVar("Item")

LEAST_SHARE = 0.02
"""Share of the labels from which on a class must not be lost."""
KEPT_SHARE = 0.5
"""Part of its share that a class must keep."""
STEPS_TO_JUDGE = 60
"""Optimiser steps below which the networks' labels say little about the method."""
SCENES_COMPARED = 16
FRAMES_COMPARED = 256
"""At most so many scenes and images are compared, evenly spread."""


@dataclass(frozen=True)
class Comparison:
    """The labels of one side, 2D or 3D, beside those of the networks trained on them."""

    modality: Modality
    labels: tuple[float, ...]
    """Share of each class among the training labels, 0..1."""
    networks: tuple[float, ...]
    """The same among the networks' labels."""
    agreement: float
    """Share of the labelled pixels or points on which both agree."""

    def lost(self) -> tuple[int, ...]:
        """Return the classes that the networks lose."""
        return tuple(
            label
            for label, (before, now) in enumerate(zip(self.labels, self.networks))
            if before >= LEAST_SHARE and now < KEPT_SHARE * before
        )


@dataclass(frozen=True)
class Delivery:
    """What a run delivers, and why."""

    labeller: Labeller
    comparisons: tuple[Comparison, ...]
    reason: str
    """Sentences for the terminal and the first lines of the report."""

    def to_dict(self, vocabulary: Vocabulary) -> dict[str, Any]:
        """Return what `results.json` keeps: the method delivered, and class shares and agreement of each side."""
        sides = {
            each.modality: {
                "agreement": round(each.agreement, 4),
                "labels": dict(zip(vocabulary.names, (round(share, 4) for share in each.labels))),
                "networks": dict(zip(vocabulary.names, (round(share, 4) for share in each.networks))),
                "lost": [vocabulary.names[label] for label in each.lost()],
            }
            for each in self.comparisons
        }
        return {"delivered": self.labeller.name, "networks_and_labels": sides}


def choose(voted: Labeller, networks: Labeller, scenes: Sequence[Scene], vocabulary: Vocabulary) -> Delivery:
    """Deliver the networks' labels if they keep every class of the voted labels in 2D and 3D, else the voted labels."""
    comparisons = compare(voted, networks, scenes, vocabulary)
    lost = [
        f"{vocabulary.names[label]} ({100 * each.labels[label]:.1f} % to {100 * each.networks[label]:.1f} % in "
        f"{each.modality.upper()})"
        for each in comparisons
        for label in each.lost()
    ]
    agreement = ", ".join(f"{100 * each.agreement:.0f} % in {each.modality.upper()}" for each in comparisons)
    if lost:
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        reason = (
            f"Delivered are the labels of '{voted.name}' ({voted.note}), fused over all views: the networks lose "
            f"{', '.join(lost[:3])}{more}. They agree with these labels on {agreement}."
        )
        return Delivery(voted, comparisons, reason)
    reason = (
        f"Delivered are the labels of '{networks.name}' ({networks.note}): they keep every class of '{voted.name}' and "
        f"agree with it on {agreement}."
    )
    return Delivery(networks, comparisons, reason)


def short_training(steps: int, epochs: int) -> tuple[str, ...]:
    """Return a warning if training took too few steps to judge the networks by, else nothing."""
    if steps >= STEPS_TO_JUDGE:
        return ()
    enough = math.ceil(epochs * STEPS_TO_JUDGE / max(1, steps))
    return (
        f"Training took {steps} steps, too few to judge the networks: they may speckle and name frequent classes only. "
        f"Train longer, for example with --train.epochs={enough} and another --out.",
    )


def compare(
    voted: Labeller, networks: Labeller, scenes: Sequence[Scene], vocabulary: Vocabulary
) -> tuple[Comparison, ...]:
    """Compare two labellers on some of the scenes, in 2D and, where there are points, in 3D."""
    pixels, points = ConfusionMatrix(len(vocabulary)), ConfusionMatrix(len(vocabulary))
    shown = spread(range(len(scenes)), SCENES_COMPARED)
    for scene in (scenes[index] for index in shown):
        for frame in spread(scene.frames, max(1, FRAMES_COMPARED // len(shown))):
            labels, own = voted.pixels(scene, frame).labels, networks.pixels(scene, frame).labels
            pixels.update(labels, resize_nearest(own, (labels.shape[0], labels.shape[1])))
        if not scene.images_only:
            points.update(voted.points(scene).labels, networks.points(scene).labels)
    both: tuple[tuple[Modality, ConfusionMatrix], ...] = (("2d", pixels), ("3d", points))
    return tuple(_comparison(modality, matrix) for modality, matrix in both if matrix.counts.any())


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """Return up to `count` items, evenly spaced."""
    chosen = np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int))
    return [items[int(index)] for index in chosen]


def _comparison(modality: Modality, matrix: ConfusionMatrix) -> Comparison:
    """Read shares and agreement from a matrix with a row for each class of the labels."""
    counts = matrix.counts
    total = counts.sum()
    return Comparison(
        modality,
        tuple((counts.sum(axis=1) / total).tolist()),
        tuple((counts.sum(axis=0)[: matrix.classes] / total).tolist()),
        float(np.trace(counts) / total),
    )
