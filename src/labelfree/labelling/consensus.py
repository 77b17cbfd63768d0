"""Consensus labels: pooled scores, a corrected prior, segments, and a shape namer fitted on the scenes themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from labelfree.config.consensus import ConsensusConfig
from labelfree.labelling.scene_evidence import SceneEvidence
from labelfree.method.extensions.naming_rounds import RoundOptions, combined, naming_rounds
from labelfree.method.extensions.pooled_scores import log_probabilities
from labelfree.method.extensions.prior_correction import correct_prior, prior_of_scores
from labelfree.method.extensions.shape_namer import ShapeNamer, name_shapes


@dataclass(frozen=True, eq=False)
class ConsensusNamer:
    """What was fitted on the training scenes, and names the segments of any scene."""

    config: ConsensusConfig
    prior: Tensor
    """[K] class prior of the image scores."""
    shape_prior: Tensor
    """[K] class prior of the shape namers."""
    namers: tuple[ShapeNamer, ...]
    """One namer per part of the training scenes; their mean names other scenes."""

    def image_log_p(self, scores: Tensor) -> Tensor:  # [n, K] -> [n, K]
        """Return the log probabilities of scores after the correction for the prior."""
        return corrected(scores, self.prior, self.config)

    def name(self, evidence: SceneEvidence) -> Tensor:  # [G, K]
        """Return the log probabilities of the segments of a scene that the namers were not fitted on."""
        log_p = without_unseen(self.image_log_p(evidence.scores), evidence.seen)
        if not self.namers:
            return log_p
        said = name_shapes(self.namers, _given(evidence.shapes, self.config))
        return combined(log_p, said, self.shape_prior, evidence.sizes, round_options(self.config))


def fit_consensus(
    evidence: Sequence[SceneEvidence], config: ConsensusConfig, seed: int = 0
) -> tuple[ConsensusNamer, tuple[Tensor, ...]]:
    """Return the namer fitted on scenes, and the log probabilities [G, K] of their own segments, cross-fitted."""
    scores = torch.cat([each.scores for each in evidence])
    sizes = torch.cat([each.sizes * each.seen for each in evidence])
    scene = torch.cat([torch.full((len(each.scores),), index) for index, each in enumerate(evidence)])
    prior = prior_of_scores(scores, sizes, config.temperature)
    seen = torch.cat([each.seen for each in evidence])
    log_p = without_unseen(corrected(scores, prior, config), seen)
    if not (config.rounds and config.segments):
        return ConsensusNamer(config, prior, prior, ()), log_p.split([len(each.scores) for each in evidence])
    shapes = _given(torch.cat([each.shapes for each in evidence]), config)
    named = naming_rounds(log_p, shapes, sizes.sqrt(), scene, round_options(config), seed)
    own = named.log_p.split([len(each.scores) for each in evidence])
    return ConsensusNamer(config, prior, named.shape_prior, named.namers), own


def corrected(scores: Tensor, prior: Tensor, config: ConsensusConfig) -> Tensor:  # [n, K] -> [n, K]
    """Return log probabilities of scores after the correction for the prior."""
    return correct_prior(log_probabilities(scores, config.temperature), prior, config.tau)


def without_unseen(log_p: Tensor, seen: Tensor) -> Tensor:  # [G, K], [G] bool -> [G, K]
    """Return log probabilities in which segments that no view sees have equal ones."""
    return torch.where(seen[:, None], log_p, torch.full_like(log_p, -math.log(log_p.shape[1])))


def round_options(config: ConsensusConfig) -> RoundOptions:
    """Return the options of the rounds."""
    return RoundOptions(config.rounds, config.rule, config.shape_weight)


def _given(shapes: Tensor, config: ConsensusConfig) -> Tensor:  # [G, D]
    if not config.shuffle_shapes:
        return shapes
    return shapes[torch.randperm(len(shapes), generator=torch.Generator().manual_seed(0))]
