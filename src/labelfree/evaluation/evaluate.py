"""Evaluation of labels against the ground truth of whole scenes, by the protocol of the paper's benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from labelfree.evaluation.confusion import Evaluation, evaluate_labels
from labelfree.prediction import Prediction
from labelfree.raster import resize_nearest
from labelfree.scene import Frame, Scene
from labelfree.vocabulary import Vocabulary

LabelFrame = Callable[[Scene, Frame], Prediction]
"""Return the labels of a frame at any resolution."""

LabelPoints = Callable[[Scene], Prediction]
"""Return the labels of a scene's points."""


def evaluate_pixels(
    scenes: Sequence[Scene],
    label: LabelFrame,
    vocabulary: Vocabulary,
    split: str = "",
    measured: Sequence[str] | None = None,
) -> Evaluation | None:
    """Return the 2D result over all frames with ground truth, at its own resolution; None without any."""
    pairs = (
        (truth, resize_nearest(label(scene, frame).labels, (truth.shape[0], truth.shape[1])))
        for scene in scenes
        for frame in scene.frames
        if (truth := frame.load_labels()) is not None
    )
    evaluation = evaluate_labels(pairs, vocabulary, split, measured)
    return evaluation if evaluation.counted else None


def evaluate_points(
    scenes: Sequence[Scene],
    label: LabelPoints,
    vocabulary: Vocabulary,
    split: str = "",
    measured: Sequence[str] | None = None,
) -> Evaluation | None:
    """Return the 3D result over all points with ground truth, at full resolution; None without any."""
    pairs = ((scene.labels, label(scene).labels) for scene in scenes if scene.labels is not None)
    evaluation = evaluate_labels(pairs, vocabulary, split, measured)
    return evaluation if evaluation.counted else None
