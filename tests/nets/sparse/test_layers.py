"""The residual block against its formula without operations in place."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from labelfree.nets.sparse.kernel_map import SparseGeometry
from labelfree.nets.sparse.layers import BasicBlock, SparseTensor


def plain(block: BasicBlock, x: SparseTensor) -> Tensor:
    """Return the block's output as the paper writes it."""
    inner = block.norm1(block.conv1(x))
    outer = block.norm2(block.conv2(inner.with_features(torch.relu(inner.features))))
    shortcut = x if block.downsample is None else block.downsample(x)
    return torch.relu(outer.features + shortcut.features)


@pytest.mark.parametrize("outputs", [6, 10])
@pytest.mark.parametrize("training", [True, False])
def test_basic_block_equals_its_formula_with_gradients(outputs: int, training: bool) -> None:
    torch.manual_seed(0)
    geometry = SparseGeometry((torch.rand(1, 8, 8, 8) < 0.3).nonzero())
    ours = BasicBlock(6, outputs).train(training)
    theirs = copy.deepcopy(ours)
    features = torch.randn(geometry.count(1), 6)
    leaves = [features.clone().requires_grad_() for _ in range(2)]
    out = ours(SparseTensor(leaves[0], geometry)).features
    expected = plain(theirs, SparseTensor(leaves[1], geometry))
    direction = torch.randn_like(out)
    out.backward(direction)
    expected.backward(direction)
    assert torch.equal(out, expected)
    for mine, reference in zip((leaves[0], *ours.parameters()), (leaves[1], *theirs.parameters())):
        assert mine.grad is not None
        assert reference.grad is not None
        assert torch.equal(mine.grad, reference.grad)
    assert torch.equal(features, leaves[0]), "the input was changed"


def test_formats_that_differ_are_added() -> None:
    torch.manual_seed(0)
    geometry = SparseGeometry((torch.rand(1, 8, 8, 8) < 0.3).nonzero())
    block, features = BasicBlock(6, 6).eval(), torch.randn(geometry.count(1), 6)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        out = block(SparseTensor(features, geometry)).features
    with torch.no_grad():
        torch.testing.assert_close(out.float(), plain(block, SparseTensor(features, geometry)), atol=0.1, rtol=0.1)
