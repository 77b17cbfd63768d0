"""Filter masks at the resolution of the image in the order of SAM's official everything mode, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from labelfree.config.teachers import SamOptions
from labelfree.teachers.everything_mode import MaskCandidates, box_overlap, greedy_suppression

BITS = 8

BAND = 64
"""Rows or columns of the image that are interpolated by one product."""

CPU_PIXELS, DEVICE_PIXELS = 1 << 20, 1 << 26
"""Pixels of masks at the image's resolution that are held at once: on a CPU few, so that they stay in its cache."""


@dataclass(frozen=True)
class ExactMasks:
    """T masks at the resolution of the image, one bit per pixel."""

    bits: Tensor
    """[T, ceil(H W / 8)] uint8; pixel p is bit p // n of byte p % n, where n is the number of bytes."""
    size: tuple[int, int]
    """(H, W)."""
    areas: Tensor
    """[T] int64 pixels."""
    boxes: Tensor
    """[T, 4] int64 x0, y0, x1, y1 of the first and last pixels; zeros for an empty mask."""
    scores: Tensor
    """[T] predicted IoU."""

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, which: Tensor) -> ExactMasks:  # [T] bool or [S] int64
        """Return the chosen masks."""
        return ExactMasks(self.bits[which], self.size, self.areas[which], self.boxes[which], self.scores[which])

    def chunks(self) -> Iterator[Tensor]:  # [t, H, W] bool each
        """Yield the masks in order, unpacked."""
        for bits in self.bits.split(_at_once(self.size, self.bits.device)):
            planes = torch.cat([_plane(bits, place) for place in range(BITS)], dim=1)
            yield planes[:, : self.size[0] * self.size[1]].view(torch.bool).unflatten(1, self.size)

    def sampled(self, size: tuple[int, int]) -> Iterator[Tensor]:  # [t, *size] bool each
        """Yield the masks in order, read at the pixel centres of an image of another size."""
        rows, columns = (
            (2 * torch.arange(new, device=self.bits.device) + 1) * old // (2 * new) for old, new in zip(self.size, size)
        )
        for masks in self.chunks():
            yield masks if size == self.size else masks[:, rows][:, :, columns]

    @classmethod
    def join(cls, parts: list[ExactMasks]) -> ExactMasks:
        """Concatenate parts of one image in order."""
        columns = ([getattr(part, name) for part in parts] for name in ("bits", "areas", "boxes", "scores"))
        bits, areas, boxes, scores = (torch.cat(column) for column in columns)
        return cls(bits, parts[0].size, areas, boxes, scores)


class Upsampling:
    """SAM's two bilinear steps from the decoder's masks to the image: to the padded square, then its part to the image.

    Both steps along one axis are one matrix with few entries per row, applied in bands.
    """

    def __init__(
        self, low: int, side: int, input_size: tuple[int, int], image_size: tuple[int, int], device: torch.device
    ) -> None:
        self.size = image_size
        self.rows, self.columns = (
            _bands(_two_steps(low, side, within, pixels).to(device)) for within, pixels in zip(input_size, image_size)
        )

    @property
    def needed(self) -> tuple[int, int]:
        """Return how many rows and columns of the decoder's masks the image depends on."""
        return self.rows[-1][1].stop, self.columns[-1][1].stop

    def __call__(self, logits: Tensor) -> Tensor:  # [t, h, w] float32 -> [t, H, W]
        """Interpolate the logits of masks, of which only the `needed` rows and columns are given."""
        wide = logits.new_empty(*logits.shape[:2], self.size[1])
        for columns, cells, matrix in self.columns:
            wide[:, :, columns] = logits[:, :, cells] @ matrix.T
        full = logits.new_empty(len(logits), *self.size)
        for rows, cells, matrix in self.rows:
            full[:, rows] = matrix @ wide[:, cells]
        return full


def filter_exactly(candidates: MaskCandidates, upsampling: Upsampling, options: SamOptions) -> ExactMasks:
    """Drop masks by stability and area at the resolution of the image, each mask on its own."""
    at_once = _at_once(upsampling.size, candidates.logits.device)
    parts = zip(candidates.logits.split(at_once), candidates.scores.split(at_once))
    return ExactMasks.join([_filtered(upsampling(logits), scores, options) for logits, scores in parts])


