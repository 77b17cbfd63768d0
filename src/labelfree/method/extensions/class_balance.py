"""Class-balanced cross-entropy: rare classes of noisy labels weigh more.

Not in the paper, whose mean is plain. A vote inside masks makes frequent classes more frequent and rare ones rarer, and
an argmax over what a network learns from them does so once more; weights by a power of the inverse frequency (square
root: Mahajan et al., ECCV 2018) work against both. All systems of a table train with the same power.
"""

from __future__ import annotations

import torch
from torch import Tensor

from labelfree.vocabulary import IGNORE_LABEL


def class_counts(labels: Tensor, num_classes: int) -> Tensor:  # any shape, 255 = ignored -> [K] float
    """Return how often each class is among the labels."""
    return torch.bincount(labels[labels != IGNORE_LABEL].flatten().long(), minlength=num_classes).float()


def balance_weights(
    counts: Tensor,  # [K]
    power: float,
) -> Tensor:  # [K]
    """Return weights proportional to frequency ** -power that leave the sum over all labels their count.

    Power 0 weighs all classes alike, 1 gives every class in the labels the same say.
    """
    wanted = torch.where(counts > 0, counts.clamp(min=1.0) ** -power, torch.zeros_like(counts))
    return wanted * counts.sum() / (wanted * counts).sum().clamp(min=torch.finfo(counts.dtype).tiny)
