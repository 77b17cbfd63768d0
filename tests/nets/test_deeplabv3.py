from __future__ import annotations

import pytest
import torch
from torch import nn

from labelfree.errors import InputError
from labelfree.nets.deeplabv3 import DeepLabV3, DilatedConv, load_published
from labelfree.nets.resnet import ResNet

# names and shapes as in torchvision's deeplabv3_resnet50
SHAPES = {
    "backbone.conv1.weight": (64, 3, 7, 7),
    "backbone.layer1.0.downsample.0.weight": (256, 64, 1, 1),
    "backbone.layer4.2.bn3.running_var": (2048,),
    "classifier.0.convs.0.0.weight": (256, 2048, 1, 1),
    "classifier.0.convs.0.1.weight": (256,),
    "classifier.0.convs.1.0.weight": (256, 2048, 3, 3),
    "classifier.0.convs.3.1.bias": (256,),
    "classifier.0.convs.4.1.weight": (256, 2048, 1, 1),
    "classifier.0.convs.4.2.running_mean": (256,),
    "classifier.0.project.0.weight": (256, 1280, 1, 1),
    "classifier.0.project.1.weight": (256,),
    "classifier.1.weight": (256, 256, 3, 3),
    "classifier.2.weight": (256,),
}


def small(name: str = "resnet18") -> DeepLabV3:
    return DeepLabV3(ResNet(name, width=8), 8, channels=8)


def test_names_shapes_and_count_of_torchvision() -> None:
    network = DeepLabV3(ResNet("resnet50"), 8)
    state = network.state_dict()
    assert {name: tuple(state[name].shape) for name in SHAPES} == SHAPES
    # torchvision publishes 42,004,074 with classifier.4 (21 classes) and the auxiliary classifier
    classifier, auxiliary = 256 * 21 + 21, 1024 * 256 * 9 + 2 * 256 + 256 * 21 + 21
    assert sum(p.numel() for p in network.parameters()) + classifier + auxiliary == 42_004_074


@pytest.mark.parametrize("size", [(12, 16), (30, 30), (5, 40), (24, 24)])
@pytest.mark.parametrize("rate", [6, 12, 24])
def test_left_out_taps_meet_only_padding(size: tuple[int, int], rate: int) -> None:
    torch.manual_seed(0)
    layer, x = DilatedConv(4, 3, rate), torch.rand(2, 4, *size)
    grads = []
    for function in (layer.forward, lambda x: nn.Conv2d.forward(layer, x)):
        layer.zero_grad()
        out = function(x)
        out.square().sum().backward()
        assert layer.weight.grad is not None
        grads.append((out, layer.weight.grad.clone()))
    for mine, plain in zip(*grads):
        torch.testing.assert_close(mine, plain, atol=1e-5, rtol=1e-5)


def test_one_small_image_trains() -> None:
    network = small()
    out = network(torch.rand(1, 3, 40, 56))
    assert out.shape == (1, 8, 5, 7)
    out.sum().backward()


def test_published_deeplab_loads_without_its_classifiers() -> None:
    published = {name: torch.rand_like(value.float()) for name, value in small().state_dict().items()}
    extra = {"classifier.4.weight": torch.rand(21, 8, 1, 1), "aux_classifier.0.weight": torch.rand(2, 2)}
    network = small()
    assert load_published(network, published | extra) == list(extra)
    assert torch.equal(network.state_dict()["classifier.1.weight"], published["classifier.1.weight"])


def test_published_resnet_loads_into_the_backbone() -> None:
    # ImageNet files of old have no num_batches_tracked
    published = {k: v for k, v in ResNet("resnet18", 8).state_dict().items() if "num_batches" not in k}
    network = small()
    assert load_published(network, published | {"fc.weight": torch.rand(2, 2)}) == ["fc.weight"]
    assert torch.equal(network.backbone.state_dict()["layer4.1.conv2.weight"], published["layer4.1.conv2.weight"])


def test_weights_of_another_network_are_refused() -> None:
    network = small()
    deep = ResNet("resnet34", 4).state_dict()
    with pytest.raises(InputError, match=r"file\.safetensors: 0 parameters are missing and 96"):
        load_published(network, deep, "file.safetensors")
    with pytest.raises(InputError, match="width"):
        load_published(network, ResNet("resnet18", 16).state_dict())
    with pytest.raises(InputError, match="missing"):
        load_published(network, {"fc.weight": torch.rand(2, 2)})
