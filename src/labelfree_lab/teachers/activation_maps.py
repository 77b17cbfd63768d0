"""Photographs with class activation maps of a network that was trained on tags alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from labelfree_lab.teachers.crops import TaggedPictures, Windows, aim_at_objects, cut_out, read_tags
from labelfree_lab.teachers.train_backbone import TagNet, normalise

Rng = np.random.Generator
MAGNIFIED = 128
"""Side in pixels to which photographs are enlarged for the tag network; its maps are finer and better than dilated."""


@dataclass(frozen=True, eq=False)
class Album:
    """P photographs with tags and activation maps, computed once and used for many steps."""

    windows: Windows
    visible: NDArray[np.bool_]  # [P, K] the tags
    maps: Tensor  # [P, K, h, w] float16 logits

    def __len__(self) -> int:
        return len(self.visible)

    @cached_property
    def prior(self) -> Tensor:  # [K]
        """Return the share of each class over all places of the maps."""
        total = sum(
            wanted_classes(maps.float(), torch.from_numpy(visible)).mean((0, 1)) * len(maps)
            for maps, visible in zip(self.maps.split(1024), np.array_split(self.visible, range(1024, len(self), 1024)))
        )
        return torch.as_tensor(total) / len(self)

    def some_windows(self, rows: NDArray[np.int64]) -> Windows:
        """Return the windows of a few photographs."""
        return Windows(*(values[rows] for values in vars(self.windows).values()))


def fill_album(
    rng: Rng,
    pictures: TaggedPictures,
    tag_net: TagNet,
    count: int,
    sides: tuple[int, int],
    min_share: float,
    at_once: int = 64,
) -> Album:
    """Return `count` photographs of objects with the tag network's activation maps."""
    windows = aim_at_objects(rng, pictures, count, sides)
    visible = read_tags(pictures, windows, min_share)
    album = Album(windows, visible, torch.empty(0))
    parts = np.array_split(np.arange(count), -(-count // at_once))
    maps = [
        activation_maps(
            tag_net,
            cut_out(pictures, album.some_windows(rows), (MAGNIFIED, MAGNIFIED), np.zeros(len(rows), bool)),
        )
        for rows in parts
    ]
    return Album(windows, visible, torch.cat(maps).half())


@torch.inference_mode()
def activation_maps(tag_net: TagNet, pixels: Tensor) -> Tensor:  # [B, 3, H, W] in 0..1 -> [B, K, h, w]
    """Return the tag network's logits of all classes at every place of its last map."""
    images = normalise(pixels).contiguous(memory_format=torch.channels_last)
    maps: Tensor = tag_net.classifier(tag_net.backbone(images)).float()
    return maps


def wanted_classes(
    maps: Tensor,  # [B, K, h, w] logits of the tag network
    visible: Tensor,  # [B, K] bool
) -> Tensor:  # [B, h * w, K]
    """Return the probabilities of the classes at each place of the maps; classes outside the tags have 0."""
    return maps.flatten(2).transpose(1, 2).masked_fill(~visible[:, None], -torch.inf).softmax(-1)


def map_loss(
    patches: Tensor,  # [B, n, E]
    texts: Tensor,  # [K, E] one sentence for each class
    scale: Tensor,
    maps: Tensor,  # [B, K, h, w] logits of the tag network
    visible: Tensor,  # [B, K] bool
    prior: Tensor,  # [K]
) -> Tensor:
    """Return the cross-entropy of each patch against the tag network's map.

    The prior is added to the cosines here and left out when labelling (logit adjustment). Otherwise frequent classes,
    wall and floor, would replace the rare ones.
    """
    side = round(patches.shape[1] ** 0.5)
    fine = functional.interpolate(maps.float(), (side, side), mode="bilinear", align_corners=False)
    cosines = functional.normalize(patches.float(), dim=-1) @ functional.normalize(texts.float(), dim=-1).T
    logits = scale * cosines + prior.clamp_min(1e-4).log()
    return -(wanted_classes(fine, visible) * logits.log_softmax(-1)).sum(-1).mean()
