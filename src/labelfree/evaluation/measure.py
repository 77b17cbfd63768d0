"""Evaluation of several labellers on the same scenes."""

from __future__ import annotations

from collections.abc import Sequence

from labelfree.evaluation.evaluate import evaluate_pixels, evaluate_points
from labelfree.evaluation.method_results import MethodResult
from labelfree.labelling.labellers import Labeller
from labelfree.scene import Scene
from labelfree.vocabulary import Vocabulary


def measure(
    scenes: Sequence[Scene],
    labellers: Sequence[Labeller],
    vocabulary: Vocabulary,
    split: str = "",
    measured: Sequence[str] | None = None,
) -> tuple[MethodResult, ...]:
    """Return one result per labeller: an evaluation for each modality that it labels and that has ground truth.

    `measured` are the classes of the vocabulary that the ground truth can contain, if not all.
    """
    results = []
    for labeller in labellers:
        has = labeller.modalities
        pixels = evaluate_pixels(scenes, labeller.pixels, vocabulary, split, measured) if "2d" in has else None
        points = evaluate_points(scenes, labeller.points, vocabulary, split, measured) if "3d" in has else None
        results.append(MethodResult(labeller.name, pixels, points, labeller.note))
    return tuple(results)
