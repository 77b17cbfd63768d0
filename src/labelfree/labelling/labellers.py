"""Labellers: CLIP's labels, voted labels, the trained networks, and predictions of any labeller after the vote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from labelfree.config.labels import Views
from labelfree.config.training import MODALITIES, Modality
from labelfree.errors import InputError
from labelfree.files.presence import is_there
from labelfree.labelling.inference import predict_images, predict_points
from labelfree.labelling.projection import project_labels, project_scores, refine_cloud, refine_image
from labelfree.method.pairing import Pairs
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
from labelfree.prediction import Prediction
from labelfree.scene import Frame, Scene
from labelfree.teachers.teachers import Teachers
from labelfree.vocabulary import Vocabulary
from labelfree.weights.stored import CONFIG_NAME, WEIGHTS_NAME


class Labeller(Protocol):
    """Anything that labels frames and clouds."""

    @property
    def name(self) -> str:
        """Return the name of its row in tables."""

    @property
    def note(self) -> str:
        """Return a short description of the row."""

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Return the modalities that it labels; asking for another one is an error."""

    def pixels(self, scene: Scene, frame: Frame) -> Prediction:
        """Return the labels of a frame."""

    def points(self, scene: Scene) -> Prediction:
        """Return the labels of a scene's points."""


@dataclass(frozen=True)
class TeacherLabels:
    """The teachers' labels, with or without the vote, projected onto the points; nothing is trained.

    With `views="vote"` a point takes the most frequent label of its views. With "average" it takes the class with the
    highest mean CLIP score over its views, as MaskCLIP does in the paper's Table 1. Voted labels have no scores, so
    `voted` requires "vote". Raises an `InputError` if scores are needed and missing.
    """

    teachers: Teachers
    voted: bool
    views: Views = "vote"
    modalities: tuple[Modality, ...] = MODALITIES

    def __post_init__(self) -> None:
        if self.views == "average":
            if self.voted:
                raise InputError(
                    "predict.views is average but labels voted inside masks have no scores: set it to vote."
                )
            self.teachers.require_scores()

    @property
    def name(self) -> str:
        """Return the row name: `clip` is the paper's baseline, `clip+sam` its row without CNS."""
        return "clip+sam" if self.voted else "clip"

    @property
    def note(self) -> str:
        """Return a short description of the row."""
        return "CLIP labels after the vote inside SAM's masks" if self.voted else "dense CLIP labels"

    def pixels(self, scene: Scene, frame: Frame) -> Prediction:
        """Return the teachers' labels of a frame at the working size."""
        return Prediction(self._map(frame), self.teachers.vocabulary, name=frame.name)

    def points(self, scene: Scene) -> Prediction:
        """Return the labels of the points, projected from the labels or the scores of all frames."""
        teachers = self.teachers
        pairs = ((frame, teachers.pairs(scene, frame)) for frame in scene.frames)
        if self.views == "average":
            scores = ((pair, teachers.clip_scores(frame)) for frame, pair in pairs)
            return project_scores(scene, scores, teachers.vocabulary)
        return project_labels(scene, ((pair, self._map(frame)) for frame, pair in pairs), teachers.vocabulary)

    def _map(self, frame: Frame) -> NDArray[np.uint8]:
        return self.teachers.voted_labels(frame) if self.voted else self.teachers.clip_labels(frame)


@dataclass(frozen=True)
class NetworkLabels:
    """The labels of the trained networks: of both, or of the one that was trained."""

    net_2d: Segmenter2D | None
    net_3d: Segmenter3D | None
    name: str = "cns"
    note: str = "the co-trained networks"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Return the modalities that were trained."""
        return tuple(m for m, net in zip(MODALITIES, (self.net_2d, self.net_3d)) if net is not None)

    @property
    def vocabulary(self) -> Vocabulary:
        """Return the vocabulary of the networks."""
        for net in (self.net_2d, self.net_3d):
            if net is not None:
                return net.vocabulary
        raise InputError(f"'{self.name}' holds no network: train one first.")

    def pixels(self, scene: Scene, frame: Frame) -> Prediction:
        """Return the 2D network's labels at the frame's own size."""
        if self.net_2d is None:
            raise _lacks("2d", self)
        return predict_images(self.net_2d, [frame.load_image()], [frame.name])[0]

    def points(self, scene: Scene) -> Prediction:
        """Return the 3D network's labels."""
        if self.net_3d is None:
            raise _lacks("3d", self)
        return predict_points(self.net_3d, scene)


def load_networks(folder: str | Path, device: torch.device) -> NetworkLabels:
    """Return the networks in `folder/2d` and `folder/3d`; one of them may be missing.

    Raises an `InputError` if both are missing or if one is damaged.
    """
    folder = Path(folder)
    # Any of the files counts, so that an incomplete network is an error, not a missing one.
    files = (CONFIG_NAME, WEIGHTS_NAME)
    found = tuple(any(is_there(folder / modality / name) for name in files) for modality in MODALITIES)
    if not any(found):
        raise InputError(f"{folder}: holds neither 2d/{CONFIG_NAME} nor 3d/{CONFIG_NAME}; give the folder of a run.")
    return NetworkLabels(
        Segmenter2D.from_pretrained(folder / "2d").to(device) if found[0] else None,
        Segmenter3D.from_pretrained(folder / "3d").to(device) if found[1] else None,
    )


@dataclass(frozen=True)
class RefinedLabels:
    """The finished predictions of another labeller after the vote inside SAM's masks: row `post_refine` of Table 2."""

    labeller: Labeller
    teachers: Teachers

    @property
    def name(self) -> str:
        """Return the row name."""
        return f"{self.labeller.name}, refined"

    @property
    def note(self) -> str:
        """Return a short description of the row."""
        return f"{self.labeller.note}; finished predictions voted inside SAM's masks"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Return the modalities of the other labeller."""
        return self.labeller.modalities

    def pixels(self, scene: Scene, frame: Frame) -> Prediction:
        """Return a frame's labels after the vote over the pixels of each mask."""
        return refine_image(self.labeller.pixels(scene, frame), self.teachers.mask_ids(frame))

    def points(self, scene: Scene) -> Prediction:
        """Return the points' labels after the vote over the points paired with each mask, in each view."""
        return refine_cloud(scene, self.labeller.points(scene), self._views(scene))

    def _views(self, scene: Scene) -> Iterator[tuple[Pairs, NDArray[np.uint16]]]:
        for frame in scene.frames:
            yield self.teachers.pairs(scene, frame), self.teachers.mask_ids(frame)


def require_modality(modality: Modality, labeller: Labeller) -> None:
    """Raise an `InputError` if a labeller does not label a modality."""
    if modality not in labeller.modalities:
        raise _lacks(modality, labeller)


def _lacks(modality: Modality, labeller: Labeller) -> InputError:
    what = "images" if modality == "2d" else "points"
    return InputError(f"'{labeller.name}' labels no {what}: train it with '{modality}' in train.modalities.")
