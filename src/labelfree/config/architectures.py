"""Shapes of the published ResNets and MinkUNets."""

from __future__ import annotations

from dataclasses import dataclass

from labelfree.errors import InputError


@dataclass(frozen=True)
class ResNetShape:
    """The blocks per stage of a ResNet, and whether they are bottleneck blocks."""

    blocks: tuple[int, int, int, int]
    bottleneck: bool


RESNETS: dict[str, ResNetShape] = {
    "resnet18": ResNetShape((2, 2, 2, 2), bottleneck=False),
    "resnet34": ResNetShape((3, 4, 6, 3), bottleneck=False),
    "resnet50": ResNetShape((3, 4, 6, 3), bottleneck=True),
    "resnet101": ResNetShape((3, 4, 23, 3), bottleneck=True),
}


LEVELS = 4


KERNELS = (3, 5, 7)
"""Kernel sizes that the first convolution may have, in voxels."""


LAYERS_14 = (1, 1, 1, 1, 1, 1, 1, 1)


LAYERS_18 = (2, 2, 2, 2, 2, 2, 2, 2)


LAYERS_34 = (2, 3, 4, 6, 2, 2, 2, 2)


@dataclass(frozen=True)
class MinkUNetShape:
    """The blocks and widths of the four encoder and four decoder stages of a MinkUNet.

    Raises an InputError if a list has not eight positive numbers or the kernel is none of `KERNELS`.
    """

    layers: tuple[int, ...]
    planes: tuple[int, ...]
    first_width: int = 32
    """Channels of the first convolution."""
    first_kernel: int = 5
    """Kernel size of the first convolution: 5 in MinkowskiEngine's networks, 3 in CLIP2Scene's."""

    def __post_init__(self) -> None:
        for what, values in (("layers", self.layers), ("planes", self.planes)):
            if len(values) != 2 * LEVELS or min(values) < 1:
                raise InputError(f"MinkUNet {what} are {values}: give {2 * LEVELS} positive numbers.")
        if self.first_kernel not in KERNELS:
            raise InputError(f"MinkUNet first_kernel is {self.first_kernel}: use 3, 5 or 7.")


VARIANTS: dict[str, MinkUNetShape] = {
    "MinkUNet14A": MinkUNetShape(LAYERS_14, (32, 64, 128, 256, 128, 128, 96, 96)),
    "MinkUNet14B": MinkUNetShape(LAYERS_14, (32, 64, 128, 256, 128, 128, 128, 128)),
    "MinkUNet14C": MinkUNetShape(LAYERS_14, (32, 64, 128, 256, 192, 192, 128, 128)),
    "MinkUNet14D": MinkUNetShape(LAYERS_14, (32, 64, 128, 256, 384, 384, 384, 384)),
    "MinkUNet18A": MinkUNetShape(LAYERS_18, (32, 64, 128, 256, 128, 128, 96, 96)),
    "MinkUNet18B": MinkUNetShape(LAYERS_18, (32, 64, 128, 256, 128, 128, 128, 128)),
    "MinkUNet18D": MinkUNetShape(LAYERS_18, (32, 64, 128, 256, 384, 384, 384, 384)),
    "MinkUNet34A": MinkUNetShape(LAYERS_34, (32, 64, 128, 256, 256, 128, 64, 64)),
    "MinkUNet34B": MinkUNetShape(LAYERS_34, (32, 64, 128, 256, 256, 128, 64, 32)),
    "MinkUNet34C": MinkUNetShape(LAYERS_34, (32, 64, 128, 256, 256, 128, 96, 96)),
}
"""Variants of MinkowskiEngine's `examples/minkunet.py`; the paper's MinkowskiNet34 is taken to be MinkUNet34C."""
