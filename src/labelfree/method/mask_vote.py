"""Compute Eq. 4: give all pixels of a SAM mask their most frequent label."""

from __future__ import annotations

import torch
from torch import Tensor

from labelfree.vocabulary import IGNORE_LABEL

NO_MASK = 0
"""Mask id of pixels that no mask covers; they keep their own label."""


def joint_mask_ids(
    mask_ids: Tensor,  # [B, H, W] integer, per image from 1, 0 = no mask
) -> Tensor:
    """Return [B, H, W] int64 ids that are unique in the batch, so that all images are voted on at once."""
    ids = mask_ids.long()
    stride = int(ids.max()) if ids.numel() else 0
    offset = torch.arange(len(ids), device=ids.device)[:, None, None] * stride
    return torch.where(ids == NO_MASK, ids, ids + offset)


def mask_winners(
    labels: Tensor,  # [...] integer class ids, 255 = does not vote
    mask_ids: Tensor,  # [...] int64, 0 = no mask
    num_masks: int,
    num_classes: int,
) -> Tensor:  # [T + 1] int64
    """Return the most frequent label of each mask (Eq. 4); ties go to the lowest class id, 255 where nothing voted."""
    labels, mask_ids = labels.reshape(-1).long(), mask_ids.reshape(-1).long()
    votes = (mask_ids != NO_MASK) & (labels != IGNORE_LABEL)
    ballots = mask_ids[votes] * num_classes + labels[votes]
    counts = torch.bincount(ballots, minlength=(num_masks + 1) * num_classes).view(num_masks + 1, num_classes)
    return _elect(counts)


def paint_winners(
    winners: Tensor,  # [T + 1] int64, 255 = none
    mask_ids: Tensor,  # [...] int64
    own_labels: Tensor,  # [...] integer, kept where there is no mask or no winner
) -> Tensor:  # [...] like own_labels
    """Return the labels of all pixels or points after each takes the winner of its mask."""
    painted = winners[mask_ids.long()].to(own_labels.dtype)
    return torch.where((mask_ids != NO_MASK) & (painted != IGNORE_LABEL), painted, own_labels)


def refine_labels(
    labels: Tensor,  # [...] integer class ids, 255 = ignored
    mask_ids: Tensor,  # [...] integer, ids unique over the whole tensor, 0 = no mask
    num_classes: int,
) -> Tensor:  # [...] like labels
    """Return the labels after the vote inside the masks: P* of Eq. 4."""
    num_masks = int(mask_ids.max()) if mask_ids.numel() else 0
    return paint_winners(mask_winners(labels, mask_ids, num_masks, num_classes), mask_ids, labels)


def _elect(counts: Tensor) -> Tensor:
    winners = counts.argmax(dim=1)
    return torch.where(counts.sum(dim=1) > 0, winners, torch.full_like(winners, IGNORE_LABEL))
