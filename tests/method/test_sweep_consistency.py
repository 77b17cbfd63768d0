from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from labelfree.method.extensions.sweep_consistency import cell_attention, grid_cells, sweep_consistency


def slow(points: Tensor, pixels: Tensor, logits: Tensor, labels: list[int], cells: list[tuple[int, ...]]) -> float:
    """One cell, one point and one number at a time."""
    total = 0.0
    for cell in set(cells):
        members = [i for i, each in enumerate(cells) if each == cell]
        votes = [labels[i] for i in members if labels[i] != 255]
        best = min(set(votes), key=lambda label: (-votes.count(label), label)) if votes else None
        weights = [math.exp(float(logits[i, best])) if best is not None else 1.0 for i in members]
        units = [(points[i] / points[i].norm(), pixels[i] / pixels[i].norm()) for i in members]
        fused = sum(w / sum(weights) * (p + x) for w, (p, x) in zip(weights, units))
        assert isinstance(fused, Tensor)
        total += sum(1 - float(p @ fused / fused.norm()) for p, _ in units)
    return total / len(points)


@pytest.mark.parametrize("seed", range(4))
def test_against_the_slow_twin(seed: int) -> None:
    make = torch.Generator().manual_seed(seed)
    points, pixels = torch.randn(60, 5, generator=make), torch.randn(60, 5, generator=make)
    logits, labels = torch.randn(60, 4, generator=make) * 3, torch.randint(0, 4, (60,), generator=make)
    labels[torch.rand(60, generator=make) < 0.4] = 255
    voxel, scene = torch.randint(-2, 2, (60, 3), generator=make), torch.randint(0, 2, (60,), generator=make)
    cell = grid_cells(voxel.int(), scene)
    found = sweep_consistency(points, pixels, cell_attention(logits, labels, cell), cell)
    cells = [(s, *v) for s, v in zip(scene.tolist(), voxel.tolist())]
    assert float(found) == pytest.approx(slow(points, pixels, logits, labels.tolist(), cells), rel=1e-5)
    half = sweep_consistency(points, pixels, cell_attention(logits, labels, cell), cell, torch.tensor(120.0))
    assert float(half) == pytest.approx(float(found) / 2)


def test_a_pair_alone_in_its_cell_is_pulled_to_its_pixel() -> None:
    points = torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    pixels = torch.tensor([[0.0, 1.0], [0.0, 5.0]], requires_grad=True)
    cell = torch.tensor([0, 1])
    loss = sweep_consistency(points, pixels, cell_attention(torch.zeros(2, 3), torch.tensor([0, 255]), cell), cell)
    assert loss.item() == pytest.approx((1 - math.sqrt(0.5)) / 2)  # 45 degrees to the mean of both, and none
    loss.backward()
    assert pixels.grad is None
    assert points.grad is not None
    assert points.grad[0, 1] < 0  # descent turns the first point towards its pixel


def test_without_pairs_it_is_zero() -> None:
    nothing, cell = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    attention = cell_attention(torch.zeros(0, 3), cell, cell)
    assert float(sweep_consistency(nothing, nothing, attention, grid_cells(torch.zeros(0, 3), cell))) == 0.0
