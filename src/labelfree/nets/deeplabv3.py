"""Define DeepLabV3 (Chen et al. 2017) up to its last feature map, with torchvision's parameter names."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from labelfree.errors import InputError
from labelfree.nets.norm import BatchNorm2d
from labelfree.nets.resnet import ResNet, conv

RATES = {8: (12, 24, 36), 16: (6, 12, 18), 32: (3, 6, 9)}
"""Dilations of the pyramid for each output stride, with equal reach in image pixels."""


class DilatedConv(nn.Conv2d):
    """A dilated 3x3 convolution that skips weights which only multiply padding; the result is the same."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, h, w]
        """Convolve a map; on sides within the dilation, only the middle row or column of the kernel is used."""
        reach = self.dilation[0]
        kept = [slice(None) if side > reach else slice(1, 2) for side in x.shape[-2:]]
        padding = tuple(reach if side > reach else 0 for side in x.shape[-2:])
        return functional.conv2d(x, self.weight[:, :, kept[0], kept[1]], None, 1, padding, self.dilation)


class ImagePooling(nn.Sequential):
    """The pyramid's branch for the whole image: mean, 1x1 convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *_conv_norm_relu(conv(inputs, outputs, 1)))

    def forward(self, input: Tensor) -> Tensor:  # [B, C, h, w]
        """Return the pooled features, repeated over the map."""
        pooled: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
        return pooled.expand(-1, -1, *input.shape[-2:])


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling."""

    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        branches: list[nn.Module] = [_conv_norm_relu(conv(inputs, outputs, 1))]
        branches += [_conv_norm_relu(DilatedConv(inputs, outputs, rate)) for rate in rates]
        self.convs = nn.ModuleList([*branches, ImagePooling(inputs, outputs)])
        joined = conv(len(self.convs) * outputs, outputs, 1)
        self.project = nn.Sequential(*_conv_norm_relu(joined), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:  # [B, C, h, w]
        """Return all branches joined by a 1x1 convolution, [B, D, h, w]."""
        out: Tensor = self.project(torch.cat([branch(x) for branch in self.convs], dim=1))
        return out


class DeepLabV3(nn.Module):
    """Backbone, pyramid and one 3x3 convolution; the heads are separate."""

    def __init__(self, backbone: ResNet, output_stride: int, channels: int = 256, dropout: float = 0.5) -> None:
        super().__init__()
        self.out_width = channels
        self.backbone = backbone
        self.classifier = nn.Sequential(
            AtrousPyramid(backbone.out_width, channels, RATES[output_stride], dropout),
            *_conv_norm_relu(conv(channels, channels, 3)),
        )

    def forward(
        self,
        images: Tensor,  # [B, 3, H, W] normalised
    ) -> Tensor:  # [B, D, h, w]
        """Return features at the output stride."""
        out: Tensor = self.classifier(self.backbone(images))
        return out


def _conv_norm_relu(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True))


def load_published(
    network: DeepLabV3,
    weights: Mapping[str, Tensor],
    source: str = "weights",
) -> list[str]:
    """Load torchvision's DeepLabV3 or ImageNet ResNet weights; return the names that are left out.

    Left out are classifiers (`fc`, `classifier.4`, `aux_classifier`); ResNet weights do not change the pyramid.
    Raises an `InputError` if names or shapes differ.
    """
    whole = any(name.startswith("backbone.") for name in weights)
    left_out = [name for name in weights if name.startswith(("fc.", "classifier.4.", "aux_classifier."))]
    kept = {name: value for name, value in weights.items() if name not in set(left_out)}
    target: nn.Module = network if whole else network.backbone
    own = target.state_dict()
    missing = [name for name in own if name not in kept and not name.endswith("num_batches_tracked")]
    unknown = [name for name in kept if name not in own]
    if missing or unknown:
        first = (missing or unknown)[0]
        raise InputError(
            f"{source}: {len(missing)} parameters are missing and {len(unknown)} unknown, first '{first}': "
            "use torchvision's ResNet or DeepLabV3 weights of the same depth."
        )
    for name, value in kept.items():
        if own[name].shape != value.shape:
            raise InputError(
                f"{source}: '{name}' is {tuple(value.shape)} but the network's is {tuple(own[name].shape)}: "
                "set networks.net_2d.backbone, width and aspp_channels to those of the weights."
            )
    target.load_state_dict(kept, strict=False)
    return left_out
