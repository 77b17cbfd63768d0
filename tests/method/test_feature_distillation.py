from __future__ import annotations

import torch

from labelfree.method.openscene import feature_distillation, voxel_directions


def test_agrees_with_a_loop_over_points_and_so_do_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(5, 8, generator=generator, requires_grad=True)
    fused, voxel = torch.randn(12, 8, generator=generator), torch.randint(4, (12,), generator=generator)
    directions = voxel_directions(fused, voxel, 5)
    assert not directions[4].any()  # no point seen in it
    fast = feature_distillation(features, directions, torch.tensor(12.0))
    (fast_gradient,) = torch.autograd.grad(fast, features)
    costs = [1 - torch.cosine_similarity(features[v], point, dim=0) for v, point in zip(voxel, fused)]
    slow = torch.stack(costs).sum() / 12
    (slow_gradient,) = torch.autograd.grad(slow, features)
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(fast_gradient, slow_gradient, atol=1e-6, rtol=1e-5)


def test_perfect_features_cost_nothing_whatever_their_length() -> None:
    fused = torch.tensor([[3.0, 0.0], [0.0, 0.1]])
    directions = voxel_directions(fused, torch.tensor([0, 1]), 2)
    assert float(feature_distillation(fused * 7, directions, torch.tensor(2.0))) < 1e-6
    assert float(feature_distillation(-fused, directions, torch.tensor(2.0))) == 2.0


def test_nothing_seen_is_no_loss_but_has_a_gradient() -> None:
    features = torch.randn(3, 4, requires_grad=True)
    loss = feature_distillation(features, torch.zeros(3, 4), torch.tensor(0.0))
    loss.backward()
    assert loss.item() == 0.0
    assert features.grad is not None


def test_the_joint_count_makes_two_parts_one_batch() -> None:
    generator = torch.Generator().manual_seed(1)
    features, fused = torch.randn(6, 8, generator=generator), torch.randn(6, 8, generator=generator)
    every = torch.arange(6)
    whole = feature_distillation(features, voxel_directions(fused, every, 6), torch.tensor(6.0))
    parts = [
        feature_distillation(
            features[part], voxel_directions(fused[part], torch.arange(len(part)), len(part)),
            torch.tensor(float(len(part))), torch.tensor(3.0),
        )
        for part in (every[:2], every[2:])
    ]  # fmt: skip
    torch.testing.assert_close((parts[0] + parts[1]) / 2, whole)
