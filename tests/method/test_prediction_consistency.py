from __future__ import annotations

import math

import torch

from labelfree.method.prediction_consistency import count_labelled, prediction_consistency


def loop_cross_entropy(logits: list[list[float]], labels: list[int]) -> float:
    terms = [
        -math.log(math.exp(row[label]) / sum(math.exp(value) for value in row))
        for row, label in zip(logits, labels)
        if label != 255
    ]
    return sum(terms) / max(len(terms), 1)


def test_mean_over_labelled_agrees_with_the_loop() -> None:
    logits, labels = [[0.2, -1.0, 3.0], [1.0, 1.0, 0.0], [5.0, 0.0, 0.0]], [2, 0, 255]
    found = prediction_consistency(torch.tensor(logits), torch.tensor(labels))
    assert math.isclose(float(found), loop_cross_entropy(logits, labels), rel_tol=1e-6)


def test_nothing_labelled_is_zero_with_a_gradient() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    loss = prediction_consistency(logits, torch.full((4,), 255))
    loss.backward()
    assert float(loss) == 0.0
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) == 0.0


def test_joint_count_makes_parts_equal_the_whole() -> None:
    logits, labels = torch.randn(10, 4), torch.tensor([0, 1, 2, 3, 255, 0, 1, 255, 255, 2])
    mean_count = count_labelled(labels) / 2  # of two processes
    parts = [prediction_consistency(logits[s], labels[s], mean_count) for s in (slice(0, 4), slice(4, 10))]
    assert torch.allclose(torch.stack(parts).sum() / 2, prediction_consistency(logits, labels))


def test_terms_of_images_and_of_points_are_plain_means() -> None:
    logits, labels = torch.randn(2, 5, 3, 4), torch.randint(0, 5, (2, 3, 4))
    assert torch.allclose(prediction_consistency(logits, labels), torch.nn.functional.cross_entropy(logits, labels))
    logits, labels = torch.randn(7, 5), torch.randint(0, 5, (7,))
    assert torch.allclose(prediction_consistency(logits, labels), torch.nn.functional.cross_entropy(logits, labels))
