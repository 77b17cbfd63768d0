"""The segment of each pixel: of the point paired with it or with a near pixel, else its mask."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from labelfree.method.extensions.pooled_scores import group_sums
from labelfree.method.mask_vote import NO_MASK
from labelfree.method.pairing import Pairs

NO_GROUP = -1
"""Group of pixels that have neither a segment nor a mask."""


def segment_map(
    pairs: Pairs,
    segment: Tensor,  # [P] segment of each pair
    size: tuple[int, int],
    reach_px: int,
) -> Tensor:  # [H, W] int64
    """Return the segment of each pixel: of its paired point, else of a paired pixel up to `reach_px` away.

    In each round a pixel without a segment takes the highest one of its eight neighbours. Of several points on one
    pixel the highest segment counts. Other pixels are `NO_GROUP`.
    """
    found = torch.full(size, NO_GROUP, dtype=torch.int64)
    found.view(-1).scatter_reduce_(0, pairs.row * size[1] + pairs.column, segment, "amax")
    for _ in range(reach_px):
        # max_pool2d knows no integers; float64 holds them up to 2^53
        near = torch.nn.functional.max_pool2d(found.double()[None, None], 3, stride=1, padding=1)[0, 0].long()
        found = torch.where(found == NO_GROUP, near, found)
    return found


@dataclass(frozen=True, eq=False)
class PixelGroups:
    """The groups of a frame's pixels: G segments of the scene, then T masks of the frame."""

    group: Tensor
    """[H, W] int64, `NO_GROUP` for none."""
    log_p: Tensor
    """[G + T, K] log probabilities of each group."""
    support: Tensor
    """[G + T] weight of each group in 0..1."""


def pixel_groups(
    segments: Tensor,  # [H, W] of `segment_map`
    masks: Tensor,  # [H, W] int64, 0 = no mask
    log_p: Tensor,  # [G, K] of the segments
    support: Tensor,  # [G]
    image_log_p: Tensor,  # [K, H, W] what the image says about each pixel
) -> PixelGroups:
    """Return the group of each pixel. Where no point projects, its mask decides.

    A mask with segments in it takes the mean of their probabilities, counted by pixels; another one has the mean
    opinion of the image, and no support.
    """
    count, top = len(log_p), int(masks.max()) + 1
    inside, known = masks != NO_MASK, segments != NO_GROUP
    both = inside & known
    sums, sizes = group_sums(log_p[segments[both]].exp(), masks[both], top)
    backing, _ = group_sums(support[segments[both]][:, None], masks[both], top)
    seen, pixels = group_sums(image_log_p.flatten(1).T, masks.flatten(), top)
    from_segments = (sums / sizes.clamp(min=1)[:, None]).clamp(min=1e-12).log()
    from_image = (seen / pixels.clamp(min=1)[:, None]).log_softmax(dim=1)
    of_masks = torch.where((sizes > 0)[:, None], from_segments, from_image)[1:].float()
    trust = (backing[:, 0] / sizes.clamp(min=1))[1:].float()
    group = torch.where(known, segments, torch.where(inside, count + masks - 1, NO_GROUP))
    return PixelGroups(group, torch.cat([log_p.float(), of_masks]), torch.cat([support.float(), trust]))
