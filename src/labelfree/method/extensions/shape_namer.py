"""Name segments by their shape: a small network that is fitted on the consensus labels of other scenes.

Co-training (Blum and Mitchell, COLT 1998): two namers that see independent views, here images and shape, correct each
other, because their errors are independent. A segment is never named by a network that was fitted on its own label
(cross-fitting, Chernozhukov et al. 2018); otherwise the network would only repeat the label's errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class NamerOptions:
    """The options of the shape namer."""

    hidden: int = 64
    """Units of its hidden layer; 0 is multinomial logistic regression."""
    steps: int = 100
    """Steps of AdamW on all segments at once."""
    rate: float = 0.01
    """Learning rate; it falls to zero by a cosine."""
    weight_decay: float = 0.1
    """Weight decay."""
    balance: float = 0.5
    """Power p of class weights frequency ** -p of the targets; 0 leaves rare classes rare."""
    folds: int = 4
    """Parts of the scenes; each is named by a network that was fitted on the others."""


class ShapeNamer(nn.Module):
    """A network from descriptors to log probabilities; it standardises the descriptors itself."""

    mean: Tensor
    scale: Tensor

    def __init__(self, descriptors: int, classes: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(descriptors))
        self.register_buffer("scale", torch.ones(descriptors))
        self.layers = nn.Sequential(
            *((nn.Linear(descriptors, hidden), nn.GELU()) if hidden else ()),
            nn.Linear(hidden or descriptors, classes),
        )

    def forward(self, shapes: Tensor) -> Tensor:  # [G, D] -> [G, K]
        """Return log probabilities."""
        return self.layers(((shapes - self.mean) / self.scale).clamp(-5, 5)).log_softmax(dim=1)


def fit_shape_namer(
    shapes: Tensor,  # [G, D]
    targets: Tensor,  # [G, K] probabilities
    weights: Tensor,  # [G]
    options: NamerOptions,
    seed: int = 0,
) -> ShapeNamer:
    """Return the namer of least weighted cross-entropy against soft targets; equal seeds give equal networks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        namer = ShapeNamer(shapes.shape[1], targets.shape[1], options.hidden)
    namer.mean.copy_(shapes.mean(dim=0))
    namer.scale.copy_(shapes.std(dim=0, correction=0).clamp(min=1e-3))
    mass = weights.float()[:, None] * targets.float()
    share = mass.sum(dim=0) / mass.sum().clamp(min=1e-12)
    mass = mass * (share + 1e-3) ** -options.balance
    mass = mass / mass.sum().clamp(min=1e-12)
    optimiser = torch.optim.AdamW(namer.parameters(), options.rate, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.steps)
    for _ in range(options.steps):
        optimiser.zero_grad(set_to_none=True)
        (-(mass * namer(shapes)).sum()).backward()
        optimiser.step()
        schedule.step()
    return namer.eval()


@torch.no_grad()
def name_shapes(namers: Sequence[ShapeNamer], shapes: Tensor) -> Tensor:  # [G, D] -> [G, K]
    """Return the log of the mean probability of several namers."""
    return torch.stack([namer(shapes).exp() for namer in namers]).mean(dim=0).clamp(min=1e-12).log()


def fold_of_scene(scene: Tensor, folds: int) -> Tensor:  # [G] int64 -> [G]
    """Return the part of each segment: all segments of a scene are in one part."""
    return scene % folds


def cross_fitted(
    shapes: Tensor,  # [G, D]
    targets: Tensor,  # [G, K]
    weights: Tensor,  # [G]
    scene: Tensor,  # [G] int64 scene of each segment
    options: NamerOptions,
    seed: int = 0,
) -> tuple[Tensor, tuple[ShapeNamer, ...]]:  # [G, K] log probabilities, one namer per part
    """Return what a namer that has not seen a segment's scene says about it, and the namers of all parts.

    With a single scene the parts are those of its segments.
    """
    unit = scene if len(scene.unique()) > 1 else torch.arange(len(scene))
    part = fold_of_scene(unit, min(options.folds, len(unit.unique())))
    named, namers = torch.empty_like(targets, dtype=torch.float32), list[ShapeNamer]()
    for fold in part.unique().tolist():
        others, own = part != fold, part == fold
        if not bool(others.any()):
            others = own
        namer = fit_shape_namer(shapes[others], targets[others], weights[others], options, seed + fold)
        named[own] = name_shapes([namer], shapes[own])
        namers.append(namer)
    return named, tuple(namers)


def namer_arrays(namers: Sequence[ShapeNamer]) -> dict[str, NDArray[np.float32]]:
    """Return the weights of namers as arrays, for a file."""
    return {
        f"{index}.{name}": value.detach().numpy()
        for index, namer in enumerate(namers)
        for name, value in namer.state_dict().items()
    }


def namers_from(arrays: Mapping[str, NDArray[np.float32]]) -> tuple[ShapeNamer, ...]:
    """Return the namers of `namer_arrays`."""
    namers = []
    for index in sorted({int(name.partition(".")[0]) for name in arrays}):
        state = {
            name.partition(".")[2]: torch.from_numpy(np.array(value))
            for name, value in arrays.items()
            if name.startswith(f"{index}.")
        }
        first, last = state["layers.0.weight"], state[max(n for n in state if n.endswith("weight"))]
        namer = ShapeNamer(len(state["mean"]), len(last), len(first) if "layers.2.weight" in state else 0)
        namer.load_state_dict(state)
        namers.append(namer.eval())
    return tuple(namers)
