"""The choice of the labels that a run delivers: the networks', or the voted labels if the networks lose a class.

A network that is trained for a short time or on few images may predict only the frequent classes. The shares of the
classes and the agreement with the voted labels show this without ground truth.
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
"""Smallest share of the voted labels at which a class must be kept."""
KEPT_SHARE = 0.5
"""A class is lost if the networks give it less than this part of its share."""
STEPS_TO_JUDGE = 60
"""Optimiser steps below which a run is too short to judge its networks."""
SCENES_COMPARED = 16
FRAMES_COMPARED = 256
"""Largest numbers of scenes and images that are compared, evenly spaced."""


@dataclass(frozen=True)
class Comparison:
    """Class shares of the voted labels and of the networks' labels in one modality."""

    modality: Modality
    labels: tuple[float, ...]
    """Share of each class among the voted labels, 0..1."""
    networks: tuple[float, ...]
    """Share of each class among the networks' labels, 0..1."""
    agreement: float
    """Share of the labelled pixels or points where both agree, 0..1."""

    def lost(self) -> tuple[int, ...]:
        """Return the label ids of the classes that the networks lose."""
        return tuple(
            label
            for label, (before, now) in enumerate(zip(self.labels, self.networks))
            if before >= LEAST_SHARE and now < KEPT_SHARE * before
        )


@dataclass(frozen=True)
class Delivery:
    """The labeller that a run delivers, with the reason."""

    labeller: Labeller
    comparisons: tuple[Comparison, ...]
    reason: str
    """Sentences for the terminal and for the first lines of the report."""

    def to_dict(self, vocabulary: Vocabulary) -> dict[str, Any]:
        """Return plain data for `results.json`: the delivered method, class shares and agreement per modality."""
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
    """Return the networks' labels if they keep every class of the voted labels, else the voted labels."""
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
            f"The delivered labels are those of '{voted.name}' ({voted.note}), fused over all views: the networks lose "
            f"{', '.join(lost[:3])}{more}. The networks agree with these labels on {agreement}."
        )
        return Delivery(voted, comparisons, reason)
    reason = (
        f"The delivered labels are those of '{networks.name}' ({networks.note}): they keep every class of "
        f"'{voted.name}' and agree with it on {agreement}."
    )
    return Delivery(networks, comparisons, reason)


def short_training(steps: int, epochs: int) -> tuple[str, ...]:
    """Return a warning if training took too few steps to judge the networks by, else nothing."""
    if steps >= STEPS_TO_JUDGE:
        return ()
    enough = math.ceil(epochs * STEPS_TO_JUDGE / max(1, steps))
    return (
        f"Training took {steps} steps, too few to judge the networks: they may be noisy and predict frequent classes "
        f"only. Train longer, for example with --train.epochs={enough} and another --out.",
    )


def compare(
    voted: Labeller, networks: Labeller, scenes: Sequence[Scene], vocabulary: Vocabulary
) -> tuple[Comparison, ...]:
    """Return the comparison of two labellers on evenly spaced scenes: in 2D and, if there are points, in 3D."""
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
    """Return class shares and agreement from a matrix whose rows are the voted labels."""
    counts = matrix.counts
    total = counts.sum()
    return Comparison(
        modality,
        tuple((counts.sum(axis=1) / total).tolist()),
        tuple((counts.sum(axis=0)[: matrix.classes] / total).tolist()),
        float(np.trace(counts) / total),
    )
