"""Settings of the two networks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from labelfree.config.architectures import KERNELS, RESNETS, VARIANTS, MinkUNetShape
from labelfree.config.ranges import MAX_SIDE, MAX_WIDTH, Real, Whole, check_choice, check_ranges, check_sources
from labelfree.errors import InputError

MAX_RESNET_WIDTH, MAX_MINKUNET_WIDTH, MAX_TEXT_WIDTH = 512, 2048, 16_384
"""Wider networks take tens of gigabytes before they see an image."""


MIN_VOXEL_M = 1e-4
"""Finer voxels hold less than the noise of any sensor, and do not fit the keys of a large scene."""


@dataclass(frozen=True)
class Segmenter2DConfig:
    """DeepLabV3 and its heads."""

    backbone: str = "resnet50"
    """resnet18, resnet34, resnet50 or resnet101; the paper leaves the depth open."""
    width: int = 64
    """Channels of the backbone's first stage, a multiple of 8; 64 fits published weights."""
    output_stride: int = 8
    """Image pixels per feature: 8 or 16."""
    aspp_channels: int = 256
    """Width of the atrous pyramid and of the features the heads read."""
    dropout: float = 0.5
    """Dropout after the pyramid, as in torchvision."""
    text_width: int = 512
    """Width of the text embeddings."""
    latent_width: int = 64
    """Width of the latent features of Eq. 7."""
    image_size: tuple[int, int] | None = None
    """(height, width) the network was trained at, to which prediction resizes; None takes images as they are."""

    def __post_init__(self) -> None:
        check_choice(self, "networks.net_2d", backbone=RESNETS, output_stride=(8, 16, 32))
        check_ranges(
            self,
            "networks.net_2d",
            width=Whole(8, MAX_RESNET_WIDTH),
            aspp_channels=Whole(1, MAX_WIDTH),
            dropout=Real(0, 1, below=True),
            text_width=Whole(1, MAX_TEXT_WIDTH),
            latent_width=Whole(1, MAX_WIDTH),
            image_size=Whole(1, MAX_SIDE),
        )
        if self.width % 8:  # oneDNN writes out of bounds in a strided 1x1 convolution of fewer (AVX2, one thread)
            raise InputError(f"networks.net_2d.width is {self.width}: give a multiple of 8.")

    def with_inputs(self, image_size: tuple[int, int], text_width: int) -> Segmenter2DConfig:
        """Return the configuration for images of a size and text embeddings of a width."""
        return replace(self, image_size=image_size, text_width=text_width)


@dataclass(frozen=True)
class Segmenter3DConfig:
    """MinkowskiNet and its heads."""

    variant: str = "MinkUNet34C"
    """A name of MinkowskiEngine's family: MinkUNet14A, MinkUNet18A, MinkUNet34C and others."""
    planes: tuple[int, ...] | None = None
    """Eight stage widths in place of the variant's own."""
    first_width: int = 32
    """Width of the first convolution."""
    first_kernel: int = 5
    """Kernel of the first convolution: 5 in MinkowskiEngine's nets, 3 in CLIP2Scene's."""
    in_channels: int = 3
    """Input features per point: 3 for colour in 0..1, 1 for lidar intensity."""
    voxel_m: float = 0.05
    """Edge of a voxel in metres: 0.05 for ScanNet, 0.1 for nuScenes."""
    texture: bool = False
    """Read the standard deviation of the features inside each voxel beside their mean, which large voxels call for; off
    in the paper."""
    text_width: int = 512
    """Width of the text embeddings."""
    latent_width: int = 64
    """Width of the latent features of Eq. 7."""

    def __post_init__(self) -> None:
        check_choice(self, "networks.net_3d", variant=VARIANTS)
        check_ranges(
            self,
            "networks.net_3d",
            planes=Whole(1, MAX_MINKUNET_WIDTH),
            first_width=Whole(1, MAX_MINKUNET_WIDTH),
            in_channels=Whole(1, MAX_MINKUNET_WIDTH),
            voxel_m=Real(MIN_VOXEL_M, 1000),
            text_width=Whole(1, MAX_TEXT_WIDTH),
            latent_width=Whole(1, MAX_WIDTH),
        )
        check_choice(self, "networks.net_3d", first_kernel=KERNELS)
        self.shape()

    def with_inputs(self, in_channels: int, text_width: int) -> Segmenter3DConfig:
        """Return the configuration for point features and text embeddings of these widths."""
        return replace(self, in_channels=in_channels, text_width=text_width)

    def input_channels(self) -> int:
        """Return the width of what the network reads of a voxel."""
        return self.in_channels * (2 if self.texture else 1)

    def shape(self) -> MinkUNetShape:
        """Return blocks and widths of the network."""
        named = VARIANTS[self.variant]
        planes = named.planes if self.planes is None else tuple(self.planes)
        return MinkUNetShape(named.layers, planes, self.first_width, self.first_kernel)


@dataclass(frozen=True)
class NetworkConfig:
    """The two networks and where they start."""

    net_2d: Segmenter2DConfig = field(default_factory=Segmenter2DConfig)
    """DeepLabV3."""
    net_3d: Segmenter3DConfig = field(default_factory=Segmenter3DConfig)
    """MinkowskiNet."""
    backbone_weights: str | None = None
    """ResNet weights (torchvision's names) the 2D network starts from: a safetensors file, a folder, a hub name, or
    `lab` or `streets`. The paper starts from ImageNet; None starts at random."""
    backbone_weights_3d: str | None = None
    """MinkUNet weights (MinkowskiEngine's names) the 3D network starts from, given likewise. None, the paper's choice,
    starts at random."""

    def __post_init__(self) -> None:
        check_sources(self, "networks", "backbone_weights", "backbone_weights_3d")
