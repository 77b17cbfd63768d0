"""The running mean of the weights, which labels better and varies less from run to run than the last step's weights.

Polyak averaging with exponential weights, as in Mean Teacher (Tarvainen and Valpola, NeurIPS 2017); not in the paper,
off by default.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class WeightAverage:
    """An exponential mean over the steps; statistics of batch normalisation are averaged like weights."""

    decay: float
    """What is kept of the mean at each step: 0.99 averages over about a hundred steps."""
    mean: dict[str, Tensor]
    """By the names of the state dict; what is not a number with a fraction is the last one's."""

    @classmethod
    def of(cls, networks: nn.Module, decay: float) -> WeightAverage:
        """Begin with the weights as they are."""
        return cls(decay, {name: value.detach().clone() for name, value in networks.state_dict().items()})

    @torch.no_grad()
    def update(self, networks: nn.Module, step: int) -> None:
        """Take in the weights after a step (counted from 0); early steps weigh more, so that the start is forgotten."""
        kept = min(self.decay, (1 + step) / (10 + step))
        for name, value in networks.state_dict().items():
            if value.is_floating_point():
                self.mean[name].lerp_(value, 1 - kept)
            else:
                self.mean[name].copy_(value)

    def put_into(self, networks: nn.Module) -> None:
        """Give the networks the mean's weights."""
        networks.load_state_dict(self.mean)
