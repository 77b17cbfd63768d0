"""Symmetric noise at a given rate in place of CLIP's confusions."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.method.mask_vote import refine_labels
from labelfree.scene import Frame
from labelfree.teachers.labelling import MaskMaker
from labelfree.vocabulary import IGNORE_LABEL
from labelfree_lab.teachers.oracle import TruthLabels


def symmetric_noise(
    labels: NDArray[np.uint8],  # [H, W]
    mask_ids: NDArray[np.uint16],  # [H, W] 0 = no mask
    rate: float,
    classes: int,
    random: np.random.Generator,
) -> NDArray[np.uint8]:  # [H, W]
    """Replace labels with probability `rate` by another class, all equally likely; a mask's pixels change together."""
    masks = int(mask_ids.max()) + 1
    of_mask = (random.random(masks) < rate) * random.integers(1, classes, masks)
    of_pixel = (random.random(labels.shape) < rate) * random.integers(1, classes, labels.shape)
    shift = np.where(mask_ids == 0, of_pixel, of_mask[mask_ids])
    return np.where(labels == IGNORE_LABEL, labels, (labels + shift) % classes).astype(np.uint8)


class SymmetricNoise:
    """Voted ground truth with symmetric noise, as a `PixelNamer`; the noise of an image never changes."""

    def __init__(self, truth: TruthLabels, masks: MaskMaker, rate: float, seed: int) -> None:
        self.truth, self.masks, self.rate, self.seed = truth, masks, rate, seed
        self.text: Tensor = truth.text
        self.notices: tuple[str, ...] = ()

    def labels(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint8]:
        mask_ids = self.masks.mask_ids(frame, size)
        masks = torch.from_numpy(mask_ids.astype(np.int32))
        voted = refine_labels(torch.from_numpy(self.truth.labels(frame, size)), masks, len(self.text)).numpy()
        random = np.random.default_rng([self.seed, int(frame.image.digest()[:15], 16)])
        return symmetric_noise(voted, mask_ids, self.rate, len(self.text), random)

    def features(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.float16] | None:
        return None

    def describe(self) -> str:
        return f"ground truth with {100 * self.rate:.1f} % symmetric noise"

    def fingerprint(self) -> str:
        return f"symmetric-{self.rate!r}-{self.seed}"
