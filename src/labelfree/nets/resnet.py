"""Define ResNet-18/34/50/101 with dilation instead of the last strides, with torchvision's parameter names."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from labelfree.config.architectures import RESNETS
from labelfree.errors import InputError
from labelfree.nets.norm import BatchNorm2d


class Placement(NamedTuple):
    """The stride of a block and the dilations of its first and later 3x3 convolutions."""

    stride: int
    first_dilation: int
    dilation: int


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """Return a convolution without bias, padded to keep the size at stride 1."""
    padding = dilation * (kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, dilation=dilation, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a residual connection."""

    def __init__(self, inputs: int, width: int, place: Placement) -> None:
        super().__init__()
        self.conv1 = conv(inputs, width, 3, place.stride, place.first_dilation)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, dilation=place.dilation)
        self.bn2 = BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, place.stride)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, h, w]
        """Apply the block to a feature map."""
        out = functional.relu_(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return functional.relu_(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 (strided or dilated, as in torchvision's V1.5) and 1x1 convolutions around a residual connection."""

    def __init__(self, inputs: int, width: int, place: Placement) -> None:
        super().__init__()
        self.conv1 = conv(inputs, width, 1)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, place.stride, place.first_dilation)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = conv(width, 4 * width, 1)
        self.bn3 = BatchNorm2d(4 * width)
        self.downsample = _shortcut(inputs, 4 * width, place.stride)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, h, w]
        """Apply the block to a feature map."""
        out = functional.relu_(self.bn1(self.conv1(x)))
        out = functional.relu_(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return functional.relu_(out + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """A ResNet without classifier whose output is `output_stride` times smaller than the image."""

    def __init__(self, name: str = "resnet50", width: int = 64, output_stride: int = 8) -> None:
        super().__init__()
        if name not in RESNETS:
            raise InputError(f"backbone is '{name}': use one of {', '.join(RESNETS)}.")
        if output_stride not in {8, 16, 32}:
            raise InputError(f"output_stride is {output_stride}: use 8, 16 or 32.")
        # Build the stem
        shape = RESNETS[name]
        self.out_width = width * 8 * (4 if shape.bottleneck else 1)
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = BatchNorm2d(width)
        # Build the stages
        inputs, dilation, reached = width, 1, 4
        for stage, blocks in enumerate(shape.blocks):
            stride, before = (1 if stage == 0 else 2), dilation
            if stage > 0 and reached * 2 > output_stride:
                stride, dilation = 1, dilation * 2
            reached *= stride
            first = Placement(stride, before, dilation)
            layer = _stage(shape.bottleneck, inputs, width << stage, blocks, first)
            self.add_module(f"layer{stage + 1}", layer)
            inputs = (width << stage) * (4 if shape.bottleneck else 1)
        self.apply(_initialise)

    def forward(
        self,
        images: Tensor,  # [B, 3, H, W] normalised
    ) -> Tensor:  # [B, D, h, w]
        """Return the last stage's features."""
        out = functional.relu_(self.bn1(self.conv1(images)))
        out = functional.max_pool2d(out, 3, stride=2, padding=1)
        for stage in range(1, 5):
            out = self.get_submodule(f"layer{stage}")(out)
        return out


def _stage(bottleneck: bool, inputs: int, width: int, blocks: int, first: Placement) -> nn.Sequential:
    kind = Bottleneck if bottleneck else BasicBlock
    outputs = width * (4 if bottleneck else 1)
    rest = Placement(1, first.dilation, first.dilation)
    return nn.Sequential(kind(inputs, width, first), *(kind(outputs, width, rest) for _ in range(blocks - 1)))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(conv(inputs, outputs, 1, stride), BatchNorm2d(outputs))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
