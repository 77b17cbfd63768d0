"""Pool class scores inside masks, over views and inside segments, before any label is chosen.

Not in the paper, which votes with one label per pixel (Eq. 4) and per view. A vote loses how close the scores were;
their mean keeps it. OpenScene (Peng et al., CVPR 2023, section 3.1) averages features over views in the same way.
"""

from __future__ import annotations

import torch
from torch import Tensor

from labelfree.method.mask_vote import NO_MASK


def group_sums(
    values: Tensor,  # [n, K]
    group: Tensor,  # [n] int64
    count: int,
) -> tuple[Tensor, Tensor]:  # [G, K], [G] number of elements
    """Return the sum of the values of each group, in double precision, and the size of each group."""
    sums = torch.zeros(count, values.shape[1], dtype=torch.float64).index_add_(0, group, values.double())
    return sums, torch.bincount(group, minlength=count).double()


def group_means(values: Tensor, group: Tensor, count: int) -> Tensor:  # [n, K], [n] -> [G, K] float32
    """Return the mean of the values of each group; 0 for an empty group."""
    sums, sizes = group_sums(values, group, count)
    return (sums / sizes.clamp(min=1)[:, None]).float()


def pool_in_masks(
    scores: Tensor,  # [K, H, W]
    mask_ids: Tensor,  # [H, W] integer, 0 = no mask
) -> Tensor:  # [K, H, W]
    """Return the mean score of each pixel's mask; pixels without a mask keep their own scores."""
    masks, flat = mask_ids.flatten().long(), scores.flatten(1).T
    means = group_means(flat, masks, int(masks.max()) + 1)[masks]
    return torch.where((masks == NO_MASK)[:, None], flat.float(), means).T.reshape(scores.shape)


def log_probabilities(scores: Tensor, temperature: float) -> Tensor:  # [n, K] cosines -> [n, K]
    """Return the log of the softmax over the classes of scores times a temperature."""
    return (scores.float() * temperature).log_softmax(dim=1)


def support_share(views: Tensor) -> Tensor:  # [n] number of views -> [n] in 0..1
    """Return the weight of labels that some views support: v / (v + 1), so 0 without a view, 1/2 for a single one."""
    return views / (views + 1.0)
