"""Training targets of a tiny SAM: point prompts, masks and losses from class-agnostic instance maps.

Instance ids only state which pixels belong together; 0 marks pixels without an instance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Rng = np.random.Generator

NEAR = 3
"""Largest distance in patches between neighbouring tokens in the affinity loss."""


@dataclass(frozen=True)
class Prompts:
    """P points in each of B images and the instance of each point."""

    points: NDArray[np.float32]  # [B, P, 2] (x, y) in pixels
    instances: NDArray[np.int64]  # [B, P]


def draw_prompts(
    rng: Rng,
    instances: NDArray[np.uint16],  # [B, H, W]
    count: int,
    area_power: float = 0.5,
    least_pixels: int = 16,
) -> Prompts:
    """Return random pixels; the probability of an instance is proportional to its area to the power `area_power`."""
    flat = instances.reshape(len(instances), -1).astype(np.int64)
    places = np.stack([_draw_places(rng, row, count, area_power, least_pixels) for row in flat])
    width = instances.shape[-1]
    points = np.stack([places % width, places // width], -1).astype(np.float32)
    return Prompts(points, np.take_along_axis(flat, places, 1))


def _draw_places(
    rng: Rng, flat: NDArray[np.int64], count: int, area_power: float, least_pixels: int
) -> NDArray[np.int64]:
    areas = np.bincount(flat).astype(np.float64)
    weight = np.where(areas >= least_pixels, np.maximum(areas, 1) ** (area_power - 1), 0.0)
    weight[0] = 0.0
    cumulative = np.cumsum(weight[flat])
    if cumulative[-1] == 0:  # an image without instances
        return rng.integers(flat.size, size=count)
    places = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
    return np.minimum(places, flat.size - 1)


def instance_masks(
    instances: Tensor,  # [B, H, W] int64
    chosen: Tensor,  # [B, P] int64
    stride: int,
) -> Tensor:  # [B, P, H/stride, W/stride] float32 in 0..1
    """Return the share of each cell that the chosen instances cover."""
    masks = instances[:, None] == chosen[:, :, None, None]
    return functional.avg_pool2d(masks.float(), stride)


def token_instances(instances: Tensor, patch: int) -> Tensor:  # [B, H, W] -> [B, h*w]
    """Return the most frequent instance of every patch."""
    cells = functional.unfold(instances[:, None].float(), patch, stride=patch)  # ids are below 2^16: exact in float32
    return cells.mode(1).values.long()


def affinity_loss(
    features: Tensor,  # [B, D, h, w]
    owners: Tensor,  # [B, h*w] int64
    scale: Tensor,  # []
    shift: Tensor,  # []
) -> Tensor:
    """Return the binary cross-entropy of whether two tokens belong to one instance, by their cosine; chance is ln 2.

    Both answers weigh the same, once over all pairs and once over pairs of neighbours, which determine the borders.
    """
    rows, columns = features.shape[-2:]
    tokens = functional.normalize(features.flatten(2), dim=1)
    logits = scale * (tokens.transpose(1, 2) @ tokens) + shift
    same = owners[:, :, None] == owners[:, None, :]
    known = (owners > 0)[:, :, None] & (owners > 0)[:, None, :]
    loss = functional.softplus(torch.where(same, -logits, logits))
    near = _near_pairs(rows, columns, features.device)
    return (_balanced(loss, same, known) + _balanced(loss, same, known & near)) / 2


def _near_pairs(rows: int, columns: int, device: torch.device) -> Tensor:  # [h*w, h*w] bool
    index = torch.arange(rows * columns, device=device)
    row, column = index // columns, index % columns
    far = (row[:, None] - row).abs().maximum((column[:, None] - column).abs())
    return (far <= NEAR) & (far > 0)


def _balanced(loss: Tensor, same: Tensor, counted: Tensor) -> Tensor:
    yes, no = (same & counted).to(loss.dtype), (~same & counted).to(loss.dtype)
    return ((loss * yes).sum() / yes.sum().clamp(min=1) + (loss * no).sum() / no.sum().clamp(min=1)) / 2


@dataclass(frozen=True)
class MaskLosses:
    """The losses and IoUs of one batch of decoded masks."""

    masks: Tensor
    """[] loss of the best of the three masks, plus a small share of all."""
    scores: Tensor
    """[] squared error of the predicted IoU."""
    best_iou: Tensor
    """[] mean IoU of the best of the three masks."""
    picked_iou: Tensor
    """[] mean IoU of the mask with the highest predicted IoU."""


def mask_losses(
    logits: Tensor,  # [B, P, M, h, w]
    scores: Tensor,  # [B, P, M]
    targets: Tensor,  # [B, P, L, h, w] in 0..1
    share_for_all: float = 0.1,
) -> MaskLosses:
    """Return the losses of M masks per prompt against L true masks, such as the object and the part at the point.

    Every true mask counts the mask that fits it best, SAM's minimum over cross-entropy and dice. The predicted IoU of a
    mask is trained towards that with the true mask it fits best.
    """
    per_mask = torch.stack([mask_costs(logits, level) for level in targets.unbind(2)], 2)  # [B, P, L, M]
    with torch.no_grad():
        ious = torch.stack([hard_ious(logits, level) for level in targets.unbind(2)], 2)
        closest = ious.amax(2)
        picked = closest.gather(-1, scores.argmax(-1, keepdim=True))
    return MaskLosses(
        per_mask.min(-1).values.mean() + share_for_all * per_mask.amin(2).mean(),
        (scores - closest).square().mean(),
        ious.max(-1).values.mean(),
        picked.mean(),
    )


def mask_costs(logits: Tensor, targets: Tensor) -> Tensor:  # [B, P, M, h, w], [B, P, h, w] -> [B, P, M]
    """Return cross-entropy plus dice loss of each mask; with a focal loss, training collapsed to empty masks."""
    target = targets[:, :, None]
    inside = torch.sigmoid(logits)
    entropy = (functional.softplus(logits) - logits * target).mean((-2, -1))
    overlap = (inside * target).sum((-2, -1))
    dice = 1 - (2 * overlap + 1) / (inside.sum((-2, -1)) + target.sum((-2, -1)) + 1)
    return 2 * entropy + dice


def hard_ious(logits: Tensor, targets: Tensor) -> Tensor:  # [B, P, M, h, w], [B, P, h, w] -> [B, P, M]
    """Return the IoU of the masks above 0 with the targets above one half."""
    found, true = logits > 0, (targets > 0.5)[:, :, None]
    union = (found | true).sum((-2, -1))
    return (found & true).sum((-2, -1)) / union.clamp(min=1)
