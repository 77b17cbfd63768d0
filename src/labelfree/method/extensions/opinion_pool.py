"""Combine the class probabilities of annotators by a product of experts (a logarithmic opinion pool).

If annotators err independently given the class, the posterior is the product of their probabilities over the prior to
the power of their number less one (Bayes' rule). Weights below 1 make allowance for dependent errors: Genest and Zidek,
Combining probability distributions, Statistical Science 1986. Hinton (2002) calls the unweighted form a product of
experts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def opinion_pool(
    opinions: Sequence[Tensor],  # A of [n, K] log probabilities
    weights: Sequence[float],  # A, 1 for an independent annotator
    prior: Tensor | None = None,  # [K]; None for opinions without a prior, such as those after logit adjustment
) -> Tensor:  # [n, K] log probabilities
    """Return the softmax of the weighted sum of log probabilities, the prior counted once."""
    total = torch.stack([weight * opinion for weight, opinion in zip(weights, opinions)]).sum(dim=0)
    if prior is not None:
        total = total - (sum(weights) - 1.0) * prior.to(total.dtype).log()
    return total.log_softmax(dim=1)
