"""Eq. 6: the random switch between CLIP's labels and the networks' own, refined by SAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

import torch
from torch import Tensor

from labelfree.method.mask_vote import NO_MASK, mask_winners, paint_winners, refine_labels
from labelfree.vocabulary import IGNORE_LABEL


class Source(Enum):
    """Where a network's labels may come from in stage two."""

    CLIP_2D = "clip_2d"  # P*_x
    CLIP_3D = "clip_3d"  # P*_p, the same labels in their 3D form
    NET_2D = "net_2d"  # Phat*_x
    NET_3D = "net_3d"  # Phat*_p

    # Settings may write a source either way; these are aliases, not further members.
    clip_2d, clip_3d, net_2d, net_3d = CLIP_2D, CLIP_3D, NET_2D, NET_3D


ALL_SOURCES = (Source.CLIP_2D, Source.CLIP_3D, Source.NET_2D, Source.NET_3D)
"""The set R of Eq. 6: 50 % CLIP, 25 % the 2D network, 25 % the 3D network."""

Granularity = Literal["batch", "sample", "pixel"]


@dataclass(frozen=True)
class PairedPixels:
    """Where the P pixel-point pairs of a batch lie in its images."""

    image: Tensor  # [P] int64
    row: Tensor  # [P] int64
    column: Tensor  # [P] int64

    def gather(self, maps: Tensor) -> Tensor:
        """Read [B, H, W] maps at the paired pixels: [P]."""
        return maps[self.image, self.row, self.column]


def refined_2d_prediction(
    logits: Tensor,  # [B, K, H, W]
    mask_ids: Tensor,  # [B, H, W] joint ids
) -> Tensor:  # [B, H, W] int64
    """Return Phat*_x: the 2D network's argmax of this step, after the vote inside SAM's masks."""
    return refine_labels(logits.detach().argmax(dim=1), mask_ids, logits.shape[1])


def refined_3d_prediction(
    logits: Tensor,  # [P, K] of the paired points
    pair_masks: Tensor,  # [P] joint ids: a point takes the mask of its paired pixel
) -> Tensor:  # [P] int64
    """Return Phat*_p: the 3D network's argmax of this step, after the vote; a point votes once per pair."""
    return refine_labels(logits.detach().argmax(dim=1), pair_masks, logits.shape[1])


def spread_to_pixels(
    pair_labels: Tensor,  # [P] int64
    pairs: PairedPixels,
    mask_ids: Tensor,  # [B, H, W] joint ids
    num_classes: int,
) -> Tensor:  # [B, H, W] int64
    """Carry 3D labels to the images: a mask with a paired point is filled by its vote, all else unpaired stays 255."""
    height, width = mask_ids.shape[1:]
    flat = (pairs.image * height + pairs.row) * width + pairs.column
    pixels = torch.full_like(mask_ids, IGNORE_LABEL)
    pixels.view(-1).scatter_reduce_(
        0, flat, pair_labels, "amin"
    )  # two points on one pixel: the lowest class id, always
    winners = mask_winners(pair_labels, pairs.gather(mask_ids), int(mask_ids.max()), num_classes)
    return paint_winners(winners, mask_ids, torch.where(mask_ids == NO_MASK, pixels, IGNORE_LABEL))


def draw_sources(
    pool: Sequence[Source],
    shape: tuple[int, ...],
    generator: torch.Generator,
) -> Tensor:  # `shape` int64
    """Draw positions in `pool` with equal probability: shape (1,) per batch, [B] per sample, [B, H, W] per pixel."""
    return torch.randint(len(pool), shape, generator=generator)


def switch_labels(
    candidates: Sequence[Tensor],  # one label tensor [B, ...] per source of the pool
    drawn: Tensor,  # int64, broadcastable to [B, ...] from the left
) -> Tensor:  # [B, ...]
    """Return R of Eq. 6: each element from the source that was drawn for it."""
    chosen = candidates[0].clone()
    drawn = drawn.to(chosen.device).reshape(drawn.shape + (1,) * (chosen.dim() - drawn.dim()))
    for position, labels in enumerate(candidates):
        chosen = torch.where(drawn == position, labels, chosen)
    return chosen
