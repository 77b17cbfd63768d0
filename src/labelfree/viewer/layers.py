"""The layers of a scene in the viewer; each is computed when it is first shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from labelfree.labelling.inference import predict_points
from labelfree.labelling.labellers import TeacherLabels
from labelfree.labelling.scene_segments import scene_segments
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
from labelfree.prediction import Prediction
from labelfree.results.segment_files import segment_colours
from labelfree.scene import Scene
from labelfree.segments.view_segments import ViewSegmentOptions
from labelfree.teachers.teachers import Teachers
from labelfree.viewer.colouring import heat_colours, height_colours
from labelfree.viewer.queries import TextSpaceFeatures, image_features, network_features
from labelfree.vocabulary import Vocabulary

INPUT, CLIP, VOTED = "input colours", "CLIP labels", "labels after the vote"
PREDICTION, CONFIDENCE, SEGMENTS = "prediction", "confidence", "segments"
TRUTH, CORRECTED = "ground truth", "prediction with corrections"
NETWORK_FEATURES, IMAGE_FEATURES = "3D network", "CLIP on the images"

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Sources:
    """What a run offers for its scenes; None for what it lacks."""

    vocabulary: Vocabulary | None = None
    teachers: Teachers | None = None
    net_2d: Segmenter2D | None = None
    net_3d: Segmenter3D | None = None


@dataclass(eq=False)
class SceneLayers:
    """The labels, scores, segments and features of one scene; each is computed once, on first use."""

    scene: Scene
    sources: Sources
    _held: dict[str, Any] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """Return the layers that exist for this scene, except that of corrections."""
        has_teachers = self.sources.teachers is not None and bool(self.scene.frames)
        exists = {
            INPUT: True,
            CLIP: has_teachers,
            VOTED: has_teachers,
            PREDICTION: self.sources.net_3d is not None,
            CONFIDENCE: self.sources.net_3d is not None,
            SEGMENTS: has_teachers,
            TRUTH: self.scene.labels is not None and self.sources.vocabulary is not None,
        }
        return tuple(name for name, there in exists.items() if there)

    def labels(self, name: str) -> NDArray[np.uint8] | None:  # [N]
        """Return the labels of a layer that shows classes, else None."""
        if name not in self.names():
            return None
        match name:
            case "CLIP labels" | "labels after the vote":
                return self._once(name, lambda: self._teacher_labels(name == VOTED))
            case "prediction":
                return self._prediction().labels
            case "ground truth":
                return self.scene.labels
        return None

    def best_labels(self) -> tuple[str, NDArray[np.uint8]] | None:  # [N]
        """Return the labels that corrections are made on: predicted, else voted ones; None without any."""
        for name in (PREDICTION, VOTED):
            labels = self.labels(name)
            if labels is not None:
                return name, labels
        return None

    def scores(self) -> NDArray[np.float32] | None:  # [N]
        """Return the confidence of the prediction, or None."""
        return self._prediction().scores if self.sources.net_3d is not None else None

    def segments(self) -> NDArray[np.int64] | None:  # [N]
        """Return the segment of each point at the level of 'labelfree segments', or None without masks."""
        teachers = self.sources.teachers
        if teachers is None or not self.scene.frames:
            return None

        def compute() -> NDArray[np.int64]:
            found = scene_segments(self.scene, teachers.masks, teachers.size, teachers.pairing, cache=teachers.cache)
            return found.at(ViewSegmentOptions().level)

        return self._once(SEGMENTS, compute)

    def colours(self, name: str) -> NDArray[np.uint8]:  # [N, 3]
        """Return the colours of a layer."""
        labels, scores = self.labels(name), self.scores() if name == CONFIDENCE else None
        if labels is not None and self.sources.vocabulary is not None:
            return self.sources.vocabulary.palette()[labels]
        if scores is not None:
            return heat_colours(scores)
        segments = self.segments() if name == SEGMENTS else None
        return self.input_colours() if segments is None else segment_colours(segments.astype(np.int32))

    def input_colours(self) -> NDArray[np.uint8]:  # [N, 3]
        """Return the colours of the points: their own, else grey by intensity, else by height."""
        if self.scene.colours is not None:
            return self.scene.colours
        if self.scene.intensity is not None:
            return height_colours(self.scene.intensity)
        return height_colours(self.scene.points_world @ self.scene.up_world().astype(np.float32))

    def feature_names(self) -> tuple[str, ...]:
        """Return the features that words can be compared with."""
        if not self._has_encoder():
            return ()
        network = (NETWORK_FEATURES,) if self.sources.net_3d is not None else ()
        return (*network, IMAGE_FEATURES) if self.scene.frames else network

    def features(self, name: str) -> TextSpaceFeatures:
        """Return features of the points in CLIP's space."""
        net, teachers = self.sources.net_3d, self.sources.teachers
        if name == NETWORK_FEATURES and net is not None:
            return self._once(name, lambda: network_features(net, self.scene))
        if teachers is None:
            raise KeyError(name)
        return self._once(IMAGE_FEATURES, lambda: image_features(self.scene, teachers))

    def _has_encoder(self) -> bool:
        """Return whether the labels come from a CLIP model, which embeds any words."""
        teachers = self.sources.teachers
        return teachers is not None and hasattr(teachers.namer, "clip")

    def _prediction(self) -> Prediction:
        net = self.sources.net_3d
        if net is None:
            raise KeyError(PREDICTION)
        return self._once(PREDICTION, lambda: predict_points(net, self.scene))

    def _teacher_labels(self, voted: bool) -> NDArray[np.uint8]:
        teachers = self.sources.teachers
        if teachers is None:
            raise KeyError(CLIP)
        return TeacherLabels(teachers, voted).points(self.scene).labels

    def _once(self, name: str, compute: Callable[[], Value]) -> Value:
        if name not in self._held:
            self._held[name] = compute()
        found: Value = self._held[name]
        return found
