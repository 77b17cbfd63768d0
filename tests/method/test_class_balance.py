from __future__ import annotations

import pytest
import torch

from labelfree.method.extensions.class_balance import balance_weights, class_counts
from labelfree.method.prediction_consistency import prediction_consistency


def loop_balanced_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, power: float) -> float:
    kept = [(row, int(label)) for row, label in zip(logits, labels) if label != 255]
    counts = {label: sum(other == label for _, other in kept) for _, label in kept}
    total = weights = 0.0
    for row, label in kept:
        weight = counts[label] ** -power
        total += weight * -float(row.log_softmax(0)[label])
        weights += weight
    return total / weights


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_agrees_with_the_loop(power: float) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(40, 5), torch.tensor([0] * 25 + [1] * 8 + [3] * 2 + [255] * 5)
    weights = balance_weights(class_counts(labels, 5), power)
    assert float(prediction_consistency(logits, labels, weights=weights)) == pytest.approx(
        loop_balanced_cross_entropy(logits, labels, power), rel=1e-5
    )


def test_counts_leave_ignored_labels_out() -> None:
    assert class_counts(torch.tensor([[0, 2], [255, 2]]), 4).tolist() == [1, 0, 2, 0]


def test_power_zero_is_the_plain_mean() -> None:
    assert balance_weights(torch.tensor([3.0, 0.0, 5.0]), 0.0).tolist() == [1.0, 0.0, 1.0]


def test_power_one_gives_every_class_the_same_say() -> None:
    counts = torch.tensor([90.0, 9.0, 1.0])
    shares = balance_weights(counts, 1.0) * counts
    assert torch.allclose(shares, torch.full((3,), 100 / 3))


def test_nothing_labelled_gives_no_weight() -> None:
    weights = balance_weights(torch.zeros(3), 0.5)
    assert weights.tolist() == [0.0, 0.0, 0.0]
    assert float(prediction_consistency(torch.randn(2, 3), torch.tensor([255, 255]), weights=weights)) == 0.0


def test_parts_of_two_processes_equal_the_whole() -> None:
    torch.manual_seed(1)
    logits, labels = torch.randn(12, 3), torch.tensor([0, 0, 0, 1, 255, 2, 0, 1, 0, 2, 255, 0])
    halves = (slice(0, 5), slice(5, 12))
    mean_counts = torch.stack([class_counts(labels[half], 3) for half in halves]).sum(0) / 2
    weights = balance_weights(mean_counts, 0.5)
    parts = [prediction_consistency(logits[half], labels[half], mean_counts.sum(), weights) for half in halves]
    whole = prediction_consistency(logits, labels, weights=balance_weights(class_counts(labels, 3), 0.5))
    assert torch.allclose(torch.stack(parts).sum() / 2, whole)
