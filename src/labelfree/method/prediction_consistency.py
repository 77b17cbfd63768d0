"""Compute Eq. 5 and 6: cross-entropy of the 2D and the 3D network against the labels chosen for each.

The paper prints the logarithm outside the sum and a sum instead of a mean, which are misprints: the mean cross-entropy
is meant (docs/method.md). Eq. 6 is Eq. 5 with other `labels`, which `label_switching` chooses.
"""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor

from labelfree.vocabulary import IGNORE_LABEL


def count_labelled(labels: Tensor) -> Tensor:
    """Return the number of labels that are not ignored, as a float scalar."""
    return (labels != IGNORE_LABEL).sum().float()


def prediction_consistency(
    logits: Tensor,  # [n, K] or [B, K, H, W]
    labels: Tensor,  # [n] or [B, H, W] integer, 255 = ignored
    count: Tensor | None = None,
    weights: Tensor | None = None,  # [K]
) -> Tensor:  # scalar
    """Return one network's term of L_s1 (Eq. 5) for refined CLIP labels, or of L_s2 (Eq. 6) for switched labels.

    The term is the mean cross-entropy over labelled elements, 0 if nothing is labelled. L_s is the sum over both
    networks: pixels in 2D and paired points in 3D. `count` replaces the number of labelled elements in the denominator.
    With several processes it is their mean count, so that averaged gradients equal those of one process on the joint
    batch. `weights` multiply the terms of each class (see `extensions.class_balance`); the paper has none.
    """
    total = functional.cross_entropy(
        logits.float(), labels.long(), weight=weights, ignore_index=IGNORE_LABEL, reduction="sum"
    )
    return total / (count_labelled(labels) if count is None else count).clamp(min=1.0)
