from __future__ import annotations

import math

import pytest
import torch

from labelfree.method.latent_consistency import latent_consistency, random_orthogonal


def test_mean_cosine_distance_agrees_with_the_loop() -> None:
    features, targets = torch.randn(9, 5), torch.randn(9, 5)
    loop = [
        1 - float((f * t).sum()) / (math.sqrt(float((f * f).sum())) * math.sqrt(float((t * t).sum())))
        for f, t in zip(features, targets)
    ]
    assert math.isclose(float(latent_consistency(features, targets)), sum(loop) / 9, rel_tol=1e-5)


def test_no_pairs_is_zero() -> None:
    features = torch.zeros(0, 5, requires_grad=True)
    loss = latent_consistency(features, torch.zeros(0, 5))
    loss.backward()
    assert float(loss.detach()) == 0.0


def test_target_gets_no_gradient() -> None:
    features, targets = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    latent_consistency(features, targets).backward()
    assert features.grad is not None
    assert targets.grad is None


@pytest.mark.parametrize(("wide", "narrow"), [(256, 64), (64, 64), (16, 64)])
def test_projection_is_orthonormal_and_repeatable(wide: int, narrow: int) -> None:
    projection = random_orthogonal(wide, narrow, seed=3)
    assert projection.shape == (wide, narrow)
    gram = projection.T @ projection if wide >= narrow else projection @ projection.T
    assert torch.allclose(gram, torch.eye(len(gram)), atol=1e-5)
    assert torch.equal(projection, random_orthogonal(wide, narrow, seed=3))
    assert not torch.equal(projection, random_orthogonal(wide, narrow, seed=4))
