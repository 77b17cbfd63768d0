"""Define the two trained networks with their heads: class logits by text embeddings, and latent features for Eq. 7."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from labelfree.config.networks import Segmenter2DConfig, Segmenter3DConfig
from labelfree.config.typed import typed
from labelfree.errors import InputError
from labelfree.nets.deeplabv3 import DeepLabV3, load_published
from labelfree.nets.minkunet import ENTRANCE, MinkUNet, load_trunk
from labelfree.nets.point_features import COLOUR_CHANNELS, input_name
from labelfree.nets.resnet import ResNet
from labelfree.nets.sparse.sums import blend_rows
from labelfree.nets.sparse.voxels import Voxels
from labelfree.vocabulary import Vocabulary
from labelfree.weights.stored import read_model, read_weights, write_model

TEXTURE_SCALE = 4.0
"""Factor that scales the spread of colours in a voxel to the range of the colours."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""ImageNet's colour statistics, which published backbones expect."""


Config = TypeVar("Config", Segmenter2DConfig, Segmenter3DConfig)


@dataclass(frozen=True, eq=False)
class Output2D:
    """The output of the 2D network for a batch of images."""

    logits: Tensor  # [B, K, H, W]
    latent: Tensor  # [B, D, h, w] theta_f(x), at the features' stride


@dataclass(frozen=True, eq=False)
class Output3D:
    """The output of the 3D network for a batch of voxels; `voxels.inverse` maps it to the points."""

    logits: Tensor  # [V, K]
    latent: Tensor  # [V, D] varphi_f(p)


