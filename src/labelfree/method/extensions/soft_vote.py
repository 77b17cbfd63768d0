"""Vote inside masks with the class probabilities of every pixel instead of one label each."""

from __future__ import annotations

from torch import Tensor

from labelfree.method.mask_vote import NO_MASK, _elect, paint_winners


def soft_mask_winners(
    probabilities: Tensor,  # [n, K] of the voting pixels
    mask_ids: Tensor,  # [n] int64, 0 = no mask
    num_masks: int,
) -> Tensor:  # [T + 1] int64
    """Return the class with the largest summed probability in each mask, 255 for an empty mask."""
    sums = probabilities.new_zeros(num_masks + 1, probabilities.shape[1])
    voting = mask_ids != NO_MASK
    sums.index_add_(0, mask_ids[voting], probabilities[voting])
    return _elect(sums)


def soft_refine_labels(
    probabilities: Tensor,  # [n, K]
    mask_ids: Tensor,  # [n] integer, 0 = no mask
) -> Tensor:  # [n] int64
    """Return the labels after a vote in which every pixel casts its probabilities (the paper counts labels)."""
    mask_ids = mask_ids.long()
    num_masks = int(mask_ids.max()) if mask_ids.numel() else 0
    winners = soft_mask_winners(probabilities, mask_ids, num_masks)
    return paint_winners(winners, mask_ids, probabilities.argmax(dim=1))
