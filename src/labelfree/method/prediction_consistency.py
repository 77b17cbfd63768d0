"""Eq. 5 and 6: cross-entropy of the 2D and the 3D network against the labels chosen for each.

The paper prints the logarithm outside the sum and sums instead of averaging; the plain mean of cross-entropies is meant
(method.md). Eq. 6 is Eq. 5 with other labels: what is fed in as `labels` is decided by `label_switching`.
"""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor

from labelfree.vocabulary import IGNORE_LABEL


def class_logits(
    features: Tensor,  # [..., E] mapped by theta_s or varphi_s, not normalised
    text_embeddings: Tensor,  # [K, E] unit, frozen
) -> Tensor:  # [..., K]
    """Return psi(feature, t_l): the dot product with each class's text embedding, without a temperature."""
    return features @ text_embeddings.T


def count_labelled(labels: Tensor) -> Tensor:
    """Return how many labels take part in the loss, as a float scalar."""
    return (labels != IGNORE_LABEL).sum().float()


def cross_entropy(
    logits: Tensor,  # [n, K] or [B, K, H, W]
    labels: Tensor,  # [n] or [B, H, W] integer, 255 = ignored
    count: Tensor | None = None,
    weights: Tensor | None = None,  # [K]
) -> Tensor:  # scalar
    """Return the mean cross-entropy over labelled elements: one term of Eq. 5 or Eq. 6; 0 where nothing is labelled.

    `count` replaces the number of labelled elements in the denominator; with several processes it is their joint mean,
    so that averaged gradients equal those of one process on the joint batch. `weights` multiply each class's terms
    (see `class_balance`); the paper has none.
    """
    total = functional.cross_entropy(
        logits.float(), labels.long(), weight=weights, ignore_index=IGNORE_LABEL, reduction="sum"
    )
    return total / (count_labelled(labels) if count is None else count).clamp(min=1.0)


def prediction_consistency(
    logits_2d: Tensor,  # [B, K, H, W] every pixel
    labels_2d: Tensor,  # [B, H, W]
    logits_3d: Tensor,  # [P, K] of the paired points
    labels_3d: Tensor,  # [P]
) -> Tensor:  # scalar
    """Return L_s1 of Eq. 5 for refined CLIP labels, L_s2 of Eq. 6 for switched labels."""
    return cross_entropy(logits_2d, labels_2d) + cross_entropy(logits_3d, labels_3d)
