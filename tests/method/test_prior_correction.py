from __future__ import annotations

import torch

from labelfree.method.extensions.prior_correction import SMOOTHING, class_prior, correct_prior, prior_of_scores


def test_the_prior_is_the_weighted_mean_of_the_probabilities() -> None:
    torch.manual_seed(0)
    log_p, weights = torch.randn(30, 4).log_softmax(dim=1), torch.rand(30)
    slow = [sum(float(w * p[k].exp()) for w, p in zip(weights, log_p)) / float(weights.sum()) for k in range(4)]
    smoothed = torch.tensor([share + SMOOTHING for share in slow])
    torch.testing.assert_close(class_prior(log_p, weights), smoothed / smoothed.sum(), atol=1e-5, rtol=0)


def test_correction_divides_by_the_prior_to_a_power() -> None:
    log_p, prior = torch.tensor([[0.6, 0.3, 0.1]]).log(), torch.tensor([0.7, 0.2, 0.1])
    expected = torch.tensor([[0.6 / 0.7**0.5, 0.3 / 0.2**0.5, 0.1 / 0.1**0.5]])
    torch.testing.assert_close(correct_prior(log_p, prior, 0.5).exp(), expected / expected.sum())
    torch.testing.assert_close(correct_prior(log_p, prior, 0.0), log_p)


def test_a_bias_towards_one_class_is_removed() -> None:
    torch.manual_seed(0)
    truth = torch.randint(0, 3, (2000,))
    scores = 0.02 * torch.randn(2000, 3) + 0.05 * torch.nn.functional.one_hot(truth, 3)
    biased = scores + torch.tensor([0.06, 0.0, 0.0])
    prior = prior_of_scores(biased, torch.ones(2000), 50.0)
    log_p = (biased * 50).log_softmax(dim=1)
    before, after = log_p.argmax(dim=1), correct_prior(log_p, prior, 1.0).argmax(dim=1)
    assert float((after == truth).float().mean()) > float((before == truth).float().mean()) + 0.1
