"""The label sources of a run side by side: CLIP's labels, the same after the vote, OpenScene, the trained networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.errors import InputError
from labelfree.evaluation.evaluate import evaluate_pixels, evaluate_points
from labelfree.evaluation.tables import MethodResult
from labelfree.inference import (
    fused_labels,
    of_points,
    point_cosines,
    predict_images,
    predict_points,
    project_labels,
    project_scores,
    refine_cloud,
    refine_image,
)
from labelfree.method.feature_fusion import ensemble_labels, text_cosines
from labelfree.method.pairing import Pairs
from labelfree.nets.pretrained import CONFIG_NAME
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
from labelfree.prediction import Prediction
from labelfree.scene import Frame, Scene
from labelfree.teachers.labelling import PixelScorer
from labelfree.training.fused_scenes import fuse_scene
from labelfree.training.labelled_scenes import LabelConfig, PairingConfig, Teachers, Views, pair_points
from labelfree.training.plan import MODALITIES, Modality
from labelfree.vocabulary import Vocabulary

OpenSceneSide = Literal["ensemble", "3d", "2d"]
"""Where OpenScene's labels of points come from: the surer of both sides, the network, or the fused features."""


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
    labels: LabelConfig
    pairing: PairingConfig
    vocabulary: Vocabulary
    voted: bool
    views: Views = "vote"
    modalities: tuple[Modality, ...] = MODALITIES

    def __post_init__(self) -> None:
        if self.views == "vote":
            return
        if self.voted:
            raise InputError("predict.views is average but labels voted inside masks have no scores: set it to vote.")
        if not isinstance(self.teachers.namer, PixelScorer):
            raise InputError(
                f"predict.views is average but the labels come from {self.teachers.namer.describe()}, which has no "
                "scores: set it to vote, or teachers.clip to a CLIP model."
            )

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
        """Return the labels or the scores of all frames carried to the points."""
        pairs = ((frame, _pairs(scene, frame, self.labels, self.pairing)) for frame in scene.frames)
        if self.views == "average":
            return project_scores(scene, ((pair, self._scores(frame)) for frame, pair in pairs), self.vocabulary)
        return project_labels(scene, ((pair, self._map(frame)) for frame, pair in pairs), self.vocabulary)

    def _map(self, frame: Frame) -> NDArray[np.uint8]:
        source = self.teachers.refined_labels if self.voted else self.teachers.namer.labels
        return source(frame, self.labels.image_size)

    def _scores(self, frame: Frame) -> Tensor:  # [K, H, W]
        namer = self.teachers.namer
        if not isinstance(namer, PixelScorer):
            raise TypeError(f"{type(namer)} has no scores")
        return namer.scores(frame, self.labels.image_size)


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
    found = tuple((folder / modality / CONFIG_NAME).is_file() for modality in MODALITIES)
    if not any(found):
        raise InputError(f"{folder}: holds neither 2d/{CONFIG_NAME} nor 3d/{CONFIG_NAME}; give the folder of a run.")
    return NetworkLabels(
        Segmenter2D.from_pretrained(folder / "2d").to(device) if found[0] else None,
        Segmenter3D.from_pretrained(folder / "3d").to(device) if found[1] else None,
    )


@dataclass(frozen=True)
class OpenSceneLabels:
    """OpenScene: pixels by dense CLIP; points by the distilled network, by fused features, or by the surer of both.

    Both sides of the ensemble are compared by the cosine of their features with the classes' text embeddings.
    """

    teacher: TeacherLabels
    """The dense CLIP labels of the pixels, and where the fused features come from."""
    net_3d: Segmenter3D
    side: OpenSceneSide = "ensemble"

    @property
    def name(self) -> str:
        """Row name."""
        return "openscene" if self.side == "ensemble" else f"openscene {self.side}"

    @property
    def note(self) -> str:
        """What the row means."""
        match self.side:
            case "ensemble":
                return "3D network distilled from fused dense CLIP features, or these features where they are surer"
            case "3d":
                return "3D network distilled from fused dense CLIP features"
            case "2d":
                return "dense CLIP labels; on points CLIP's features averaged over views"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Both, unless only the 3D network is asked."""
        return ("3d",) if self.side == "3d" else MODALITIES

    def pixels(self, scene: Scene, frame: Frame) -> Prediction:
        """Return CLIP's labels of a frame at the working size."""
        _require("2d", self)
        return self.teacher.pixels(scene, frame)

    def points(self, scene: Scene) -> Prediction:
        """Return the labels of the chosen side; where no view sees a point the ensemble is the network's."""
        vocabulary = self.teacher.vocabulary
        if self.side == "2d":
            return fused_labels(scene, self._fused_cosines(scene), vocabulary)
        if self.side == "3d":
            return predict_points(self.net_3d, scene)
        labels = ensemble_labels(self._fused_cosines(scene), point_cosines(self.net_3d, scene))
        return of_points(scene, labels.numpy(), vocabulary)

    def _fused_cosines(self, scene: Scene) -> Tensor:  # [N, K], -inf where no view sees the point
        teacher = self.teacher
        fused = fuse_scene(scene, teacher.teachers.namer, teacher.labels.image_size, teacher.pairing)
        scores = torch.full((len(scene), len(teacher.vocabulary)), -torch.inf)
        if len(fused):
            scores[fused.point] = text_cosines(fused.features, teacher.teachers.namer.text)
        return scores


@dataclass(frozen=True)
class RefinedLabels:
    """Another labeller's finished predictions after the vote inside SAM's masks: Table 2's `post refine`."""

    labeller: Labeller
    teachers: Teachers
    labels: LabelConfig
    pairing: PairingConfig

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
        return refine_image(self.labeller.pixels(scene, frame), self._masks(frame))

    def points(self, scene: Scene) -> Prediction:
        """Return the points' labels after the vote over the points paired with each mask, view by view."""
        return refine_cloud(scene, self.labeller.points(scene), self._views(scene))

    def _views(self, scene: Scene) -> Iterator[tuple[Pairs, NDArray[np.uint16]]]:
        for frame in scene.frames:
            yield _pairs(scene, frame, self.labels, self.pairing), self._masks(frame)

    def _masks(self, frame: Frame) -> NDArray[np.uint16]:
        return self.teachers.masks.mask_ids(frame, self.labels.image_size)


def measure(
    scenes: Sequence[Scene],
    labellers: Sequence[Labeller],
    vocabulary: Vocabulary,
    split: str = "",
    measured: Sequence[str] | None = None,
) -> tuple[MethodResult, ...]:
    """Evaluate each labeller in 2D and in 3D where it has that side and the scenes have truth; None elsewhere.

    The truth counts through the vocabulary; `measured` are those of its classes that the truth can have, if not all.
    """
    results = []
    for labeller in labellers:
        has = labeller.modalities
        pixels = evaluate_pixels(scenes, labeller.pixels, vocabulary, split, measured) if "2d" in has else None
        points = evaluate_points(scenes, labeller.points, vocabulary, split, measured) if "3d" in has else None
        results.append(MethodResult(labeller.name, pixels, points, labeller.note))
    return tuple(results)


def _pairs(scene: Scene, frame: Frame, labels: LabelConfig, pairing: PairingConfig) -> Pairs:
    return pair_points(scene, frame, labels.image_size, pairing)


def _require(modality: Modality, labeller: Labeller) -> None:
    if modality not in labeller.modalities:
        raise _lacks(modality, labeller)


def _lacks(modality: Modality, labeller: Labeller) -> InputError:
    what = "images" if modality == "2d" else "points"
    return InputError(f"'{labeller.name}' labels no {what}: train it with '{modality}' in train.modalities.")
