"""Photographs with tags for the lab's teachers: crops of rendered images and the set of classes visible in each.

Class maps are used for two purposes only: to centre a crop on an object, as a photographer does, and to list the
classes that cover enough of it. The functions return images and tags, never dense labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from labelfree.errors import InputError

Rng = np.random.Generator
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class Images(Protocol):
    """Anything that holds n images of equal size."""

    @property
    def images(self) -> NDArray[np.uint8]:  # [n, H, W, 3]
        """Return the images."""


@dataclass(frozen=True)
class TaggedPictures:
    """A corpus of n images and, per class, the images that show it."""

    images: NDArray[np.uint8]  # [n, H, W, 3]
    classes: NDArray[np.uint8]  # [n, H, W], 255 = none of the K classes
    shows: tuple[NDArray[np.int64], ...]  # per class, the indices of images where it covers min_share or more

    @classmethod
    def index(
        cls, images: NDArray[np.uint8], classes: NDArray[np.uint8], class_count: int, min_share: float = 0.01
    ) -> TaggedPictures:
        """Return a corpus after listing the images of each class; raise an `InputError` if its arrays do not fit."""
        if len(images) != len(classes) or images.shape[1:3] != classes.shape[1:]:
            raise InputError(
                f"The corpus has images {images.shape} but class maps {classes.shape}: write it again with "
                "`python -m labelfree_lab.teachers.corpus`."
            )
        blocks = [tag_shares(classes[start : start + 512], class_count) for start in range(0, len(classes), 512)]
        shares = np.concatenate(blocks)
        return cls(images, classes, tuple(np.flatnonzero(shares[:, k] >= min_share) for k in range(class_count)))


@dataclass(frozen=True)
class Windows:
    """B rectangles, each in one image of the corpus, in pixels."""

    picture: NDArray[np.int64]  # [B]
    top: NDArray[np.int64]  # [B]
    left: NDArray[np.int64]  # [B]
    height: NDArray[np.int64]  # [B]
    width: NDArray[np.int64]  # [B]

    def places(self) -> list[tuple[int, slice, slice]]:
        """Return the index of each window in the corpus' arrays."""
        return [
            (int(n), slice(top, top + height), slice(left, left + width))
            for n, top, left, height, width in zip(self.picture, self.top, self.left, self.height, self.width)
        ]


def tag_shares(
    classes: NDArray[np.uint8],  # [B, ...]
    class_count: int,
) -> NDArray[np.float32]:  # [B, K]
    """Return the share of the pixels that each class covers."""
    flat = classes.reshape(len(classes), -1).astype(np.int64)
    keys = np.minimum(flat, class_count) + np.arange(len(flat))[:, None] * (class_count + 1)
    counts = np.bincount(keys.ravel(), minlength=len(flat) * (class_count + 1)).reshape(len(flat), -1)
    return (counts[:, :class_count] / flat.shape[1]).astype(np.float32)


def aim_at_objects(rng: Rng, pictures: TaggedPictures, count: int, sides: tuple[int, int]) -> Windows:
    """Return random square windows, each around a point of a class; all classes are equally frequent."""
    present = [k for k, members in enumerate(pictures.shows) if len(members)]
    aimed = np.asarray(present)[rng.integers(len(present), size=count)]
    picture = np.asarray([_one_of(rng, pictures.shows[k]) for k in aimed])
    place = np.asarray([_one_of(rng, np.flatnonzero(pictures.classes[n] == k)) for n, k in zip(picture, aimed)])
    height, width = pictures.classes.shape[1:]
    side = np.exp(rng.uniform(np.log(sides[0]), np.log(sides[1]), count)).round().astype(np.int64)
    top = np.clip(place // width - side // 2, 0, height - side)
    left = np.clip(place % width - side // 2, 0, width - side)
    return Windows(picture, top, left, side, side)


def _one_of(rng: Rng, candidates: NDArray[np.int64]) -> int:
    return int(candidates[rng.integers(len(candidates))])


def read_tags(
    pictures: TaggedPictures, windows: Windows, min_share: float
) -> NDArray[np.bool_]:  # [B, K], at least one per window that shows any class
    """Return the classes that cover `min_share` or more of each window; the largest class always counts."""
    cuts = (pictures.classes[place].reshape(1, -1) for place in windows.places())
    shares = np.concatenate([tag_shares(cut, len(pictures.shows)) for cut in cuts])
    largest = shares == shares.max(1, keepdims=True)
    return np.asarray((shares >= min_share) | (largest & (shares > 0)))


def cut_out(
    pictures: Images,
    windows: Windows,
    size: tuple[int, int],
    flip: NDArray[np.bool_],  # [B]
) -> Tensor:  # [B, 3, *size] float32 in 0..1
    """Return the windows cut out of their images and resized, mirrored where `flip` is set."""
    cuts = []
    for place, mirrored in zip(windows.places(), flip):
        cut = torch.from_numpy(pictures.images[place].copy()).permute(2, 0, 1)[None]
        cut = functional.interpolate(cut, size, mode="bilinear", antialias=True)
        cuts.append(cut.flip(-1) if mirrored else cut)
    return torch.cat(cuts) / 255


def jitter_colours(
    images: Tensor,  # [B, 3, H, W] in 0..1
    generator: torch.Generator,
    strength: float = 0.3,
) -> Tensor:  # [B, 3, H, W] in 0..1
    """Return images with random saturation, contrast, brightness and tint, applied as one matrix per image."""

    def factors(channels: int, spread: float) -> Tensor:
        return 1 + spread * (2 * torch.rand(len(images), channels, 1, generator=generator) - 1)

    saturation, contrast = factors(1, strength), factors(1, strength)
    gain = factors(1, strength) * factors(3, strength / 4)
    matrix = contrast * (saturation * torch.eye(3) + (1 - saturation) / 3)
    middle = (1 - contrast) * images.mean((1, 2, 3)).view(-1, 1, 1)
    return torch.baddbmm(gain * middle, gain * matrix, images.flatten(2)).clamp_(0, 1).view_as(images)


def normalise(images: Tensor) -> Tensor:  # [B, 3, H, W] 0..1 -> CLIP's mean 0, deviation 1
    """Return images minus CLIP's mean, divided by its standard deviation."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return (images - mean) / std


@dataclass(frozen=True)
class CaptionBatch:
    """B photographs with one caption each."""

    pixels: Tensor  # [B, 3, 64, 64] in 0..1
    tokens: Tensor  # [B, L] int64
    single: Tensor  # [K, L] int64: one sentence for each class alone
    named: Tensor  # [B, K] bool: what each caption names
    visible: Tensor  # [B, K] bool: the tags
    maps: Tensor  # [B, K, h, w] the tag network's activation maps
    prior: Tensor  # [K] share of each class over all places of the maps
    true_of: Tensor  # [B images, B captions] bool: the caption names only classes of the image
