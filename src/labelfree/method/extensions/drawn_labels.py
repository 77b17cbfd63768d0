"""Draw a network's own labels from its posterior instead of taking the argmax.

Not in the paper. An argmax turns a class with a probability of 60 % into 100 % of the labels. A network that is trained
on its own argmax therefore prefers frequent classes more and more (docs/findings.md). Drawn labels keep the class
frequencies of the posterior, and their expected gradient is that of soft targets.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def draw_labels(
    logits: Tensor,  # [n, K] or [B, K, H, W]
    generator: torch.Generator,
) -> Tensor:  # [n] or [B, H, W] int64
    """Return one class for each element, drawn from the softmax of its logits with one random number each."""
    levels = functional.softmax(logits.detach().float(), dim=1).cumsum(dim=1)
    uniform = torch.rand((len(logits), 1, *logits.shape[2:]), generator=generator).to(logits.device)
    return (levels <= uniform * levels[:, -1:]).sum(dim=1)  # the last level is 1 up to rounding
