"""Exponential moving average of the weights.

The averaged weights label better than the last ones and vary less between runs. This is Polyak averaging with
exponential weights, as in Mean Teacher (Tarvainen and Valpola, NeurIPS 2017); not in the paper, off by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class WeightAverage:
    """An exponential moving average of the weights and of the statistics of batch normalisation."""

    decay: float
    """Share of the mean that each step keeps; 0.99 averages over about 100 steps."""
    mean: dict[str, Tensor]
    """Tensors by their names in the state dict; integer tensors are copied from the last step."""

    @classmethod
    def of(cls, networks: nn.Module, decay: float) -> WeightAverage:
        """Return an average that starts from the current weights."""
        return cls(decay, {name: value.detach().clone() for name, value in networks.state_dict().items()})

    @torch.no_grad()
    def update(self, networks: nn.Module, step: int) -> None:
        """Add the weights after a step (counted from 0); early steps weigh more, so that the initial weights fade."""
        kept = min(self.decay, (1 + step) / (10 + step))
        for name, value in networks.state_dict().items():
            if value.is_floating_point():
                self.mean[name].lerp_(value, 1 - kept)
            else:
                self.mean[name].copy_(value)

    def restore(self, mean: Mapping[str, Tensor]) -> None:
        """Take over a saved mean, on the device of this one. Raises a `KeyError` if a name differs."""
        if mean.keys() != self.mean.keys():
            raise KeyError(next(iter(mean.keys() ^ self.mean.keys())))
        for name, value in mean.items():
            self.mean[name].copy_(value)

    def put_into(self, networks: nn.Module) -> None:
        """Load the averaged weights into the networks."""
        networks.load_state_dict(self.mean)
