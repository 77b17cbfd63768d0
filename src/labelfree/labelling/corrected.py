"""Labels of another labeller with the points that were corrected by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from labelfree.config.training import Modality
from labelfree.corrections.value import CorrectionSet
from labelfree.labelling.labellers import Labeller
from labelfree.prediction import Prediction
from labelfree.scene import Frame, Scene
from labelfree.vocabulary import IGNORE_LABEL


@dataclass(frozen=True)
class CorrectedLabels:
    """The labels of another labeller; corrected points have the corrected label, with confidence 1."""

    labeller: Labeller
    corrections: CorrectionSet

    @property
    def name(self) -> str:
        """Return the row name."""
        return f"{self.labeller.name}, corrected"

    @property
    def note(self) -> str:
        """Return a short description of the row."""
        return f"{self.labeller.note}; {self.corrections.sentence()}"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Return the modalities of the other labeller."""
        return self.labeller.modalities

    def pixels(self, scene: Scene, frame: Frame) -> Prediction:
        """Return the other labeller's labels of a frame."""
        return self.labeller.pixels(scene, frame)

    def points(self, scene: Scene) -> Prediction:
        """Return the labels of the points, corrected ones included."""
        found, fixed = self.labeller.points(scene), self.corrections.labels(scene)
        return found if fixed is None else with_fixed(found, fixed)


def corrected(labeller: Labeller, corrections: CorrectionSet) -> Labeller:
    """Return a labeller with corrections, or the labeller itself if there are none."""
    return CorrectedLabels(labeller, corrections) if corrections.by_scene else labeller


def with_fixed(prediction: Prediction, fixed: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Prediction:  # [N]
    """Return a prediction of points with fixed labels, 255 = none, in their places."""
    where = fixed != IGNORE_LABEL
    labels = np.where(where, fixed, prediction.labels)
    scores = None if prediction.scores is None else np.where(where, np.float32(1.0), prediction.scores)
    seen = None if prediction.seen is None else prediction.seen | where
    return replace(prediction, labels=labels, scores=scores, seen=seen)