class Segmenter(nn.Module):
    """The base class of both networks: frozen text embeddings as classifier, saving and loading."""

    kind = ""
    text_embeddings: Tensor  # [K, E] unit
    vocabulary: Vocabulary
    config: Segmenter2DConfig | Segmenter3DConfig

    def set_vocabulary(
        self,
        text_embeddings: Tensor,  # [K, E] unit
        vocabulary: Vocabulary,
    ) -> None:
        """Set the classes; their text embeddings are the classifier.

        Raises an `InputError` if the embeddings have another shape than classes and network require.
        """
        expected = (len(vocabulary), self.config.text_width)
        if tuple(text_embeddings.shape) != expected:
            raise InputError(
                f"text_embeddings are {tuple(text_embeddings.shape)}, expected {expected}: one row per class of the "
                "vocabulary, as wide as the CLIP the network was trained with."
            )
        held = getattr(self, "text_embeddings", None)
        device = text_embeddings.device if held is None else held.device
        self.register_buffer("text_embeddings", text_embeddings.detach().float().clone().to(device))
        self.vocabulary = vocabulary

    def backbone(self) -> nn.Module:
        """Return the backbone, the part that may start from given weights."""
        raise NotImplementedError

    def load_backbone(self, weights: str | Path) -> list[str]:
        """Load weights of the backbone from a file, a folder or a hub name; return the names that are left out."""
        raise NotImplementedError

    def _classifier(self, head: nn.Linear) -> tuple[Tensor, Tensor]:  # [K, D], [K]
        """Return weight and bias of head and text embeddings in one: text (W x + b) = (text W) x + text b."""
        return self.text_embeddings @ head.weight.float(), self.text_embeddings @ head.bias.float()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` (network, classes) and `model.safetensors`."""
        description = {
            "library": "labelfree",
            "network": self.kind,
            "config": asdict(self.config),
            "vocabulary": self.vocabulary.to_dict(),
        }
        write_model(folder, description, self.state_dict())

    @classmethod
    def from_pretrained(cls, folder_or_hub_id: str | Path) -> Self:
        """Load a network written by `save_pretrained`, from a folder or the hub, in evaluation mode.

        Raises an `InputError` if the files are missing or belong to another network.
        """
        description, weights, source = read_model(folder_or_hub_id)
        if description.get("network") != cls.kind or "text_embeddings" not in weights:
            raise InputError(f"{source}: network is {description.get('network')!r} but {cls.kind!r} is needed here.")
        vocabulary = Vocabulary.from_dict(description.get("vocabulary", {}), source)
        network = cls._build(description, weights["text_embeddings"], vocabulary, source)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise InputError(f"{source}: the weights do not fit the configuration; copy both files again.") from error
        return network.eval()

    @classmethod
    def _build(cls, description: Mapping[str, Any], text: Tensor, vocabulary: Vocabulary, source: str) -> Self:
        raise NotImplementedError


class Segmenter2D(Segmenter):
    """The 2D network: DeepLabV3 with heads theta_s (semantic) and theta_f (latent)."""

    kind = "segmenter_2d"
    config: Segmenter2DConfig
    image_mean: Tensor
    image_std: Tensor

    def __init__(self, config: Segmenter2DConfig, text_embeddings: Tensor, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config = config
        backbone = ResNet(config.backbone, config.width, config.output_stride)
        self.network = DeepLabV3(backbone, config.output_stride, config.aspp_channels, config.dropout)
        self.theta_s = nn.Linear(config.aspp_channels, config.text_width)
        self.theta_f = nn.Linear(config.aspp_channels, config.latent_width)
        self.register_buffer("image_mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("image_std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)
        self.set_vocabulary(text_embeddings, vocabulary)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def _build(cls, description: Mapping[str, Any], text: Tensor, vocabulary: Vocabulary, source: str) -> Self:
        return cls(_read_config(Segmenter2DConfig, description, source), text, vocabulary)

    def backbone(self) -> nn.Module:
        """Return the ResNet."""
        return self.network.backbone

    def load_backbone(self, weights: str | Path) -> list[str]:
        """Load published ResNet or DeepLabV3 weights (file, folder or hub name); return the names that are left out."""
        return load_published(self.network, read_weights(weights), str(weights))

    def features(
        self,
        images: Tensor,  # [B, 3, H, W] in 0..1
    ) -> Tensor:  # [B, D, h, w]
        """Return the features that both heads use."""
        normalised = (images - self.image_mean) / self.image_std
        features: Tensor = self.network(normalised.contiguous(memory_format=torch.channels_last))
        return features

    def forward(
        self,
        images: Tensor,  # [B, 3, H, W] in 0..1
    ) -> Output2D:
        """Run network and heads at the features' stride; only the K logits are upsampled to the image's size."""
        features = self.features(images)
        with _full_precision(features):
            coarse = _at_each_pixel(features.float(), *self._classifier(self.theta_s))
        size = (images.shape[-2], images.shape[-1])
        logits = functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
        return Output2D(logits, _at_each_pixel(features, self.theta_f.weight, self.theta_f.bias))

    def semantic_features(
        self,
        images: Tensor,  # [B, 3, H, W] in 0..1
    ) -> Tensor:  # [B, E, h, w]
        """Return theta_s of the features in CLIP's text space; their dot product with a text embedding is its logit."""
        features = self.features(images)
        with _full_precision(features):
            return _at_each_pixel(features.float(), self.theta_s.weight, self.theta_s.bias)


class Segmenter3D(Segmenter):
    """The 3D network: MinkowskiNet with heads varphi_s (semantic) and varphi_f (latent)."""

    kind = "segmenter_3d"
    config: Segmenter3DConfig

    def __init__(self, config: Segmenter3DConfig, text_embeddings: Tensor, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config = config
        self.network = MinkUNet(config.input_channels(), config.shape())
        self.varphi_s = nn.Linear(self.network.out_width, config.text_width)
        self.varphi_f = nn.Linear(self.network.out_width, config.latent_width)
        self.set_vocabulary(text_embeddings, vocabulary)

    @classmethod
    def _build(cls, description: Mapping[str, Any], text: Tensor, vocabulary: Vocabulary, source: str) -> Self:
        return cls(_read_config(Segmenter3DConfig, description, source), text, vocabulary)

    def features(self, voxels: Voxels) -> Tensor:  # [V, D]
        """Return the features that both heads use."""
        if voxels.features.shape[1] != self.config.in_channels:
            raise InputError(
                f"The 3D network was trained on {input_name(self.config.in_channels)}, but the points have "
                f"{input_name(voxels.features.shape[1])}: give points with the features that it was trained on."
            )
        features: Tensor = self.network(voxel_features(voxels, self.config), voxels.geometry)
        return features

    def backbone(self) -> nn.Module:
        """Return the MinkUNet."""
        return self.network

    def load_backbone(self, weights: str | Path) -> list[str]:
        """Load weights of a MinkUNet of the same shape (file, folder, hub name); return the names that are left out.

        The first convolution is left out if the points have no colour and the weights have other input features.
        """
        tensors, kernel = read_weights(weights), f"{ENTRANCE}.kernel"
        fits = kernel not in tensors or tensors[kernel].shape == self.network.state_dict()[kernel].shape
        colour = self.config.in_channels == COLOUR_CHANNELS
        return load_trunk(self.network, tensors, str(weights), entrance=colour or fits)

    def forward(self, voxels: Voxels) -> Output3D:
        """Run network and heads on every voxel."""
        features = self.features(voxels)
        with _full_precision(features):
            logits = functional.linear(features.float(), *self._classifier(self.varphi_s))
        return Output3D(logits, self.varphi_f(features))

    def semantic_features(self, voxels: Voxels) -> Tensor:  # [V, E]
        """Return varphi_s of the features in CLIP's text space."""
        features = self.features(voxels)
        with _full_precision(features):
            out: Tensor = self.varphi_s(features.float())
        return out


def _full_precision(features: Tensor) -> torch.autocast:
    """Return a context without autocast: logits need float32, because bfloat16 gives ties of near classes."""
    return torch.autocast(features.device.type, enabled=False)


def voxel_features(voxels: Voxels, config: Segmenter3DConfig) -> Tensor:  # [V, C] or [V, 2 C]
    """Return the 3D network's input: the mean of a voxel's point features and, with `texture`, their spread."""
    if not config.texture:
        return voxels.features
    return torch.cat([voxels.features, TEXTURE_SCALE * voxels.spread], dim=1)


def latent_at_pixels(
    latent: Tensor,  # [B, D, h, w]
    image: Tensor,  # [P] int64
    row: Tensor,  # [P] int64
    column: Tensor,  # [P] int64
    size: tuple[int, int],  # H, W
) -> Tensor:  # [P, D]
    """Sample latent maps bilinearly at pixel centres, with the values of maps upsampled to H x W."""
    batch, width, height, columns = latent.shape
    top, down = _grid_position(row, size[0], height)
    left, right = _grid_position(column, size[1], columns)
    corner = (image * height + top) * columns + left
    below, beside = columns * int(height > 1), int(columns > 1)
    index = torch.stack([corner, corner + beside, corner + below, corner + below + beside], dim=1)
    weight = torch.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right], dim=1)
    table = latent.float().permute(0, 2, 3, 1).reshape(batch * height * columns, width)
    return blend_rows(table, index, weight)


def _grid_position(pixel: Tensor, pixels: int, cells: int) -> tuple[Tensor, Tensor]:
    """Return the cell before each pixel centre and the fraction (0..1) of the way to the next cell."""
    position = ((pixel.float() + 0.5) * (cells / pixels) - 0.5).clamp(0, cells - 1)
    before = position.floor().clamp(max=max(cells - 2, 0))
    return before.long(), position - before


def _at_each_pixel(
    features: Tensor,  # [B, D, h, w]
    weight: Tensor,  # [O, D]
    bias: Tensor,  # [O]
) -> Tensor:  # [B, O, h, w]
    return functional.conv2d(features, weight[:, :, None, None], bias)


def _read_config(kind: type[Config], description: Mapping[str, Any], source: str) -> Config:
    settings = description.get("config")
    if not isinstance(settings, dict):
        raise InputError(f"{source}: 'config' is missing; give a folder that save_pretrained wrote.")
    unknown = sorted(set(settings) - {field.name for field in fields(kind)})
    if unknown:
        raise InputError(f"{source}: '{unknown[0]}' is not a setting of this version's networks; update labelfree.")
    return typed(kind, settings, source)
