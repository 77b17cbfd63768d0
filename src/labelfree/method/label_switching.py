"""Compute Eq. 6: switch at random between CLIP's labels and the networks' own, refined by SAM's masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from labelfree.method.mask_vote import NO_MASK, mask_winners, paint_winners, refine_labels
from labelfree.method.sources import Granularity, Source
from labelfree.vocabulary import IGNORE_LABEL

PickLabels = Callable[[Tensor], Tensor]
"""Return a class for each element from its logits [n, K] or [B, K, H, W]."""


def most_probable(logits: Tensor) -> Tensor:  # [n, K] or [B, K, H, W] -> [n] or [B, H, W] int64
    """Return the argmax of the paper; ties go to the lowest class id."""
    return logits.argmax(dim=1)


@dataclass(frozen=True)
class PairedPixels:
    """The positions of the P pixel-point pairs of a batch in its images."""

    image: Tensor  # [P] int64
    row: Tensor  # [P] int64
    column: Tensor  # [P] int64

    def gather(self, maps: Tensor) -> Tensor:
        """Return the values [P] of maps [B, H, W] at the paired pixels."""
        return maps[self.image, self.row, self.column]


def refined_2d_prediction(
    logits: Tensor,  # [B, K, H, W]
    mask_ids: Tensor,  # [B, H, W] joint ids
    pick: PickLabels = most_probable,
) -> Tensor:  # [B, H, W] int64
    """Return Phat*_x: the 2D network's argmax of this step, or what `pick` takes, after the vote inside SAM's masks."""
    return refine_labels(pick(logits.detach()), mask_ids, logits.shape[1])


def refined_3d_prediction(
    logits: Tensor,  # [P, K] of the paired points
    pair_masks: Tensor,  # [P] joint ids: a point takes the mask of its paired pixel
    pick: PickLabels = most_probable,
) -> Tensor:  # [P] int64
    """Return Phat*_p: the 3D network's argmax of this step, or what `pick` takes, after the vote of the pairs."""
    return refine_labels(pick(logits.detach()), pair_masks, logits.shape[1])


def spread_to_pixels(
    pair_labels: Tensor,  # [P] int64
    pairs: PairedPixels,
    mask_ids: Tensor,  # [B, H, W] joint ids
    num_classes: int,
) -> Tensor:  # [B, H, W] int64
    """Return 3D labels on the images: a mask with a paired point takes its vote, other unpaired pixels are 255."""
    height, width = mask_ids.shape[1:]
    flat = (pairs.image * height + pairs.row) * width + pairs.column
    pixels = torch.full_like(mask_ids, IGNORE_LABEL)
    # Two points on one pixel: the lowest class id wins, which is deterministic.
    pixels.view(-1).scatter_reduce_(0, flat, pair_labels, "amin")
    winners = mask_winners(pair_labels, pairs.gather(mask_ids), int(mask_ids.max()), num_classes)
    return paint_winners(winners, mask_ids, torch.where(mask_ids == NO_MASK, pixels, IGNORE_LABEL))


def draw_sources(
    pool: Sequence[Source],
    granularity: Granularity,
    sample: Tensor,  # [E, ...] int64 sample that each labelled element, a pixel or a pair, belongs to
    generator: torch.Generator,
) -> Tensor:  # int64 positions in `pool`; [1] per batch, else [E, ...]
    """Draw sources with equal probability: one for the batch, one for each sample, or one for each element."""
    if granularity == "batch":
        return torch.randint(len(pool), (1,), generator=generator)
    if granularity == "pixel":
        return torch.randint(len(pool), tuple(sample.shape), generator=generator).to(sample.device)
    samples = int(sample.max()) + 1 if sample.numel() else 1
    return torch.randint(len(pool), (samples,), generator=generator).to(sample.device)[sample]


def switch_labels(
    pool: Sequence[Source],
    drawn: Tensor,  # int64 positions in `pool`: [1], or like the labels
    labels_of: Callable[[Source], Tensor],
) -> Tensor:  # like the labels
    """Return R of Eq. 6: each element takes its label from its drawn source; sources not drawn are not computed."""
    first, *others = drawn.unique().tolist() or [0]
    chosen = labels_of(pool[first])
    for position in others:
        chosen = torch.where(drawn == position, labels_of(pool[position]), chosen)
    return chosen
