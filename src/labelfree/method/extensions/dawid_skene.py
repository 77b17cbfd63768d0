"""Estimate each annotator's confusion matrix and the true labels without ground truth, by EM.

Dawid and Skene, Maximum likelihood estimation of observer error-rates using the EM algorithm, Applied Statistics 1979.
Extensions: an observation may be a probability vector, whose log-likelihood is its mean over the vector; items have
weights; rows of confusion matrices have a Dirichlet prior that favours the diagonal, which also fixes the order of the
classes. Annotators must err independently given the class. Dependent ones are observed jointly (`joint_observation`):
their pair is one annotator with K x K answers, whose confusion matrix holds the dependence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TINY = 1e-12


@dataclass(frozen=True)
class EmOptions:
    """The options of the estimation."""

    rounds: int = 50
    """Largest number of rounds of EM."""
    diagonal: float = 2.0
    """Pseudo-counts of correct answers per class, relative to a weight of the items of mean 1."""
    spread: float = 1.0
    """Pseudo-counts per class that are spread over all answers."""
    tolerance: float = 1e-6
    """Largest change of a posterior at which the rounds end."""


@dataclass(frozen=True, eq=False)
class Consensus:
    """The result of the estimation."""

    posterior: Tensor
    """[n, K] probability of each class."""
    prior: Tensor
    """[K] frequency of each class."""
    confusion: tuple[Tensor, ...]
    """For each annotator [K, S]: probability of each answer given the class."""


def dawid_skene(
    observations: Sequence[Tensor],  # A of [n, S]: probabilities of answers, a row of zeros where there is none
    correct: Sequence[Tensor],  # A of [S] int64: the class that an answer names
    weights: Tensor,  # [n] such as the size of a segment
    num_classes: int,
    options: EmOptions | None = None,
) -> Consensus:
    """Return posterior, prior and confusion matrices after EM, which starts at the mean of the annotators."""
    options = options or EmOptions()
    seen = [observed.double() for observed in observations]
    mass = (weights.double() / weights.double().mean().clamp(min=TINY))[:, None]
    favoured = [_pseudo_counts(named, num_classes, options) for named in correct]
    posterior = _start(seen, correct, num_classes)
    for _ in range(options.rounds):
        # M step: the frequencies of classes and answers under the posterior
        counts = mass * posterior
        prior = (counts.sum(dim=0) + options.spread) / (counts.sum() + options.spread * num_classes)
        tables = [counts.T @ observed + extra for observed, extra in zip(seen, favoured)]
        confusion = [table / table.sum(dim=1, keepdim=True) for table in tables]
        # E step: Bayes' rule
        log_p = prior.log() + sum(
            (observed @ matrix.clamp(min=TINY).log().T for observed, matrix in zip(seen, confusion)),
            torch.zeros(len(mass), num_classes, dtype=torch.float64),
        )
        before, posterior = posterior, log_p.softmax(dim=1)
        if float((posterior - before).abs().max()) < options.tolerance:
            break
    return Consensus(posterior, prior, tuple(confusion))


def joint_observation(
    first: Tensor,  # [n, S]
    second: Tensor,  # [n, T]
) -> Tensor:  # [n, S * T]
    """Return the joint answers of two annotators that err together: answer s * T + t stands for s and t.

    An item that only one of them has seen has no joint answer.
    """
    return (first[:, :, None] * second[:, None, :]).flatten(1)


def joint_correct(first: Tensor, size: int) -> Tensor:  # [S] int64, T -> [S * T]
    """Return the class that each joint answer names: that of the first annotator."""
    return first.repeat_interleave(size)


def of_each(
    confusion: Tensor,  # [K, S * T] of a pair
    size: int,  # T
) -> tuple[Tensor, Tensor]:  # [K, S], [K, T]
    """Return the confusion matrix of each annotator of a pair."""
    table = confusion.unflatten(1, (-1, size))
    return table.sum(dim=2), table.sum(dim=1)


def _pseudo_counts(named: Tensor, num_classes: int, options: EmOptions) -> Tensor:  # [K, S]
    own = (named[None, :] == torch.arange(num_classes)[:, None]).double()
    share = own / own.sum(dim=1, keepdim=True).clamp(min=1)
    return options.diagonal * share + options.spread / len(named)


def _start(seen: Sequence[Tensor], correct: Sequence[Tensor], num_classes: int) -> Tensor:  # [n, K]
    votes = torch.full((len(seen[0]), num_classes), 1e-3, dtype=torch.float64)
    for observed, named in zip(seen, correct):
        votes.index_add_(1, named, observed)
    return votes / votes.sum(dim=1, keepdim=True)
