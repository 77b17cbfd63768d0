from __future__ import annotations

import torch

from labelfree.method.extensions.opinion_pool import opinion_pool


def test_it_is_the_product_over_the_prior() -> None:
    first, second, prior = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.7, 0.1]), torch.tensor([0.4, 0.4, 0.2])
    expected = first * second / prior
    found = opinion_pool([first.log()[None], second.log()[None]], [1.0, 1.0], prior)
    torch.testing.assert_close(found.exp()[0], expected / expected.sum())


def test_independent_evidence_gives_bayes_posterior() -> None:
    prior = torch.tensor([0.7, 0.3])
    likelihoods = [torch.tensor([0.2, 0.9]), torch.tensor([0.6, 0.5])]
    posteriors = [(prior * each / (prior * each).sum()).log()[None] for each in likelihoods]
    truth = prior * likelihoods[0] * likelihoods[1]
    torch.testing.assert_close(opinion_pool(posteriors, [1.0, 1.0], prior).exp()[0], truth / truth.sum())


def test_a_weight_of_zero_leaves_an_annotator_out() -> None:
    first, second = torch.randn(4, 3).log_softmax(dim=1), torch.randn(4, 3).log_softmax(dim=1)
    torch.testing.assert_close(opinion_pool([first, second], [1.0, 0.0]), first)
