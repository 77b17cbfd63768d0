"""OpenScene as a labeller: fused CLIP features, the distilled 3D network, or the ensemble of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from labelfree.config.training import MODALITIES, Modality
from labelfree.errors import InputError
from labelfree.labelling.inference import of_points, point_cosines, predict_points
from labelfree.labelling.labellers import TeacherLabels, require_modality
from labelfree.labelling.projection import fused_labels
from labelfree.method.openscene import FusedFeatures, View, ensemble_labels, fuse_features, text_cosines
from labelfree.nets.segmenters import Segmenter3D
from labelfree.prediction import Prediction
from labelfree.scene import Frame, Scene
from labelfree.teachers.teachers import Teachers


def fuse_scene(scene: Scene, teachers: Teachers) -> FusedFeatures:
    """Return the fused CLIP features of a scene's points, from every frame.

    Raises an `InputError` if the teacher has no dense features.
    """

    def view(frame: Frame) -> View:
        features = teachers.namer.features(frame, teachers.size)
        if features is None:
            raise InputError(
                f"system is openscene but the labels come from {teachers.namer.describe()}, which has no dense "
                "features: set teachers.clip to a CLIP model."
            )
        return View(teachers.pairs(scene, frame), torch.from_numpy(features), teachers.size)

    return fuse_features(len(scene), (view(frame) for frame in scene.frames))


OpenSceneSide = Literal["ensemble", "3d", "2d"]
"""Source of OpenScene's point labels: whichever branch is more confident, the network, or the fused features."""


@dataclass(frozen=True)
class OpenSceneLabels:
    """OpenScene's labels of points: the distilled network, fused features or an ensemble of both.

    The ensemble takes whichever branch is more confident, by the cosine of its features with the text embeddings. In
    2D only the fused features have labels, those of dense CLIP, since OpenScene trains no 2D network.
    """

    teachers: Teachers
    """Dense CLIP: it labels the pixels and gives the features that are fused."""
    net_3d: Segmenter3D
    side: OpenSceneSide = "ensemble"

    @property
    def name(self) -> str:
        """Return the row name."""
        return "openscene" if self.side == "ensemble" else f"openscene {self.side}"

    @property
    def note(self) -> str:
        """Return a short description of the row."""
        match self.side:
            case "ensemble":
                return (
                    "3D network distilled from fused dense CLIP features, or these features where they are more "
                    "confident"
                )
            case "3d":
                return "3D network distilled from fused dense CLIP features"
            case "2d":
                return "dense CLIP labels; on points CLIP's features averaged over views"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Return 3D, or both modalities if the labels are those of CLIP's features."""
        return MODALITIES if self.side == "2d" else ("3d",)

    def pixels(self, scene: Scene, frame: Frame) -> Prediction:
        """Return CLIP's labels of a frame at the working size."""
        require_modality("2d", self)
        return TeacherLabels(self.teachers, voted=False).pixels(scene, frame)

    def points(self, scene: Scene) -> Prediction:
        """Return the labels of the chosen branch; points that no view sees take the network's in the ensemble."""
        vocabulary = self.teachers.vocabulary
        if self.side == "2d":
            return fused_labels(scene, self._fused_cosines(scene), vocabulary)
        if self.side == "3d":
            return predict_points(self.net_3d, scene)
        labels = ensemble_labels(self._fused_cosines(scene), point_cosines(self.net_3d, scene))
        return of_points(scene, labels.numpy(), vocabulary)

    def _fused_cosines(self, scene: Scene) -> Tensor:  # [N, K], -inf where no view sees the point
        fused = fuse_scene(scene, self.teachers)
        scores = torch.full((len(scene), len(self.teachers.vocabulary)), -torch.inf)
        if len(fused):
            scores[fused.point] = text_cosines(fused.features, self.teachers.namer.text)
        return scores
