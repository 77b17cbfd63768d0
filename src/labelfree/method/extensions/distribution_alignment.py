"""Distribution alignment: a network's own labels keep the class frequencies of the labels it started from.

Not in the paper. Self-labels delete the classes a network is unsure of, because an argmax never picks them; ReMixMatch
(Berthelot et al., ICLR 2020, section 3.1) scales predictions to known class frequencies before they become labels. Here
these are CLIP's, of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from labelfree.vocabulary import IGNORE_LABEL

ROUNDS = 3
"""Passes of scaling; one is ReMixMatch's, more come closer to the wanted frequencies."""
SMOOTHING = 1e-3
"""Added to frequencies, so that a class that CLIP does not name is unlikely, not impossible."""


def class_frequencies(labels: Tensor, num_classes: int) -> Tensor:  # any shape, 255 = ignored -> [K] sums to 1
    """Return how often each class is among the labels."""
    counts = torch.bincount(labels[labels != IGNORE_LABEL].flatten().long(), minlength=num_classes).double()
    return (counts + SMOOTHING * counts.sum().clamp(min=1)) / (counts + SMOOTHING * counts.sum().clamp(min=1)).sum()


def align_logits(
    logits: Tensor,  # [n, K] or [B, K, H, W]
    frequencies: Tensor,  # [K] sums to 1
) -> Tensor:  # like logits, detached
    """Return logits with one offset per class, such that their mean probabilities come near to `frequencies`."""
    shape = (1, -1, *([1] * (logits.dim() - 2)))
    aligned, others = logits.detach().float(), [axis for axis in range(logits.dim()) if axis != 1]
    for _ in range(ROUNDS):
        mean = functional.softmax(aligned, dim=1).mean(dim=others)
        aligned = aligned + (frequencies.log() - mean.double().clamp(min=1e-12).log()).float().reshape(shape)
    return aligned
