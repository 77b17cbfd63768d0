"""The class mIoU that segments allow: each takes the most frequent ground-truth class inside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from labelfree.evaluation.confusion import ConfusionMatrix
from labelfree.method.mask_vote import NO_MASK, mask_winners
from labelfree.method.pairing import Pairs
from labelfree.vocabulary import IGNORE_LABEL


@dataclass(frozen=True)
class Bound:
    """What perfect labels of segments would reach; shares 0..1."""

    miou: float
    """mIoU where each segment takes its majority class and everything outside of segments counts as wrong."""
    covered_miou: float
    """The same over what lies in segments."""
    uncovered: float
    """Share of the counted pixels or points outside of all segments."""
    segments: float
    """Mean number of segments per image or scene."""


class MajorityOfTruth:
    """The confusion of the majority labels of images or clouds, added one by one."""

    def __init__(self, classes: int) -> None:
        self.matrix = ConfusionMatrix(classes)
        self.parts = 0
        self.segments = 0

    def update(
        self,
        truth: NDArray[np.uint8],  # [...] 255 = ignored
        segments: NDArray[Any],  # [...] integer, 0 = no segment
    ) -> None:
        """Add an image or a cloud."""
        self.matrix.update(truth, majority_labels(truth, segments, self.matrix.classes))
        self.parts += 1
        self.segments += len(np.setdiff1d(segments, NO_MASK))

    def bound(self) -> Bound | None:
        """Return the values; None if nothing was counted."""
        if not self.matrix.counts.any():
            return None
        covered = ConfusionMatrix(self.matrix.classes)
        covered.counts[:, :-1] = self.matrix.counts[:, :-1]
        return Bound(self.matrix.miou(), covered.miou(), self.matrix.unlabelled(), self.segments / self.parts)


def majority_labels(
    truth: NDArray[np.uint8],  # [...] 255 = ignored
    segments: NDArray[Any],  # [...] integer, 0 = no segment
    classes: int,
) -> NDArray[np.uint8]:  # [...]
    """Return the most frequent class of each segment at its pixels or points; 255 outside, and where all is ignored."""
    ids = torch.from_numpy(segments.astype(np.int64))
    winners = mask_winners(torch.from_numpy(truth), ids, int(ids.max()) if ids.numel() else 0, classes)
    winners[NO_MASK] = IGNORE_LABEL
    return winners[ids].to(torch.uint8).numpy()


def fused_majority(
    truth: NDArray[np.uint8],  # [N] 255 = ignored
    views: Iterable[tuple[Pairs, NDArray[Any]]],  # pairs of a frame and its mask ids [H, W]
    classes: int,
) -> NDArray[np.uint8]:  # [N]
    """Return labels of points from masks: in each view a mask takes the majority class of its points, then views vote.

    Points in no mask of any view are 255.
    """
    votes = np.zeros((len(truth), classes), np.int64)
    for pairs, mask_ids in views:
        point, row, column = (part.numpy() for part in (pairs.point, pairs.row, pairs.column))
        labels = majority_labels(truth[point], mask_ids[row, column], classes)
        known = labels != IGNORE_LABEL
        np.add.at(votes, (point[known], labels[known]), 1)
    return np.where(votes.any(axis=1), votes.argmax(axis=1), IGNORE_LABEL).astype(np.uint8)
