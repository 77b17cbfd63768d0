"""Evaluation of a tiny SAM's raw masks on held-out images: a grid of points, no filters, class-agnostic instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.teachers.images import normalise, pad_bottom_right
from labelfree.teachers.sam import SAM_MEAN, SAM_STD
from labelfree_lab.teachers.sam_targets import hard_ious, instance_masks
from labelfree_lab.teachers.tiny_sam import decode_points, mask_stride, neck_features, padded_side, patch_of

if TYPE_CHECKING:
    from transformers import SamModel

LEAST_SHARE = 0.01
"""Smallest share of the image that an instance must cover to count."""


@dataclass(frozen=True)
class Probe:
    """Held-out images and their instance maps."""

    images: NDArray[np.uint8]  # [n, H, W, 3]
    instances: NDArray[np.uint16]  # [n, H, W]
    points_per_side: int = 8


@torch.inference_mode()
def probe_scores(model: SamModel, probe: Probe) -> dict[str, float]:
    """Return mean IoUs of the best and of the picked masks, and error and correlation of the predicted IoU."""
    rows = [_picture_scores(model, probe, n) for n in range(len(probe.images))]
    best, kept, picked, error, ranking = (np.concatenate([row[k] for row in rows]) for k in range(5))
    return {
        "best_iou": float(best.mean()),
        "best_iou_confident": float(kept.mean()),
        "picked_iou": float(picked.mean()),
        "score_error": float(error.mean()),
        "score_correlation": float(np.nanmean(ranking)),
    }


def _picture_scores(model: SamModel, probe: Probe, n: int) -> tuple[NDArray[np.float64], ...]:
    image = torch.from_numpy(probe.images[n]).permute(2, 0, 1)[None].float()
    height, width = image.shape[-2:]
    side, stride = padded_side((height, width), patch_of(model)), mask_stride(model)
    pixels = pad_bottom_right(normalise(image, SAM_MEAN, SAM_STD), (side, side))
    points = _grid(probe.points_per_side, height, width)
    logits, scores = decode_points(model, neck_features(model, pixels), points[None])
    logits = logits[..., : height // stride, : width // stride]
    ids = torch.from_numpy(probe.instances[n].astype(np.int64))
    owner = ids[points[:, 1].long(), points[:, 0].long()]
    own = hard_ious(logits, instance_masks(ids[None], owner[None], stride))[0]  # [P, 3]
    table = _iou_table(logits[0].flatten(0, 1), ids, stride)  # [3 P, T]
    confident = torch.where(scores.flatten()[:, None] > 0.5, table, 0.0)
    counted = owner > 0
    picked = own.gather(-1, scores[0].argmax(-1, keepdim=True))[counted, 0]
    error = (scores[0] - own).abs()[counted].flatten()
    pair = torch.stack([scores[0][counted].flatten(), own[counted].flatten()])
    tables = (table.amax(0), confident.amax(0), picked, error, torch.corrcoef(pair)[0, 1:])
    return tuple(part.double().numpy() for part in tables)


def _grid(side: int, height: int, width: int) -> Tensor:  # [side^2, 2] (x, y)
    steps = (torch.arange(side) + 0.5) / side
    return torch.cartesian_prod(steps * height, steps * width).flip(-1)


def _iou_table(logits: Tensor, ids: Tensor, stride: int) -> Tensor:  # [M, h, w], [H, W] -> [M, T]
    """Return the IoU of every mask with every instance above `LEAST_SHARE`."""
    names, areas = ids.unique(return_counts=True)
    names = names[(names > 0) & (areas > LEAST_SHARE * ids.numel())]
    true = (instance_masks(ids[None], names[None], stride)[0] > 0.5).flatten(1).float()
    found = (logits > 0).flatten(1).float()
    both = found @ true.T
    return both / (found.sum(1)[:, None] + true.sum(1) - both).clamp(min=1)
