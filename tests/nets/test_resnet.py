from __future__ import annotations

import pytest
import torch
from torch import nn

from labelfree.errors import InputError
from labelfree.nets.norm import BatchNorm1d, BatchNorm2d
from labelfree.nets.resnet import ResNet


@pytest.mark.parametrize(
    ("name", "published"),
    [("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032), ("resnet101", 44_549_160)],
)
def test_as_many_parameters_as_torchvision_without_its_classifier(name: str, published: int) -> None:
    network = ResNet(name)
    assert sum(p.numel() for p in network.parameters()) == published - (network.out_width * 1000 + 1000)


@pytest.mark.parametrize(
    ("name", "stride", "strides", "dilations"),
    [
        # of the 3x3 convolutions in the first and second block of layer3 and layer4, as in torchvision's Bottleneck
        ("resnet50", 32, [2, 1, 2, 1], [1, 1, 1, 1]),
        ("resnet50", 16, [2, 1, 1, 1], [1, 1, 1, 2]),
        ("resnet50", 8, [1, 1, 1, 1], [1, 2, 2, 4]),
    ],
)
def test_dilation_replaces_stride(name: str, stride: int, strides: list[int], dilations: list[int]) -> None:
    network = ResNet(name, width=8, output_stride=stride)
    names = ["layer3.0.conv2", "layer3.1.conv2", "layer4.0.conv2", "layer4.1.conv2"]
    layers = [network.get_submodule(name) for name in names]
    assert [layer.stride[0] for layer in layers if isinstance(layer, nn.Conv2d)] == strides
    assert [layer.dilation[0] for layer in layers if isinstance(layer, nn.Conv2d)] == dilations


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_output_stride(name: str, stride: int) -> None:
    network = ResNet(name, width=8, output_stride=stride)
    assert network(torch.rand(2, 3, 64, 96)).shape == (2, network.out_width, 64 // stride, 96 // stride)


def test_a_single_value_per_channel_is_normalised_by_running_statistics() -> None:
    rows, images = BatchNorm1d(3), BatchNorm2d(3)
    assert torch.allclose(rows(torch.full((1, 3), 2.0)), torch.full((1, 3), 2.0), atol=1e-4)
    assert torch.allclose(images(torch.full((1, 3, 1, 1), 2.0)), torch.full((1, 3, 1, 1), 2.0), atol=1e-4)
    assert images(torch.rand(1, 3, 2, 1)).mean().abs() < 1e-5
    assert rows(torch.rand(0, 3)).shape == (0, 3)


def test_bad_settings_are_named() -> None:
    with pytest.raises(InputError, match="resnet18"):
        ResNet("vgg")
    with pytest.raises(InputError, match="output_stride"):
        ResNet("resnet18", output_stride=4)
