"""Clusters of vectors by k-means, as targets of a classification without class names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ROUNDS = 20
"""Rounds of k-means."""
BALANCE = 0.5
"""Power of a cluster's share that divides its weight in the loss: frequent clusters are walls and floors."""


def k_means(samples: Tensor, count: int, generator: torch.Generator) -> Tensor:  # [M, D] -> [K, D]
    """Return the centres after `ROUNDS` rounds; a cluster that loses all samples restarts at a random one."""
    centres = spread_samples(samples, count, generator)
    for _ in range(ROUNDS):
        nearest = torch.cdist(samples, centres).argmin(1)
        size = torch.bincount(nearest, minlength=count)
        total = torch.zeros_like(centres).index_add_(0, nearest, samples)
        fresh = samples[torch.randint(len(samples), (count,), generator=generator)]
        centres = torch.where(size[:, None] > 0, total / size.clamp_min(1)[:, None], fresh)
    return centres


def spread_samples(samples: Tensor, count: int, generator: torch.Generator) -> Tensor:  # [M, D] -> [K, D]
    """Return samples drawn one by one, with probability by squared distance to those before (k-means++)."""
    chosen = [samples[int(torch.randint(len(samples), (1,), generator=generator))]]
    distance = (samples - chosen[0]).square().sum(1)
    while len(chosen) < count:
        chosen.append(samples[int(torch.multinomial(distance + 1e-12, 1, generator=generator))])
        distance = torch.minimum(distance, (samples - chosen[-1]).square().sum(1))
    return torch.stack(chosen)


class Clusters(nn.Module):
    """Clusters of contexts, each part of a context standardised and given the same weight."""

    mean: Tensor
    scale: Tensor
    centres: Tensor
    weight: Tensor

    def __init__(self, widths: Sequence[int], count: int) -> None:
        super().__init__()
        width = sum(widths)
        self.widths = tuple(widths)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("centres", torch.zeros(count, width))
        self.register_buffer("weight", torch.ones(count))

    def fit(self, samples: Tensor, generator: torch.Generator) -> None:  # [M, D] finite
        """Choose centres and weights from samples."""
        parts = torch.tensor([1 / width**0.5 for width in self.widths for _ in range(width)])
        self.mean.copy_(samples.mean(0))
        self.scale.copy_(parts / samples.std(0).clamp_min(1e-3))
        self.centres.copy_(k_means((samples - self.mean) * self.scale, len(self.centres), generator))
        share = torch.bincount(self(samples), minlength=len(self.centres)) / len(samples)
        weight = share.clamp_min(1 / len(samples)) ** -BALANCE
        self.weight.copy_(weight / (weight * share).sum())

    def forward(self, vectors: Tensor) -> Tensor:  # [..., D] -> [...]
        """Return the nearest cluster of each vector, -1 for vectors that are not finite."""
        flat = ((vectors - self.mean) * self.scale).flatten(0, -2)
        seen = flat.isfinite().all(1)
        nearest = torch.cdist(flat.nan_to_num(0.0), self.centres).argmin(1)
        return torch.where(seen, nearest, -1).view(vectors.shape[:-1])
