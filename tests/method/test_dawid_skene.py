"""Confusion matrices of synthetic annotators are recovered, those of dependent annotators too."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from labelfree.method.extensions.dawid_skene import (
    Consensus,
    EmOptions,
    dawid_skene,
    joint_correct,
    joint_observation,
    of_each,
)

CLASSES, ITEMS = 4, 6000
PRIOR = torch.tensor([0.5, 0.25, 0.15, 0.1])
EACH = torch.arange(CLASSES)


def confusion(seed: int, right: float) -> Tensor:  # [K, K]
    wrong = torch.rand(CLASSES, CLASSES, generator=torch.Generator().manual_seed(seed)) ** 2
    wrong[EACH, EACH] = 0
    return right * torch.eye(CLASSES) + (1 - right) * wrong / wrong.sum(dim=1, keepdim=True)


def draw(matrix: Tensor, truth: Tensor, random: torch.Generator) -> Tensor:  # [n]
    return torch.multinomial(matrix[truth], 1, generator=random)[:, 0]


def annotators(rights: tuple[float, ...], seed: int = 0) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    random = torch.Generator().manual_seed(seed)
    truth = torch.multinomial(PRIOR, ITEMS, replacement=True, generator=random)
    matrices = [confusion(10 * seed + index, right) for index, right in enumerate(rights)]
    return truth, matrices, [draw(matrix, truth, random) for matrix in matrices]


def accuracy(found: Consensus, truth: Tensor) -> float:
    return float((found.posterior.argmax(dim=1) == truth).float().mean())


def hot(labels: Tensor) -> Tensor:  # [n] -> [n, K]
    return one_hot(labels, CLASSES).double()


def loop_dawid_skene(
    labels: list[list[int]], weights: list[float], rounds: int, options: EmOptions
) -> list[list[float]]:
    """The same EM for hard labels, item by item and class by class."""
    n, classes = len(labels[0]), CLASSES
    mean = sum(weights) / n
    posterior = []
    for item in range(n):
        votes = [1e-3 + sum(float(own[item] == k) for own in labels) for k in range(classes)]
        posterior.append([vote / sum(votes) for vote in votes])
    for _ in range(rounds):
        prior = [options.spread + sum(w / mean * p[k] for w, p in zip(weights, posterior)) for k in range(classes)]
        prior = [value / sum(prior) for value in prior]
        tables = []
        for own in labels:
            table = [
                [options.spread / classes + options.diagonal * (k == s) for s in range(classes)] for k in range(classes)
            ]
            for item in range(n):
                for k in range(classes):
                    table[k][own[item]] += weights[item] / mean * posterior[item][k]
            tables.append([[value / sum(row) for value in row] for row in table])
        for item in range(n):
            joint = []
            for k in range(classes):
                value = prior[k]
                for own, table in zip(labels, tables):
                    value *= table[k][own[item]]
                joint.append(value)
            posterior[item] = [value / sum(joint) for value in joint]
    return posterior


def test_agrees_with_the_loop() -> None:
    _truth, _, labels = annotators((0.7, 0.6, 0.5))
    few, options = [own[:40] for own in labels], EmOptions(rounds=5, tolerance=0.0)
    weights = 0.5 + torch.arange(40) / 20
    found = dawid_skene([hot(own) for own in few], [EACH] * 3, weights, CLASSES, options)
    slow = loop_dawid_skene([own.tolist() for own in few], weights.tolist(), 5, options)
    torch.testing.assert_close(found.posterior, torch.tensor(slow, dtype=torch.float64), atol=1e-6, rtol=0)


def test_recovers_the_confusion_matrices_of_independent_annotators() -> None:
    truth, matrices, labels = annotators((0.8, 0.65, 0.55))
    found = dawid_skene([hot(own) for own in labels], [EACH] * 3, torch.ones(ITEMS), CLASSES)
    for known, estimated in zip(matrices, found.confusion):
        assert float((known - estimated).abs().max()) < 0.06
    assert float((found.prior - PRIOR).abs().max()) < 0.03
    majority = torch.stack([hot(own) for own in labels]).sum(dim=0).argmax(dim=1)
    assert accuracy(found, truth) > float((majority == truth).float().mean()) + 0.01


def test_recovers_dependent_annotators_as_a_pair() -> None:
    random = torch.Generator().manual_seed(5)
    truth, matrices, (first, second, *others) = annotators((0.6, 0.6, 0.75, 0.7), seed=1)
    copies = torch.rand(ITEMS, generator=random) < 0.7
    second = torch.where(copies, first, second)
    of_second = 0.7 * matrices[0] + 0.3 * matrices[1]
    alone = dawid_skene([hot(own) for own in (first, second, *others)], [EACH] * 4, torch.ones(ITEMS), CLASSES)
    pair = joint_observation(hot(first), hot(second))
    named = [joint_correct(EACH, CLASSES), EACH, EACH]
    joint = dawid_skene([pair, *(hot(own) for own in others)], named, torch.ones(ITEMS), CLASSES)
    estimated = of_each(joint.confusion[0], CLASSES)
    errors = [float((known - own).abs().max()) for known, own in zip((matrices[0], of_second), estimated)]
    naive = [float((known - own).abs().max()) for known, own in zip((matrices[0], of_second), alone.confusion)]
    assert max(errors) < 0.08 < 0.15 < max(naive)
    assert accuracy(joint, truth) > accuracy(alone, truth) + 0.02


def test_items_without_an_answer_take_the_others_opinion() -> None:
    _, _, labels = annotators((0.9, 0.9, 0.9))
    seen = [hot(own) for own in labels]
    seen[0][:100] = 0
    found = dawid_skene(seen, [EACH] * 3, torch.ones(ITEMS), CLASSES)
    agree = labels[1][:100] == labels[2][:100]
    assert bool((found.posterior.argmax(dim=1)[:100] == labels[1][:100])[agree].all())


@pytest.mark.parametrize("heavy", [0, 1])
def test_weights_count_items_several_times(heavy: int) -> None:
    _, _, labels = annotators((0.7, 0.7, 0.7))
    own = [label[:50] for label in labels]
    weights = torch.ones(50)
    weights[heavy] = 3
    repeated = [torch.cat([each, each[heavy].expand(2)]) for each in own]
    # pseudo-counts are relative to the mean weight
    share = float(weights.mean())
    one = dawid_skene(
        [hot(each) for each in own], [EACH] * 3, weights, CLASSES, EmOptions(diagonal=2 / share, spread=1 / share)
    )
    other = dawid_skene([hot(each) for each in repeated], [EACH] * 3, torch.ones(52), CLASSES)
    torch.testing.assert_close(one.posterior, other.posterior[:50], atol=1e-4, rtol=0)
