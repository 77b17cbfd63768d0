"""The label sources of a run side by side: CLIP's labels, the same after the vote, and the trained networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labelfree.evaluation.evaluate import evaluate_pixels, evaluate_points
from labelfree.evaluation.tables import MethodResult
from labelfree.inference import predict_images, predict_points, project_labels
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
from labelfree.prediction import Prediction
from labelfree.scene import Frame, Scene
from labelfree.training.labelled_scenes import LabelConfig, PairingConfig, Teachers, pair_points
from labelfree.vocabulary import Vocabulary


class Labeller(Protocol):
    """Anything that labels frames and clouds."""

    @property
    def name(self) -> str:
        """Row name in tables."""

    @property
    def note(self) -> str:
        """What the row means."""

    def pixels(self, scene: Scene, frame: Frame) -> Prediction:
        """Label a frame."""

    def points(self, scene: Scene) -> Prediction:
        """Label a scene's points."""


@dataclass(frozen=True)
class TeacherLabels:
    """The teachers' labels, with or without the vote, carried to the points by projection: no training at all."""

    teachers: Teachers
    labels: LabelConfig
    pairing: PairingConfig
    vocabulary: Vocabulary
    voted: bool

    @property
    def name(self) -> str:
        """Row name: `clip` is the paper's baseline, `clip+sam` its row without CNS."""
        return "clip+sam" if self.voted else "clip"

    @property
    def note(self) -> str:
        """What the row means."""
        return "CLIP labels after the vote inside SAM's masks" if self.voted else "dense CLIP labels"

    def pixels(self, scene: Scene, frame: Frame) -> Prediction:
        """Return the teacher's labels of a frame at the working size."""
        return Prediction(self._map(frame), self.vocabulary, name=frame.name)

    def points(self, scene: Scene) -> Prediction:
        """Return the labels of all frames carried to the points; the views of a point vote."""
        size = self.labels.image_size
        views = ((pair_points(scene, frame, size, self.pairing), self._map(frame)) for frame in scene.frames)
        return project_labels(scene, views, self.vocabulary)

    def _map(self, frame: Frame) -> NDArray[np.uint8]:
        source = self.teachers.refined_labels if self.voted else self.teachers.namer.labels
        return source(frame, self.labels.image_size)


@dataclass(frozen=True)
class NetworkLabels:
    """The two trained networks."""

    net_2d: Segmenter2D
    net_3d: Segmenter3D
    name: str = "cns"
    note: str = "the co-trained networks"

    def pixels(self, scene: Scene, frame: Frame) -> Prediction:
        """Return the 2D network's labels at the frame's own size."""
        return predict_images(self.net_2d, [frame.load_image()], [frame.name])[0]

    def points(self, scene: Scene) -> Prediction:
        """Return the 3D network's labels."""
        return predict_points(self.net_3d, scene)


def measure(
    scenes: Sequence[Scene],
    labellers: Sequence[Labeller],
    vocabulary: Vocabulary,
    split: str = "",
    advance: Callable[[], None] = lambda: None,
) -> tuple[MethodResult, ...]:
    """Evaluate each labeller in 2D and in 3D where the scenes have truth."""
    results = []
    for labeller in labellers:
        pixels = evaluate_pixels(scenes, labeller.pixels, vocabulary, split)
        points = evaluate_points(scenes, labeller.points, vocabulary, split)
        results.append(MethodResult(labeller.name, pixels, points, labeller.note))
        advance()
    return tuple(results)
