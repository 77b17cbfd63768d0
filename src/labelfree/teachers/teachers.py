"""Compute labels, masks and pairs of a run with its two frozen teachers and its settings (Eq. 1, 2 and 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from labelfree.config.labels import LabelConfig, PairingConfig
from labelfree.data.pairs import pair_points
from labelfree.errors import InputError
from labelfree.method.clip_labels import CLIP_TEMPERATURE
from labelfree.method.extensions.soft_vote import soft_refine_labels
from labelfree.method.latent_consistency import random_orthogonal
from labelfree.method.mask_vote import refine_labels
from labelfree.method.pairing import Pairs
from labelfree.scene import Frame, Scene
from labelfree.teachers.cache import TeacherCache
from labelfree.teachers.labelling import MaskMaker, PixelNamer, PixelScorer, Size
from labelfree.vocabulary import Vocabulary


@dataclass(frozen=True)
class Teachers:
    """CLIP and SAM, or files in their place, with the settings for labelling frames and points."""

    namer: PixelNamer
    masks: MaskMaker
    vocabulary: Vocabulary
    labels: LabelConfig
    pairing: PairingConfig
    cache: TeacherCache | None = None
    """Cache of their outputs; None for teachers built by hand, for which no frame is kept either."""

    def __post_init__(self) -> None:
        if self.labels.soft_vote:
            self._scorer("labels.soft_vote is true", "it to false")

    @property
    def size(self) -> Size:
        """Return the (height, width) of all label and mask maps."""
        return self.labels.image_size

    def clip_labels(self, frame: Frame) -> NDArray[np.uint8]:
        """Return the dense labels [H, W] of a frame (Eq. 1)."""
        return self.namer.labels(frame, self.size)

    def clip_scores(self, frame: Frame) -> Tensor:  # [K, H, W]
        """Return the class scores of a frame; raises an `InputError` if the labels have no scores."""
        return self._scorer("predict.views is average", "it to vote").scores(frame, self.size)

    def mask_ids(self, frame: Frame) -> NDArray[np.uint16]:
        """Return the mask id of every pixel [H, W], 0 = no mask."""
        return self.masks.mask_ids(frame, self.size)

    def voted_labels(self, frame: Frame, mask_ids: NDArray[np.uint16] | None = None) -> NDArray[np.uint8]:
        """Return P* of Eq. 4: the labels [H, W] after the vote inside the masks, which may be given."""
        masks = torch.from_numpy((self.mask_ids(frame) if mask_ids is None else mask_ids).astype(np.int32))
        if self.labels.soft_vote:
            probabilities = (self.clip_scores(frame) * CLIP_TEMPERATURE).softmax(dim=0).flatten(1).T
            return soft_refine_labels(probabilities, masks.flatten()).view(self.size).to(torch.uint8).numpy()
        return refine_labels(torch.from_numpy(self.clip_labels(frame)), masks, len(self.namer.text)).numpy()

    def training_labels(self, frame: Frame) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
        """Return the labels [H, W] for training, voted unless `labels.refine` is off, and the masks, read once."""
        masks = self.mask_ids(frame)
        return self.voted_labels(frame, masks) if self.labels.refine else self.clip_labels(frame), masks

    def pairs(self, scene: Scene, frame: Frame) -> Pairs:
        """Return the pixel-point pairs of a frame at the size of the label maps (Eq. 2)."""
        return pair_points(scene, frame, self.size, self.pairing)

    def latent_target(self, frame: Frame) -> NDArray[np.float16] | None:  # [D, h, w]
        """Return phi_f of the latent target of a frame (Eq. 7), or None if there is none."""
        maps: list[NDArray[np.float16]] = []
        if "sam" in self.labels.latent_target:
            found = self.masks.features(frame)
            maps += [] if found is None else [found]
        if "clip" in self.labels.latent_target:
            found = self.namer.features(frame, self.size)
            maps += [] if found is None else [_project(found, self.labels.latent_width)]
        return _joined(maps)

    def require_scores(self) -> None:
        """Raise an `InputError` if views are to be averaged but the labels have no scores."""
        self._scorer("predict.views is average", "it to vote")

    def _scorer(self, setting: str, fix: str) -> PixelScorer:
        if isinstance(self.namer, PixelScorer):
            return self.namer
        raise InputError(
            f"{setting} but the labels come from {self.namer.describe()}, which has no scores: set {fix}, or "
            "teachers.clip to a CLIP model."
        )


def _project(features: NDArray[np.float16], width: int) -> NDArray[np.float16]:
    maps = torch.from_numpy(features).float()
    return torch.einsum("chw,cd->dhw", maps, random_orthogonal(len(maps), width, seed=1)).to(torch.float16).numpy()


def _joined(maps: list[NDArray[np.float16]]) -> NDArray[np.float16] | None:
    """Return a single map unchanged, or the mean of the unit vectors of two maps on the finer grid; None for no map."""
    if len(maps) < 2:
        return maps[0] if maps else None
    size = max((m.shape[1:] for m in maps), key=lambda shape: shape[0] * shape[1])
    unit = [functional.normalize(torch.from_numpy(m).float(), dim=0) for m in maps]
    resized = [functional.interpolate(u[None], size=size, mode="bilinear", align_corners=False)[0] for u in unit]
    return torch.stack(resized).mean(dim=0).to(torch.float16).numpy()
