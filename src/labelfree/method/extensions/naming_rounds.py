"""Let the image namer and the shape namer correct each other in rounds.

Each round fits the shape namer on the consensus so far, cross-fitted over scenes, and combines what it says with the
image namer's opinion. The image's opinion stays as it was: no round takes a hard label or reads its own answer back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from labelfree.method.extensions.dawid_skene import EmOptions, dawid_skene
from labelfree.method.extensions.opinion_pool import opinion_pool
from labelfree.method.extensions.prior_correction import class_prior, correct_prior
from labelfree.method.extensions.shape_namer import NamerOptions, ShapeNamer, cross_fitted

Rule = Literal["pool", "dawid-skene"]
"""How annotators are combined: by a product of experts, or by confusion matrices estimated without labels."""

TWO_ANNOTATORS = EmOptions(rounds=1, diagonal=50.0)
"""Options of Dawid-Skene for two annotators. Their confusion matrices are not identified: with more rounds of EM or a
weaker prior, frequent classes take over the rare ones."""
SHAPE_TAU = 0.5
"""Strength of the correction for the shape namers' own prior; their class weights correct the rest."""


@dataclass(frozen=True)
class RoundOptions:
    """The options of the rounds."""

    rounds: int = 3
    """Number of rounds; 0 takes the image namer alone."""
    rule: Rule = "pool"
    """Combination of the annotators."""
    shape_weight: float = 2.0
    """Weight of the shape namer in the product of experts."""
    namer: NamerOptions = field(default_factory=NamerOptions)
    """Options of the shape namer."""


@dataclass(frozen=True, eq=False)
class Named:
    """The consensus about G segments, and what names the segments of other scenes."""

    log_p: Tensor
    """[G, K] log probabilities."""
    namers: tuple[ShapeNamer, ...]
    """The namers of the last round, one per part; empty without rounds."""
    shape_prior: Tensor
    """[K] mean probability of the shape namers, which the combination divides by."""


def naming_rounds(
    image: Tensor,  # [G, K] log probabilities of the image namer
    shapes: Tensor,  # [G, D]
    weights: Tensor,  # [G] size of each segment, or its root
    scene: Tensor,  # [G] int64
    options: RoundOptions,
    seed: int = 0,
) -> Named:
    """Return the consensus of the image namer and the shape namer."""
    log_p, namers = image.float(), tuple[ShapeNamer, ...]()
    prior = torch.full((image.shape[1],), 1.0 / image.shape[1])
    for index in range(options.rounds):
        said, namers = cross_fitted(shapes, log_p.exp(), weights, scene, options.namer, seed + 100 * index)
        prior = class_prior(said, weights)
        log_p = combined(image, said, prior, weights, options)
    return Named(log_p, namers, prior)


def combined(
    image: Tensor,  # [G, K]
    said: Tensor,  # [G, K] of the shape namer
    prior: Tensor,  # [K] of the shape namer
    weights: Tensor,  # [G]
    options: RoundOptions,
) -> Tensor:  # [G, K]
    """Return the log probabilities of both annotators together."""
    if options.rule == "dawid-skene":
        classes = torch.arange(image.shape[1])
        found = dawid_skene([image.exp(), said.exp()], [classes, classes], weights, len(classes), TWO_ANNOTATORS)
        return found.posterior.clamp(min=1e-12).log().float()
    return opinion_pool([image, correct_prior(said, prior, SHAPE_TAU)], [1.0, options.shape_weight])
