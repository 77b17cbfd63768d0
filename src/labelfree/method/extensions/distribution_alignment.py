"""Align the class frequencies of a network's own labels with those of CLIP's labels of the batch.

Not in the paper. Self-training removes classes with low confidence, because an argmax never selects them. ReMixMatch
(Berthelot et al., ICLR 2020, section 3.1) scales predictions to known class frequencies before they become labels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from labelfree.vocabulary import IGNORE_LABEL

ROUNDS = 3
"""Number of scaling passes; ReMixMatch uses one, more passes come closer to the target frequencies."""
SMOOTHING = 1e-3
"""Share added to each frequency, so that a class without CLIP labels is unlikely but not impossible."""


def class_frequencies(labels: Tensor, num_classes: int) -> Tensor:  # any shape, 255 = ignored -> [K] sums to 1
    """Return the smoothed share of each class among the labels."""
    counts = torch.bincount(labels[labels != IGNORE_LABEL].flatten().long(), minlength=num_classes).double()
    return (counts + SMOOTHING * counts.sum().clamp(min=1)) / (counts + SMOOTHING * counts.sum().clamp(min=1)).sum()


def align_logits(
    logits: Tensor,  # [n, K] or [B, K, H, W]
    frequencies: Tensor,  # [K] sums to 1
) -> Tensor:  # like logits, detached
    """Return logits shifted by one offset per class, so that their mean probabilities approach `frequencies`."""
    shape = (1, -1, *([1] * (logits.dim() - 2)))
    aligned, others = logits.detach().float(), [axis for axis in range(logits.dim()) if axis != 1]
    for _ in range(ROUNDS):
        mean = functional.softmax(aligned, dim=1).mean(dim=others)
        aligned = aligned + (frequencies.log() - mean.double().clamp(min=1e-12).log()).float().reshape(shape)
    return aligned