def suppress_exactly(masks: ExactMasks, options: SamOptions) -> ExactMasks:
    """Drop masks that duplicate a better one, by box overlap and optionally by mask overlap; best first."""
    masks = masks.take(torch.sort(masks.scores, descending=True, stable=True).indices)
    if options.box_nms_threshold > 0:
        blocks = masks.boxes.split(max(1, CPU_PIXELS // max(1, len(masks))))
        too_close = [box_overlap(block, masks.boxes) > options.box_nms_threshold for block in blocks]
        masks = masks.take(greedy_suppression(torch.cat(too_close)))
    if options.mask_nms_threshold > 0:
        masks = masks.take(greedy_suppression(_mask_overlap(masks) > options.mask_nms_threshold))
    return masks


def count_above(logits: Tensor, threshold: float) -> Tensor:  # [t, H, W] -> [t] int64
    """Return the number of pixels above a threshold."""
    above = torch.empty_like(logits)
    torch.gt(logits, threshold, out=above)  # as float32, which is summed ten times faster than bool
    return above.sum(dim=-1).long().sum(dim=-1)


def last_pixel_boxes(logits: Tensor) -> Tensor:  # [t, H, W] -> [t, 4] int64
    """Return x0, y0, x1, y1 of the first and last pixels above 0; zeros for an empty mask."""
    columns, rows = ((logits.amax(dim=side) > 0).to(torch.uint8) for side in (-2, -1))
    starts = [line.argmax(dim=-1) for line in (columns, rows)]
    ends = [line.shape[-1] - 1 - line.flip(-1).argmax(dim=-1) for line in (columns, rows)]
    return torch.stack([*starts, *ends], dim=-1) * rows.any(dim=-1, keepdim=True)


def pack(masks: Tensor) -> Tensor:  # [t, P] bool -> [t, ceil(P / 8)] uint8
    """Return masks with one bit per pixel; see `ExactMasks.bits`."""
    count = -(-masks.shape[1] // BITS)
    padded = functional.pad(masks.view(torch.uint8), (0, count * BITS - masks.shape[1]))
    packed = padded[:, :count].clone()
    for place in range(1, BITS):
        packed |= padded[:, place * count : (place + 1) * count] << place
    return packed


def _filtered(logits: Tensor, scores: Tensor, options: SamOptions) -> ExactMasks:  # [t, H, W], [t]
    size = (logits.shape[-2], logits.shape[-1])
    if options.stability_threshold > 0:
        inner = count_above(logits, options.stability_offset)
        outer = count_above(logits, -options.stability_offset)
        stable = inner / outer >= options.stability_threshold  # 0 / 0 is no number and drops the mask
        logits, scores = logits[stable], scores[stable]
    areas = count_above(logits, 0.0)
    masks = ExactMasks(pack((logits > 0).flatten(1)), size, areas, last_pixel_boxes(logits), scores)
    if options.min_area_fraction > 0:
        masks = masks.take(areas >= options.min_area_fraction * size[0] * size[1])
    return masks


def _mask_overlap(masks: ExactMasks) -> Tensor:  # [T, T] IoU
    shared = torch.zeros(len(masks), len(masks), dtype=torch.float64, device=masks.bits.device)
    for place in range(BITS):
        for bits in masks.bits.split(max(1, CPU_PIXELS // max(1, len(masks))), dim=1):
            plane = _plane(bits, place).float()
            shared += plane @ plane.T
    return shared / (masks.areas[:, None] + masks.areas[None] - shared).clamp_min(1)


def _plane(bits: Tensor, place: int) -> Tensor:  # [t, n] uint8
    return (bits >> place) & 1


def _at_once(size: tuple[int, int], device: torch.device) -> int:
    pixels = CPU_PIXELS if device.type == "cpu" else DEVICE_PIXELS
    return max(1, pixels // (size[0] * size[1]))


def _interpolation(old: int, new: int) -> Tensor:  # [new, old] float64
    """Return the matrix of torch's bilinear interpolation along one axis."""
    identity = torch.eye(old)[None, None]
    return functional.interpolate(identity, size=(new, old), mode="bilinear", align_corners=False)[0, 0].double()


def _two_steps(low: int, side: int, within: int, pixels: int) -> Tensor:  # [pixels, low] float32
    """Return the matrix of both steps: `low` cells to `side`, of which the first `within` become `pixels`."""
    return (_interpolation(within, pixels) @ _interpolation(low, side)[:within]).float()


def _bands(matrix: Tensor) -> list[tuple[slice, slice, Tensor]]:  # [out, in]
    """Return blocks of rows, each with the columns that it uses."""
    bands = []
    for start in range(0, len(matrix), BAND):
        rows = matrix[start : start + BAND]
        used = rows.any(dim=0).nonzero()[:, 0].tolist()
        cells = slice(used[0], used[-1] + 1)
        bands.append((slice(start, start + len(rows)), cells, rows[:, cells].contiguous()))
    return bands
