"""The label sources of a run side by side: CLIP's labels, the same after the vote, OpenScene, the trained networks."""

from __future__ import annotations

import os
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
        """Row name in tables."""

    @property
    def note(self) -> str:
        """What the row means."""

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The sides it has; asking for the other one is an error."""

    def pixels(self, scene: Scene, frame: Frame) -> Prediction:
        """Label a frame."""

    def points(self, scene: Scene) -> Prediction:
        """Label a scene's points."""


@dataclass(frozen=True)
class TeacherLabels:
    """The teachers' labels, with or without the vote, carried to the points by projection: no training at all.

    With `views="vote"` each view of a point gives one label and the most frequent wins; with "average" CLIP's class
    scores are averaged over the views before the best class is taken, as MaskCLIP's 3D labels are in the paper's Table
    1. After the vote inside the masks there are labels but no scores, so that `voted` goes with "vote" alone.
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
        """Row name: `clip` is the paper's baseline, `clip+sam` its row without CNS."""
        return "clip+sam" if self.voted else "clip"

    @property
    def note(self) -> str:
        """What the row means."""
        return "CLIP labels after the vote inside SAM's masks" if self.voted else "dense CLIP labels"

    def pixels(self, scene: Scene, frame: Frame) -> Prediction:
        """Return the teacher's labels of a frame at the working size."""
        return Prediction(self._map(frame), self.teachers.vocabulary, name=frame.name)

    def points(self, scene: Scene) -> Prediction:
        """Return the labels or the scores of all frames carried to the points."""
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
    """The trained networks: both, or the one that was trained."""

    net_2d: Segmenter2D | None
    net_3d: Segmenter3D | None
    name: str = "cns"
    note: str = "the co-trained networks"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The sides that were trained."""
        return tuple(m for m, net in zip(MODALITIES, (self.net_2d, self.net_3d)) if net is not None)

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes both name."""
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
    """Return the networks that a run left in `folder/2d` and `folder/3d`, one of them at least."""
    folder = Path(folder)
    # Whatever bears one of the names counts, so that a damaged network is an error, not a missing one.
    files = (CONFIG_NAME, WEIGHTS_NAME)
    found = tuple(any(os.path.lexists(folder / modality / name) for name in files) for modality in MODALITIES)
    if not any(found):
        raise InputError(f"{folder}: holds neither 2d/{CONFIG_NAME} nor 3d/{CONFIG_NAME}; give the folder of a run.")
    return NetworkLabels(
        Segmenter2D.from_pretrained(folder / "2d").to(device) if found[0] else None,
        Segmenter3D.from_pretrained(folder / "3d").to(device) if found[1] else None,
    )


@dataclass(frozen=True)
class RefinedLabels:
    """Another labeller's finished predictions after the vote inside SAM's masks: Table 2's `post refine`."""

    labeller: Labeller
    teachers: Teachers

    @property
    def name(self) -> str:
        """Row name."""
        return f"{self.labeller.name}, refined"

    @property
    def note(self) -> str:
        """What the row means."""
        return f"{self.labeller.note}; finished predictions voted inside SAM's masks"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Those of the labeller."""
        return self.labeller.modalities

    def pixels(self, scene: Scene, frame: Frame) -> Prediction:
        """Return a frame's labels after the vote over the pixels of each mask."""
        return refine_image(self.labeller.pixels(scene, frame), self.teachers.mask_ids(frame))

    def points(self, scene: Scene) -> Prediction:
        """Return the points' labels after the vote over the points paired with each mask, view by view."""
        return refine_cloud(scene, self.labeller.points(scene), self._views(scene))

    def _views(self, scene: Scene) -> Iterator[tuple[Pairs, NDArray[np.uint16]]]:
        for frame in scene.frames:
            yield self.teachers.pairs(scene, frame), self.teachers.mask_ids(frame)


def require_modality(modality: Modality, labeller: Labeller) -> None:
    """Raise an `InputError` where a labeller does not have a side."""
    if modality not in labeller.modalities:
        raise _lacks(modality, labeller)


def _lacks(modality: Modality, labeller: Labeller) -> InputError:
    what = "images" if modality == "2d" else "points"
    return InputError(f"'{labeller.name}' labels no {what}: train it with '{modality}' in train.modalities.")
