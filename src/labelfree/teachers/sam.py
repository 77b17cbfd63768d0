"""Run the frozen SAM teacher: neck features and one mask id per pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from labelfree.config.teachers import SamOptions
from labelfree.errors import InputError
from labelfree.method.resample import resample
from labelfree.teachers.everything_mode import (
    MaskCandidates,
    filter_masks,
    paint_mask_ids,
    point_grid,
    suppress_duplicates,
)
from labelfree.teachers.exact_masks import ExactMasks, Upsampling, filter_exactly, suppress_exactly
from labelfree.teachers.images import Images, as_batch, normalise, pad_bottom_right, resize, resize_with_pillow
from labelfree.teachers.loading import autocast, combined_digest, load_pretrained, resolve_precision, weights_digest
from labelfree.teachers.mask_decoder import UPSCALING, MaskDecoder

if TYPE_CHECKING:
    from transformers import SamModel

__all__ = ["SamEmbedding", "SamOptions", "SamTeacher"]

SAM_MEAN = (123.675, 116.28, 103.53)
SAM_STD = (58.395, 57.12, 57.375)

CPU_TOKENS = 4 * 64 * 64
"""Image tokens times prompts per decoder call on a CPU; for a full-size SAM, 4 prompts take 40 % less time than 16."""

CPU_TOKENS_SHARED = 8 * 64 * 64
"""The same for `MaskDecoder`, which takes the image tokens of one prompt after the other."""

MANY_TOKENS = 32 * 32
"""Image tokens from which `MaskDecoder` is faster than the library's decoder, however narrow it is."""

MASKS_PER_CHUNK = 16
"""Number of masks upsampled to full resolution at once."""


@dataclass(frozen=True)
class SamEmbedding:
    """The output of SAM's image encoder for one image."""

    padded: Tensor
    """[1, C, s, s] float32 neck output of the padded square, the input of the mask decoder."""
    features: Tensor
    """[C, h, w] float16 on the CPU: the neck output without the padding (Eq. 7)."""
    extent: tuple[float, float]
    """Rows and columns of `features` that the image covers; less than (h, w) if the last patch is partly padding."""
    input_size: tuple[int, int]
    """(height, width) of the image inside the padded square."""
    image_size: tuple[int, int]
    """(height, width) of the image as given."""


