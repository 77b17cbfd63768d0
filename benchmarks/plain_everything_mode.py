"""A plain implementation of SAM's everything mode in the official order of operations, as a reference.

It follows `SamAutomaticMaskGenerator` of segment-anything with its defaults (one crop, no removal of small regions):
64 prompts at a time go through the whole decoder, all masks are upsampled twice, filtered at the resolution of the
image, stored as run lengths, and duplicates are suppressed by boxes at the end. It uses nothing of `labelfree` but the
options.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from labelfree.config.teachers import SamOptions

PIXEL_MEAN, PIXEL_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass
class PlainMasks:
    """The masks of one image, best predicted IoU first after `suppress`."""

    runs: list[NDArray[np.int64]] = field(default_factory=list)
    """Run lengths in column-major order, the first of pixels outside."""
    boxes: list[list[int]] = field(default_factory=list)
    """x0, y0, x1, y1 of the first and last pixels."""
    scores: list[float] = field(default_factory=list)

    def unpacked(self, size: tuple[int, int]) -> Tensor:  # [T, H, W] bool
        """Return all masks as pixels."""
        masks = np.zeros((len(self.runs), size[0] * size[1]), dtype=np.bool_)
        for mask, runs in zip(masks, self.runs):
            ends = np.cumsum(runs)
            for start, end in zip(ends[::2], ends[1::2]):
                mask[start:end] = True
        return torch.from_numpy(masks.reshape(-1, size[1], size[0]).transpose(0, 2, 1).copy())


def input_size(side: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of an image whose long side is that of SAM's input."""
    scale = side * 1.0 / max(size)
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


@torch.inference_mode()
def encode(model: Any, image: NDArray[np.uint8]) -> Tensor:  # [H, W, 3] -> [1, C, s, s]
    """Resize with Pillow, normalise, pad and encode an image."""
    side = model.config.vision_config.image_size
    height, width = input_size(side, (image.shape[0], image.shape[1]))
    resized = np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    pixels = torch.from_numpy(resized).permute(2, 0, 1)[None].float()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    padded = functional.pad((pixels - mean) / std, (0, side - width, 0, side - height))
    neck: Tensor = model.vision_encoder(padded).last_hidden_state
    return neck


@torch.inference_mode()
def everything(
    model: Any, neck: Tensor, size: tuple[int, int], options: SamOptions, points: Tensor | None = None
) -> PlainMasks:
    """Return the masks of an encoded image of (height, width) `size`; `points` replace the grid for timing."""
    found = PlainMasks()
    points = grid(options.points_per_side) if points is None else points
    for batch in points.split(options.points_per_batch):
        _batch(model, neck, size, batch, options, found)
    return suppress(found, options.box_nms_threshold)


def grid(points_per_side: int) -> Tensor:  # [n * n, 2] (x, y) in 0..1
    """Return the official grid."""
    offset = 1 / (2 * points_per_side)
    line = np.linspace(offset, 1 - offset, points_per_side)
    columns = np.tile(line[None, :], (points_per_side, 1))
    rows = np.tile(line[:, None], (1, points_per_side))
    return torch.from_numpy(np.stack([columns, rows], axis=-1).reshape(-1, 2))


def decode(model: Any, neck: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:  # [B, 2] -> [B, 3, s, s], [B, 3]
    """Return the low-resolution logits and predicted IoUs of one point per prompt, in pixels of the padded square."""
    sparse, dense = model.prompt_encoder(
        input_points=points[None, :, None],
        input_labels=torch.ones(1, len(points), 1, dtype=torch.int64),
        input_boxes=None,
        input_masks=None,
    )
    logits, scores = model.mask_decoder(
        image_embeddings=neck,
        image_positional_embeddings=model.get_image_wide_positional_embeddings(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
    )
    return logits[0], scores[0]


def upsample(model: Any, logits: Tensor, size: tuple[int, int]) -> Tensor:  # [B, 3, s, s] -> [B, 3, H, W]
    """Return logits at the resolution of the image: to the padded square, crop, to the image."""
    side = model.config.vision_config.image_size
    height, width = input_size(side, size)
    square = functional.interpolate(logits, (side, side), mode="bilinear", align_corners=False)
    return functional.interpolate(square[..., :height, :width], size, mode="bilinear", align_corners=False)


def _batch(
    model: Any, neck: Tensor, size: tuple[int, int], points: Tensor, options: SamOptions, found: PlainMasks
) -> None:
    """Decode, filter and store the masks of a batch of points."""
    side = model.config.vision_config.image_size
    height, width = input_size(side, size)
    scaled = points * torch.tensor([size[1], size[0]]) * torch.tensor([width / size[1], height / size[0]]).double()
    low, predicted = decode(model, neck, scaled)
    masks, scores = upsample(model, low, size).flatten(0, 1), predicted.flatten()
    if options.pred_iou_threshold > 0:
        keep = scores > options.pred_iou_threshold
        masks, scores = masks[keep], scores[keep]
    stability = stability_score(masks, options.stability_offset)
    if options.stability_threshold > 0:
        keep = stability >= options.stability_threshold
        masks, scores = masks[keep], scores[keep]
    inside = masks > 0
    found.boxes += [box_of(mask) for mask in inside]
    found.scores += scores.tolist()
    found.runs += [run_lengths(mask) for mask in inside]


def stability_score(masks: Tensor, offset: float) -> Tensor:  # [T, H, W] -> [T]
    """Return the IoU of masks cut at +offset and -offset."""
    inner = (masks > offset).sum(-1, dtype=torch.int16).sum(-1, dtype=torch.int32)
    outer = (masks > -offset).sum(-1, dtype=torch.int16).sum(-1, dtype=torch.int32)
    return inner / outer


def box_of(mask: Tensor) -> list[int]:  # [H, W] bool
    """Return x0, y0, x1, y1 of the first and last pixels; zeros for an empty mask."""
    rows, columns = mask.any(dim=1).nonzero().flatten(), mask.any(dim=0).nonzero().flatten()
    if not len(rows):
        return [0, 0, 0, 0]
    return [int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])]


def run_lengths(mask: Tensor) -> NDArray[np.int64]:  # [H, W] bool
    """Return the lengths of runs in column-major order, the first of pixels outside."""
    flat = mask.T.flatten()
    changes = (flat[1:] ^ flat[:-1]).nonzero().flatten().numpy() + 1
    edges = np.concatenate([[0], changes, [len(flat)]])
    lengths = np.diff(edges)
    return np.concatenate([[0], lengths]) if bool(flat[0]) else lengths


def suppress(found: PlainMasks, threshold: float) -> PlainMasks:
    """Keep masks greedily by predicted IoU, unless a kept one has a box IoU above the threshold."""
    boxes = torch.tensor(found.boxes, dtype=torch.float32).reshape(-1, 4).numpy()
    order = np.argsort(-np.array(found.scores, dtype=np.float32), kind="stable")
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    for index in order.tolist():
        others = boxes[kept]
        width = np.minimum(others[:, 2], boxes[index, 2]) - np.maximum(others[:, 0], boxes[index, 0])
        height = np.minimum(others[:, 3], boxes[index, 3]) - np.maximum(others[:, 1], boxes[index, 1])
        shared = width.clip(0) * height.clip(0)
        union = areas[kept] + areas[index] - shared
        if not (shared / np.maximum(union, 1e-9) > threshold).any():
            kept.append(index)
    return PlainMasks(
        [found.runs[index] for index in kept],
        [found.boxes[index] for index in kept],
        [found.scores[index] for index in kept],
    )
