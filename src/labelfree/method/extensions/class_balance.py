"""Balance the classes of a cross-entropy: rare classes of noisy labels get a larger weight.

Not in the paper, which takes the plain mean. The vote inside masks makes frequent classes more frequent and rare ones
rarer, and so does the argmax of a network trained on voted labels. Weights by a power of the inverse frequency (square
root: Mahajan et al., ECCV 2018) counteract both. All systems of a table are trained with the same power.
"""

from __future__ import annotations

import torch
from torch import Tensor

from labelfree.vocabulary import IGNORE_LABEL


def class_counts(labels: Tensor, num_classes: int) -> Tensor:  # any shape, 255 = ignored -> [K] float
    """Return the number of labels of each class."""
    return torch.bincount(labels[labels != IGNORE_LABEL].flatten().long(), minlength=num_classes).float()


def balance_weights(
    counts: Tensor,  # [K]
    power: float,
) -> Tensor:  # [K]
    """Return class weights proportional to frequency ** -power; over all labels they sum to the number of labels.

    With power 0 all labels have equal weight, with power 1 all classes in the labels have equal total weight.
    """
    wanted = torch.where(counts > 0, counts.clamp(min=1.0) ** -power, torch.zeros_like(counts))
    return wanted * counts.sum() / (wanted * counts).sum().clamp(min=torch.finfo(counts.dtype).tiny)