class SamTeacher:
    """A frozen SAM that segments everything in an image."""

    def __init__(self, model: SamModel, options: SamOptions) -> None:
        self.model = model
        self.options = options
        self.device = next(model.parameters()).device
        self.dtype = resolve_precision(options.precision, self.device)
        self.warnings: list[str] = []
        self.side = int(model.config.vision_config.image_size)
        self.patch = int(model.config.vision_config.patch_size)

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path,
        options: SamOptions | None = None,
        device: torch.device | str = "cpu",
    ) -> SamTeacher:
        """Load SAM from a folder in the hub's layout or by hub name, such as `facebook/sam-vit-huge`."""
        from transformers import SamModel

        model = load_pretrained(SamModel, name_or_folder, "sam", torch.device(device))
        return cls(model, options or SamOptions())

    def input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) to which an image of `size` is resized: its long side is that of SAM's input."""
        scale = self.side / max(size)
        height, width = (max(1, int(side * scale + 0.5)) for side in size)
        return height, width

    def grid_extent(self, size: tuple[int, int]) -> tuple[float, float]:
        """Return how many rows and columns of the neck features an image of `size` covers."""
        height, width = self.input_size(size)
        return height / self.patch, width / self.patch

    @torch.inference_mode()
    def encode(self, image: Images) -> SamEmbedding:  # [H, W, 3] uint8
        """Run the image encoder on one image, which is resized to SAM's long side, normalised and zero-padded.

        Raises an `InputError` for a batch of several images.
        """
        pixels = as_batch(image)
        if len(pixels) != 1:
            raise InputError(f"SAM encodes one image at a time, found a batch of {len(pixels)}: pass [H, W, 3].")
        image_size = (pixels.shape[-2], pixels.shape[-1])
        input_size = self.input_size(image_size)
        if self.options.mode == "exact":
            resized = resize_with_pillow(pixels, input_size).to(self.device)
        else:
            resized = resize(pixels.to(self.device), input_size, "bilinear")
        padded_image = pad_bottom_right(normalise(resized, SAM_MEAN, SAM_STD), (self.side, self.side))
        with autocast(self.dtype, self.device):
            neck = self.model.vision_encoder(padded_image).last_hidden_state.float()
        extent = self.grid_extent(image_size)
        features = neck[0, :, : math.ceil(extent[0]), : math.ceil(extent[1])].to("cpu", torch.float16).contiguous()
        return SamEmbedding(neck, features, extent, input_size, image_size)

    @torch.inference_mode()
    def everything(self, embedding: SamEmbedding) -> MaskCandidates:
        """Return the masks of the point grid that pass the filters of mode `fast`, best predicted IoU first."""
        if 2 * self._decoder.folded_width <= self._decoder.width or self._decoder.side**2 >= MANY_TOKENS:
            rows, columns = (math.ceil(extent) for extent in _mask_extent(embedding))
            found = self._candidates(embedding, (rows, columns))
        else:  # a small decoder with few tokens, whose products are too short to gain
            found = (self.decode(embedding, batch) for batch in self._points(embedding, torch.float32, CPU_TOKENS))
        parts = [filter_masks(candidates, self.options).halved() for candidates in found]
        return suppress_duplicates(MaskCandidates.join(parts), self.options)

    @torch.inference_mode()
    def exact_masks(self, embedding: SamEmbedding) -> ExactMasks:
        """Return the masks of the official generator at the resolution of the image, best predicted IoU first."""
        low = self._decoder.side * UPSCALING
        upsampling = Upsampling(low, self.side, embedding.input_size, embedding.image_size, self.device)
        found = self._candidates(embedding, upsampling.needed)
        parts = [filter_exactly(candidates, upsampling, self.options) for candidates in found]
        return suppress_exactly(ExactMasks.join(parts), self.options)

    def _candidates(self, embedding: SamEmbedding, size: tuple[int, int]) -> Iterator[MaskCandidates]:
        """Yield the masks of the grid that pass the filter by predicted IoU; only those are upscaled."""
        image = self._decoder.image_tokens(embedding.padded)
        for points in self._points(embedding, torch.float64, CPU_TOKENS_SHARED):
            prompts = self._decoder.decode(image, points)
            chosen = torch.ones_like(prompts.scores, dtype=torch.bool)
            if self.options.pred_iou_threshold > 0:
                chosen = prompts.scores > self.options.pred_iou_threshold
            yield MaskCandidates(self._decoder.logits(prompts, chosen, size), prompts.scores[chosen])

    def _points(self, embedding: SamEmbedding, dtype: torch.dtype, cpu_tokens: int) -> tuple[Tensor, ...]:
        """Return the grid in pixels of the padded square, [B, 2] (x, y) for each batch."""
        height, width = embedding.input_size
        points = point_grid(self.options.points_per_side, dtype) * torch.tensor([width, height])
        at_once = self.options.points_per_batch
        if self.device.type == "cpu":
            at_once = min(at_once, max(1, cpu_tokens // (self.side // self.patch) ** 2))
        return points.to(self.device).split(at_once)

    @torch.inference_mode()
    def decode(
        self,
        embedding: SamEmbedding,
        points: Tensor,  # [B, 2] (x, y) in pixels of the padded square
    ) -> MaskCandidates:  # B or 3 B masks
        """Return the masks of one prompt per point, decoded from the image embedding."""
        # No autocast here: sines of large positions need full precision.
        sparse, dense = self.model.prompt_encoder(
            input_points=points[None, :, None],
            input_labels=torch.ones(1, len(points), 1, dtype=torch.int64, device=points.device),
            input_boxes=None,
            input_masks=None,
        )
        with autocast(self.dtype, self.device):
            logits, scores = self.model.mask_decoder(
                image_embeddings=embedding.padded,
                image_positional_embeddings=self._positions,
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=self.options.multimask,
            )
        rows, columns = (math.ceil(extent) for extent in _mask_extent(embedding))
        return MaskCandidates(logits[0].flatten(0, 1)[:, :rows, :columns].float(), scores[0].flatten().float())

    def mask_ids(self, image: Images, size: tuple[int, int] | None = None) -> Tensor:  # [H, W] uint16, 0 = no mask
        """Return the id of the smallest mask at each pixel of an image, by everything mode (Eq. 3)."""
        return self.segment(self.encode(image), size)

    @torch.inference_mode()
    def segment(self, embedding: SamEmbedding, size: tuple[int, int] | None = None) -> Tensor:  # [H, W] uint16
        """Return `mask_ids` of an image that is already encoded; `size` is the image's own by default."""
        size = size or embedding.image_size
        if self.options.mode == "exact":
            masks = self.exact_masks(embedding)
            return paint_mask_ids(masks.sampled(size), size, masks.areas)
        return paint_mask_ids(self.full_size_masks(embedding, self.everything(embedding), size), size)

    def full_size_masks(
        self, embedding: SamEmbedding, candidates: MaskCandidates, size: tuple[int, int]
    ) -> Iterator[Tensor]:  # [t, H, W] bool each
        """Yield the masks at `size` in chunks, upsampled directly from the decoder's resolution."""
        extent = _mask_extent(embedding)
        if not len(candidates):
            return
        for logits in candidates.logits.split(MASKS_PER_CHUNK):
            yield resample(logits, size, extent) > 0

    def fingerprint(self) -> str:
        """Return a hex digest that changes with the weights and with every option that changes masks."""
        relevant = asdict(replace(self.options, points_per_batch=1, precision="auto"))
        if relevant["mode"] == "fast":  # the only mode when the first caches were filled
            del relevant["mode"]
        return combined_digest("sam", self._weights, relevant, self.dtype)

    def describe(self) -> str:
        """Return a one-line description for reports."""
        vision, options = self.model.config.vision_config, self.options
        return (
            f"SAM ViT {vision.num_hidden_layers}x{vision.hidden_size}, input {self.side}, patch {self.patch}; "
            f"{options.mode}, {options.points_per_side}x{options.points_per_side} points of "
            f"{3 if options.multimask else 1} masks, "
            f"predicted IoU {options.pred_iou_threshold:g}, stability {options.stability_threshold:g}, "
            f"box NMS {options.box_nms_threshold:g}; "
            f"{str(self.dtype).removeprefix('torch.')}, weights {self._weights[:8]}"
        )

    @cached_property
    def _weights(self) -> str:
        return weights_digest(self.model)

    @cached_property
    def _decoder(self) -> MaskDecoder:
        prompts = 1 if self.device.type == "cpu" else self.options.points_per_batch
        return MaskDecoder(self.model, self.dtype, self.options.multimask, prompts)

    @cached_property
    def _positions(self) -> Tensor:  # [1, C, s, s]
        return self.model.get_image_wide_positional_embeddings()


def _mask_extent(embedding: SamEmbedding) -> tuple[float, float]:
    """Return rows and columns of the decoder's square masks that the image covers."""
    return embedding.extent[0] * UPSCALING, embedding.extent[1] * UPSCALING
