"""Implement SAM's everything mode: a grid of point prompts, three filters, and one mask id per pixel (Eq. 3).

The filters here work at the decoder's low resolution (mode `fast`); `exact_masks` has those of mode `exact`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.config.teachers import SamOptions
from labelfree.errors import InputError

MAX_MASKS = 65535
"""Largest mask id, which is uint16."""


@dataclass(frozen=True)
class MaskCandidates:
    """T masks at the decoder's low resolution, cropped to the image."""

    logits: Tensor
    """[T, h, w]; above 0 is inside."""
    scores: Tensor
    """[T] predicted IoU."""

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, which: Tensor) -> MaskCandidates:  # [T] bool or [S] int64
        """Return the chosen masks."""
        return MaskCandidates(self.logits[which], self.scores[which])

    def halved(self) -> MaskCandidates:
        """Return the masks with float16 logits, because a grid without filters leaves thousands of masks."""
        return MaskCandidates(self.logits.half(), self.scores)

    @classmethod
    def join(cls, parts: list[MaskCandidates]) -> MaskCandidates:
        """Concatenate parts in order."""
        return cls(torch.cat([part.logits for part in parts]), torch.cat([part.scores for part in parts]))


def point_grid(points_per_side: int, dtype: torch.dtype = torch.float32) -> Tensor:  # [n * n, 2] (x, y) in 0..1
    """Return the centres of n x n equal cells of the image, row by row."""
    centres = (torch.arange(points_per_side, dtype=dtype) + 0.5) / points_per_side
    columns, rows = torch.meshgrid(centres, centres, indexing="xy")
    return torch.stack([columns, rows], dim=-1).reshape(-1, 2)


def stability_score(
    logits: Tensor,  # [T, h, w]
    offset: float,
) -> Tensor:  # [T] 0..1
    """Return the IoU of each mask thresholded at `offset` and at `-offset`; 0 for a mask empty at both."""
    inner = (logits > offset).sum(dim=(-1, -2))
    outer = (logits > -offset).sum(dim=(-1, -2))
    return inner / outer.clamp_min(1)


def mask_boxes(masks: Tensor) -> Tensor:  # [T, h, w] bool -> [T, 4] int64 x0, y0, x1, y1, x1 and y1 exclusive
    """Return the tight box around each mask; zeros for an empty mask."""
    columns, rows = masks.any(dim=-2), masks.any(dim=-1)
    edges = [side.to(torch.uint8).argmax(dim=-1) for side in (columns, rows)]
    ends = [side.shape[-1] - side.flip(-1).to(torch.uint8).argmax(dim=-1) for side in (columns, rows)]
    boxes = torch.stack([edges[0], edges[1], ends[0], ends[1]], dim=-1)
    return boxes * masks.flatten(1).any(dim=1, keepdim=True)


def box_overlap(boxes: Tensor, others: Tensor | None = None) -> Tensor:  # [S, 4], [T, 4] -> [S, T] IoU
    """Return the IoU of every pair of boxes, within one set or between two."""
    boxes = boxes.float()
    others = boxes if others is None else others.float()
    low = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = (high - low).clamp_min(0).prod(dim=-1)
    areas, other_areas = ((sides[:, 2:] - sides[:, :2]).prod(dim=-1) for sides in (boxes, others))
    return shared / (areas[:, None] + other_areas[None] - shared).clamp_min(1e-9)


def mask_overlap(masks: Tensor) -> Tensor:  # [T, h, w] bool -> [T, T] IoU
    """Return the IoU of every pair of masks."""
    flat = masks.flatten(1).float()
    shared = flat @ flat.T
    areas = flat.sum(dim=1)
    return shared / (areas[:, None] + areas[None] - shared).clamp_min(1)


def non_maximum_suppression(
    overlap: Tensor,  # [T, T] IoU
    scores: Tensor,  # [T]
    threshold: float,
) -> Tensor:  # [S] int64, best first
    """Return the indices of masks that no better kept mask overlaps by more than `threshold`; ties go by index."""
    order = torch.sort(scores, descending=True, stable=True).indices
    return order[greedy_suppression((overlap > threshold)[order][:, order])]


