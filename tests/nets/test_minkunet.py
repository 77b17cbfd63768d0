from __future__ import annotations

import pytest
import torch

from labelfree.config.architectures import LAYERS_14, VARIANTS, MinkUNetShape
from labelfree.errors import InputError
from labelfree.nets.minkunet import MinkUNet
from labelfree.nets.sparse.kernel_map import SparseGeometry

NARROW = MinkUNetShape(LAYERS_14, (4, 6, 8, 10, 8, 6, 4, 4), first_width=8)

# names and shapes as in MinkowskiEngine's examples/minkunet.py
KERNELS_34C = {
    "conv0p1s1.kernel": (125, 3, 32),
    "conv1p1s2.kernel": (8, 32, 32),
    "bn1.bn.running_mean": (32,),
    "block1.0.conv1.kernel": (27, 32, 32),
    "block1.1.norm2.bn.weight": (32,),
    "conv2p2s2.kernel": (8, 32, 32),
    "block2.0.downsample.0.kernel": (32, 64),
    "block2.0.downsample.1.bn.weight": (64,),
    "conv4p8s2.kernel": (8, 128, 128),
    "block4.5.conv2.kernel": (27, 256, 256),
    "convtr4p16s2.kernel": (8, 256, 256),
    "bntr4.bn.bias": (256,),
    "block5.0.conv1.kernel": (27, 384, 256),
    "convtr5p8s2.kernel": (8, 256, 128),
    "convtr6p4s2.kernel": (8, 128, 96),
    "convtr7p2s2.kernel": (8, 96, 96),
    "block8.0.downsample.0.kernel": (128, 96),
    "block8.1.norm2.bn.running_var": (96,),
    "final.kernel": (96, 20),
    "final.bias": (1, 20),
}


def test_names_and_shapes_of_minkunet34c() -> None:
    state = MinkUNet(3, VARIANTS["MinkUNet34C"], out_channels=20).state_dict()
    assert {name: tuple(state[name].shape) for name in KERNELS_34C} == KERNELS_34C
    assert "block1.0.downsample.0.kernel" not in state
    assert len(state) == 374


def count(shape: MinkUNetShape, in_channels: int, classes: int) -> int:
    """Count parameters from the paper figure: kernels, and two per channel for each batch norm."""

    def block(inputs: int, outputs: int) -> int:
        shortcut = inputs * outputs + 2 * outputs if inputs != outputs else 0
        return 27 * inputs * outputs + 27 * outputs**2 + 4 * outputs + shortcut

    def stage(inputs: int, outputs: int, blocks: int) -> int:
        return block(inputs, outputs) + (blocks - 1) * block(outputs, outputs)

    planes, total = shape.planes, shape.first_kernel**3 * in_channels * 32 + 2 * 32
    for inputs, outputs, blocks in zip((32, *planes), planes[:4], shape.layers):
        total += 8 * inputs**2 + 2 * inputs + stage(inputs, outputs, blocks)
    for inputs, skip, outputs, blocks in zip(planes[3:], (*planes[2::-1], 32), planes[4:], shape.layers[4:]):
        total += 8 * inputs * outputs + 2 * outputs + stage(outputs + skip, outputs, blocks)
    return total + planes[-1] * classes + classes


@pytest.mark.parametrize("variant", ["MinkUNet14A", "MinkUNet18A", "MinkUNet34C"])
def test_parameter_counts(variant: str) -> None:
    network = MinkUNet(3, VARIANTS[variant], out_channels=20)
    found = sum(parameter.numel() for parameter in network.parameters())
    assert found == count(VARIANTS[variant], 3, 20)
    if variant == "MinkUNet34C":
        assert found == pytest.approx(37.9e6, abs=0.05e6)  # as published


def test_features_per_voxel_and_gradients_everywhere() -> None:
    torch.manual_seed(0)
    coords = (torch.rand(2, 20, 20, 20) < 0.05).nonzero()
    network = MinkUNet(3, NARROW)
    out = network(torch.rand(len(coords), 3), SparseGeometry(coords))
    assert out.shape == (len(coords), 4)
    out.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("voxels", [0, 1, 2])
def test_almost_empty_clouds_train(voxels: int) -> None:
    coords = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]])[:voxels]
    out = MinkUNet(1, NARROW)(torch.rand(voxels, 1), SparseGeometry(coords))
    assert out.shape == (voxels, 4)
    assert bool(out.isfinite().all())
    out.sum().backward()


def test_same_bits_twice() -> None:
    coords = (torch.rand(1, 16, 16, 16, generator=torch.Generator().manual_seed(1)) < 0.1).nonzero()
    grads = []
    for _ in range(2):
        torch.manual_seed(0)
        network = MinkUNet(3, NARROW)
        network(torch.rand(len(coords), 3), SparseGeometry(coords)).square().sum().backward()
        grads.append([parameter.grad for parameter in network.parameters()])
    assert all(torch.equal(first, second) for first, second in zip(*grads))


def test_bad_shapes_are_named() -> None:
    with pytest.raises(InputError, match="planes"):
        MinkUNetShape(LAYERS_14, (4, 6, 8))
    with pytest.raises(InputError, match="first_kernel"):
        MinkUNetShape(LAYERS_14, NARROW.planes, first_kernel=4)
