"""Batch norm over the joint batch of two processes equals PyTorch's over the joined rows, values and gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from helpers.process_group import ProcessGroup
from labelfree.nets.norm import BatchNorm1d, BatchNorm2d, is_synchronised, synchronise

WIDTH = 5
Shares = tuple[Tensor, Tensor]


def new_norm(dims: int) -> nn.Module:
    torch.manual_seed(0)
    norm = (BatchNorm1d if dims == 2 else BatchNorm2d)(WIDTH)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    assert norm.running_var is not None
    norm.running_var.uniform_(0.5, 2.0)
    return norm


def passed(norm: nn.Module, values: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Two training passes, so that the second one sees other running statistics; the loss weighs each output."""
    for _ in range(2):
        values = values.detach().requires_grad_()
        result = norm(values)
        norm.zero_grad()
        (result.float() * weights).sum().backward()
    gradients = {name: value.grad for name, value in norm.named_parameters() if value.grad is not None}
    assert values.grad is not None
    found = {"out": result.detach(), "in": values.grad, **dict(norm.named_buffers()), **gradients}
    return {name: value.clone() for name, value in found.items()}


def joint_passes(fabric: Fabric, cases: list[tuple[Shares, Shares]]) -> list[dict[str, Tensor]]:
    found = []
    for values, weights in cases:
        norm = new_norm(values[0].dim())
        synchronise(norm)
        found.append(passed(norm, values[fabric.global_rank], weights[fabric.global_rank]))
    return found


def shares(first: int, second: int, *size: int, dtype: torch.dtype = torch.float32) -> tuple[Shares, Shares]:
    torch.manual_seed(first * 10 + second)
    values = (torch.randn(first, WIDTH, *size) * 3 + 7).to(dtype), (torch.randn(second, WIDTH, *size) - 2).to(dtype)
    return values, (torch.randn(first, WIDTH, *size), torch.randn(second, WIDTH, *size))


CASES = {
    "rows": shares(6, 6),
    "uneven rows": shares(9, 2),
    "no row in one process": shares(4, 0),
    "a row in each process": shares(1, 1),
    "a single row": shares(1, 0),
    "no row": shares(0, 0),
    "images": shares(2, 3, 4, 3),
    "pooled images": shares(2, 2, 1, 1),
    "a single pixel": shares(0, 1, 1, 1),
    "16 bits": shares(8, 5, dtype=torch.bfloat16),
}


@pytest.fixture(scope="module")
def found(process_group: ProcessGroup) -> dict[str, tuple[dict[str, Tensor], dict[str, Tensor]]]:
    first, second = process_group.run(joint_passes, list(CASES.values()))
    return dict(zip(CASES, zip(first, second)))


@pytest.mark.parametrize("case", CASES)
def test_two_processes_equal_one_with_all_rows(case: str, found: dict[str, Any]) -> None:
    (first, second), (weights_1, weights_2) = CASES[case]
    expected = passed(new_norm(first.dim()), torch.cat([first, second]), torch.cat([weights_1, weights_2]))
    one, other = found[case]
    rough = first.dtype == torch.bfloat16
    close = partial(torch.allclose, atol=0.05 if rough else 2e-5, rtol=0.02 if rough else 1e-4)
    for name in ("out", "in"):
        assert one[name].dtype == expected[name].dtype
        assert close(torch.cat([one[name], other[name]]).float(), expected[name].float()), name
    for name in ("weight", "bias"):
        assert close(one[name] + other[name], expected[name]), name
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(one[name], other[name])
        assert close(one[name].float(), expected[name].float()), name


@pytest.mark.parametrize("case", ["rows", "a single row", "images", "16 bits"])
def test_alone_it_is_the_plain_norm_bit_for_bit(case: str) -> None:
    (values, _), (weights, _) = CASES[case]
    norm = new_norm(values.dim())
    expected = passed(norm, values, weights)
    again = new_norm(values.dim())
    synchronise(again)
    assert is_synchronised(again)
    assert not is_synchronised(norm)
    for name, value in passed(again, values, weights).items():
        assert torch.equal(value, expected[name]), name


def test_prediction_exchanges_nothing(process_group: ProcessGroup) -> None:
    values = CASES["rows"][0][0]
    expected = new_norm(2).eval()(values)
    assert torch.equal(process_group.run(predicted_alone, values)[0], expected)


def predicted_alone(fabric: Fabric, values: Tensor) -> Tensor | None:
    if fabric.global_rank > 0:
        return None
    norm = new_norm(2)
    synchronise(norm)
    result: Tensor = norm.eval()(values).detach()
    return result
