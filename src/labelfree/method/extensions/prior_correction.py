"""Correct class scores for a class prior that is estimated from the scores themselves, without ground truth.

Logit adjustment (Menon et al., Long-tail learning via logit adjustment, ICLR 2021, section 4.1) subtracts tau times the
log prior. There the prior is the class frequency of training labels. Here it is the mean of the predicted
probabilities: a class that a teacher prefers everywhere is raised by its text embedding, not by what the images show.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMOOTHING = 1e-3
"""Share added to each class, so that a class that is never predicted is raised by a bounded amount."""


def class_prior(
    log_p: Tensor,  # [n, K] log probabilities
    weights: Tensor,  # [n] such as the number of points
) -> Tensor:  # [K] sums to 1
    """Return the weighted mean of the probabilities, smoothed."""
    sums = (log_p.double().exp() * weights.double()[:, None]).sum(dim=0)
    smoothed = sums / sums.sum().clamp(min=1e-12) + SMOOTHING
    return (smoothed / smoothed.sum()).float()


def correct_prior(log_p: Tensor, prior: Tensor, tau: float) -> Tensor:  # [n, K], [K] -> [n, K]
    """Return log probabilities after logit adjustment: the softmax of log p - tau log prior."""
    return (log_p - tau * prior.to(log_p.dtype).log()).log_softmax(dim=1)


def prior_of_scores(
    scores: Tensor,  # [n, K] cosines
    weights: Tensor,  # [n]
    temperature: float,
) -> Tensor:  # [K]
    """Return the class prior of scores at a temperature."""
    return class_prior((scores.float() * temperature).log_softmax(dim=1), torch.as_tensor(weights))