def greedy_suppression(too_close: Tensor) -> Tensor:  # [T, T] bool, best first -> [T] bool
    """Return which entries are kept if each kept entry drops all later ones that are too close to it.

    The matrix is copied to the CPU once, so that a GPU is not waited for entry by entry.
    """
    rows: NDArray[np.bool_] = too_close.cpu().numpy()
    kept = np.ones(len(rows), dtype=np.bool_)
    for rank, row in enumerate(rows):
        if kept[rank]:
            kept[rank + 1 :] &= ~row[rank + 1 :]
    return torch.from_numpy(kept).to(too_close.device)


def filter_masks(candidates: MaskCandidates, options: SamOptions) -> MaskCandidates:
    """Drop masks by predicted IoU, then by area, then by stability, each mask on its own."""
    if options.pred_iou_threshold > 0:
        candidates = candidates.take(candidates.scores > options.pred_iou_threshold)
    areas = (candidates.logits > 0).sum(dim=(-1, -2))
    smallest = options.min_area_fraction * candidates.logits.shape[-1] * candidates.logits.shape[-2]
    candidates = candidates.take((areas > 0) & (areas >= smallest))
    if options.stability_threshold > 0:
        stable = stability_score(candidates.logits, options.stability_offset) >= options.stability_threshold
        candidates = candidates.take(stable)
    return candidates


def suppress_duplicates(candidates: MaskCandidates, options: SamOptions) -> MaskCandidates:
    """Drop masks that duplicate a better one, by box overlap and optionally by mask overlap; best first."""
    candidates = candidates.take(torch.sort(candidates.scores, descending=True, stable=True).indices)
    if options.box_nms_threshold > 0:
        overlap = box_overlap(mask_boxes(candidates.logits > 0))
        candidates = candidates.take(non_maximum_suppression(overlap, candidates.scores, options.box_nms_threshold))
    if options.mask_nms_threshold > 0:
        overlap = mask_overlap(candidates.logits > 0)
        candidates = candidates.take(non_maximum_suppression(overlap, candidates.scores, options.mask_nms_threshold))
    return candidates


def paint_mask_ids(
    masks: Iterable[Tensor],  # chunks of [t, H, W] bool
    size: tuple[int, int],
    areas: Tensor | None = None,  # [T] int64
) -> Tensor:  # [H, W] uint16, 0 = no mask
    """Return for every pixel the id of the smallest mask that covers it (Eq. 3); hidden masks get no id.

    Ids run from 1 in order of descending area. Of masks with equal area the earlier one wins. Areas are those of the
    masks unless given, such as those of masks at another resolution.
    Raises an `InputError` if more than `MAX_MASKS` masks are visible.
    """
    nowhere = torch.iinfo(torch.int64).max
    winner = torch.full(size, nowhere, dtype=torch.int64)
    ranks: list[Tensor] = []  # area * 2^32 + index: the lowest rank wins a pixel, in any order of masks
    painted = 0
    for chunk in masks:
        winner = winner.to(chunk.device)
        order = torch.arange(painted, painted + len(chunk), device=chunk.device)
        painted += len(chunk)
        covered = chunk.flatten(1).sum(dim=1) if areas is None else areas[order]
        ranks.append((covered << 32) + order)
        for mask, rank in zip(chunk, ranks[-1]):
            winner = torch.where(mask, torch.minimum(winner, rank), winner)
    last = torch.tensor([nowhere], device=winner.device)
    ladder = torch.cat([*ranks, last]).sort().values
    places = torch.searchsorted(ladder, winner)
    visible = places.flatten().bincount(minlength=len(ladder)) > 0
    visible[-1] = False
    ids = visible.flip(0).cumsum(0).flip(0)  # the largest visible mask is 1; `nowhere` stays 0
    if int(ids[0]) > MAX_MASKS:
        raise InputError(f"{int(ids[0])} masks in one image: at most {MAX_MASKS} ids fit; use fewer points_per_side.")
    return ids[places].to(torch.uint16).cpu()
