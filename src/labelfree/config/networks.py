"""Settings of the two networks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from labelfree.config.architectures import KERNELS, RESNETS, VARIANTS, MinkUNetShape
from labelfree.config.ranges import MAX_SIDE, MAX_WIDTH, Real, Whole, check_choice, check_ranges, check_sources
from labelfree.errors import InputError

MAX_RESNET_WIDTH, MAX_MINKUNET_WIDTH, MAX_TEXT_WIDTH = 512, 2048, 16_384
"""Largest widths; wider networks take tens of gigabytes of memory for their weights alone."""


MIN_VOXEL_M = 1e-4
"""Smallest voxel edge in metres; finer voxels are below sensor noise and overflow the voxel keys of a large scene."""


@dataclass(frozen=True)
class Segmenter2DConfig:
    """The shape of the 2D network, DeepLabV3 with two heads.

    Raises an InputError if a value is out of range or `width` is no multiple of 8.
    """

    backbone: str = "resnet50"
    """ResNet of the 2D network; the paper does not state its depth."""
    width: int = 64
    """Channels of the backbone's first stage, a multiple of 8. Published weights need 64."""
    output_stride: int = 8
    """Image pixels per feature in each direction; the paper does not state it."""
    aspp_channels: int = 256
    """Channels of the atrous pyramid and of the features that the heads read; not stated in the paper."""
    dropout: float = 0.5
    """Dropout probability after the atrous pyramid: torchvision's value, not stated in the paper."""
    text_width: int = 512
    """Channels of the text embeddings. Training sets it from the text encoder; CLIP's are 512."""
    latent_width: int = 64
    """Channels of the latent features of Eq. 7."""
    image_size: tuple[int, int] | None = None
    """(height, width) in pixels at which the network was trained; prediction resizes images to it. Training sets it
    to `labels.image_size`; `null` keeps the size of each image."""

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
        """Return the configuration with this image size (height, width) and this width of text embeddings."""
        return replace(self, image_size=image_size, text_width=text_width)


@dataclass(frozen=True)
class Segmenter3DConfig:
    """The shape of the 3D network, MinkUNet with two heads.

    Raises an InputError if a value is out of range.
    """

    variant: str = "MinkUNet34C"
    """Variant of MinkowskiEngine's MinkUNet; the paper's MinkowskiNet34 is taken to be MinkUNet34C."""
    planes: tuple[int, ...] | None = None
    """Channels of the eight stages; `null` takes those of the variant."""
    first_width: int = 32
    """Channels of the first convolution."""
    first_kernel: int = 5
    """Kernel size of the first convolution, in voxels: 5 in MinkowskiEngine's networks, 3 in CLIP2Scene's."""
    in_channels: int = 3
    """Input features per point: 3 for colour in 0..1, 1 for LiDAR intensity. Training sets it from the data."""
    voxel_m: float = 0.05
    """Edge of a voxel in metres: 0.05 in recipe `scannet`, 0.1 in `nuscenes`; not stated in the paper."""
    texture: bool = False
    """Read the standard deviation of the features inside each voxel in addition to their mean; helps with large voxels.
    Not in the paper."""
    text_width: int = 512
    """Channels of the text embeddings. Training sets it from the text encoder; CLIP's are 512."""
    latent_width: int = 64
    """Channels of the latent features of Eq. 7."""

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
        """Return the configuration with these numbers of point features and of channels of text embeddings."""
        return replace(self, in_channels=in_channels, text_width=text_width)

    def input_channels(self) -> int:
        """Return the number of input channels per voxel."""
        return self.in_channels * (2 if self.texture else 1)

    def shape(self) -> MinkUNetShape:
        """Return the blocks and widths of the network. Raises an InputError if `planes` has not eight entries."""
        named = VARIANTS[self.variant]
        planes = named.planes if self.planes is None else tuple(self.planes)
        return MinkUNetShape(named.layers, planes, self.first_width, self.first_kernel)


@dataclass(frozen=True)
class NetworkConfig:
    """The two networks and their initial weights."""

    net_2d: Segmenter2DConfig = field(default_factory=Segmenter2DConfig)
    """The 2D network, DeepLabV3."""
    net_3d: Segmenter3DConfig = field(default_factory=Segmenter3DConfig)
    """The 3D network, MinkUNet."""
    backbone_weights: str | None = None
    """Initial ResNet weights with torchvision's names: a safetensors file, a folder, a hub name, or the lab's `rooms`
    or `streets`. `null` draws them at random; the paper starts from ImageNet weights."""
    backbone_weights_3d: str | None = None
    """Initial MinkUNet weights with MinkowskiEngine's names, given in the same ways. `null` draws them at random, as in
    the paper."""

    def __post_init__(self) -> None:
        check_sources(self, "networks", "backbone_weights", "backbone_weights_3d")
