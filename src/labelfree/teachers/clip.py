"""Run the frozen CLIP teacher: dense image features and text embeddings in one joint space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from labelfree.config.teachers import ClipOptions
from labelfree.errors import InputError
from labelfree.method.extensions.maskclip import key_smooth
from labelfree.teachers.dense_values import dense_values, dense_values_and_keys
from labelfree.teachers.images import Images, as_batch, normalise, pad_bottom_right, resize
from labelfree.teachers.loading import (
    autocast,
    combined_digest,
    load_pretrained,
    resolve_precision,
    weights_digest,
)
from labelfree.teachers.prompts import TEMPLATES
from labelfree.teachers.text import TextEmbeddings, embed_vocabulary
from labelfree.teachers.tokenizers import Tokenizer, load_tokenizer, special_ids
from labelfree.vocabulary import Vocabulary

if TYPE_CHECKING:
    from transformers import CLIPModel

__all__ = ["ClipOptions", "DenseClip", "dense_values"]


CLIP_MEAN = (122.7709383, 116.7460125, 104.09373615)
CLIP_STD = (68.5005327, 66.6321579, 70.32316305)


class DenseClip:
    """A frozen CLIP model that gives one unit feature per image patch and one unit vector per class name."""

    def __init__(self, model: CLIPModel, tokenizer: Tokenizer, options: ClipOptions) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.options = options
        self.device = next(model.parameters()).device
        self.dtype = resolve_precision(options.precision, self.device)
        self.warnings: list[str] = list(tokenizer.warnings)
        self.patch = int(model.config.vision_config.patch_size)
        for name, value in (("window", options.window), ("stride", options.stride)):
            if value is not None and value % self.patch:
                raise InputError(f"{name} is {value} pixels: give a multiple of this CLIP's patch of {self.patch}.")
        _mend_end_token(model)

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path,
        options: ClipOptions | None = None,
        device: torch.device | str = "cpu",
    ) -> DenseClip:
        """Load CLIP from a folder in the hub's layout or by hub name, such as `openai/clip-vit-base-patch16`."""
        from transformers import CLIPModel

        options = options or ClipOptions()
        changes = {"vision_config.hidden_act": "gelu"} if options.exact_gelu else None
        model = load_pretrained(CLIPModel, name_or_folder, "clip", torch.device(device), changes)
        tokenizer = load_tokenizer(name_or_folder, options.tokenizer, model.config.text_config)
        return cls(model, tokenizer, options)

    @property
    def width(self) -> int:
        """Return the width E of the joint space."""
        return int(self.model.config.projection_dim)

    def input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) that an image of `size` is resized to before encoding."""
        if self.options.input_size is not None:
            return self.options.input_size
        height, width = (max(1, round(side * self.options.scale)) for side in size)
        return height, width

    def grid_extent(self, size: tuple[int, int]) -> tuple[float, float]:
        """Return how many patch rows and columns an image of `size` covers; the rest of the grid is padding."""
        height, width = self.input_size(size)
        return height / self.patch, width / self.patch

    @torch.inference_mode()
    def features(self, images: Images) -> Tensor:  # [h, w, E] or [B, h, w, E] float32, unit length
        """Encode uint8 images [H, W, 3] or [B, H, W, 3] into dense features on the patch grid (Eq. 1)."""
        # Place the windows
        pixels = self._prepare(as_batch(images))
        window = self._window(pixels)
        rows, columns = (
            _window_starts(side // self.patch, reach // self.patch, self._step(reach))
            for side, reach in zip(pixels.shape[-2:], window)
        )
        places = [(image, row, column) for image in range(len(pixels)) for row in rows for column in columns]
        span = (window[0] // self.patch, window[1] // self.patch)
        # Sum the windows' features
        total = torch.zeros(len(pixels), *(side // self.patch for side in pixels.shape[-2:]), self.width)
        for start in range(0, len(places), self.options.windows_per_batch):
            batch = places[start : start + self.options.windows_per_batch]
            crops = torch.stack(
                [
                    pixels[image, :, row * self.patch :, column * self.patch :][:, : window[0], : window[1]]
                    for image, row, column in batch
                ]
            )
            for (image, row, column), encoded in zip(batch, self._encode(crops).unflatten(1, span)):
                total[image, row : row + span[0], column : column + span[1]] += encoded
        features = functional.normalize(total, dim=-1)  # sums and means of unit vectors point the same way
        return features[0] if images.ndim == 3 else features

    @torch.inference_mode()
    def encode_text(self, sentences: Sequence[str]) -> Tensor:  # [B, E] float32, not normalised
        """Encode sentences with CLIP's text tower."""
        with autocast(self.dtype, self.device):
            output = self.model.get_text_features(input_ids=self.tokenizer(sentences).to(self.device))
        return output.pooler_output.float().cpu()

    def embed(self, vocabulary: Vocabulary, templates: tuple[str, ...] = TEMPLATES) -> TextEmbeddings:
        """Embed a vocabulary with the templates."""
        return embed_vocabulary(vocabulary, self.encode_text, templates)

    def fingerprint(self) -> str:
        """Return a hex digest that changes with the weights and with every option that changes features."""
        relevant = asdict(replace(self.options, tokenizer=None, windows_per_batch=1, precision="auto"))
        return combined_digest("clip", self._weights, self.model.config.vision_config.hidden_act, relevant, self.dtype)

    def describe(self) -> str:
        """Return a one-line description for reports."""
        vision, options = self.model.config.vision_config, self.options
        size = f"input {options.input_size}" if options.input_size else f"scale {options.scale:g}"
        window = f"windows of {options.window} px" if options.window else "whole image"
        return (
            f"CLIP ViT {vision.num_hidden_layers}x{vision.hidden_size}, patch {self.patch}, joint width {self.width}; "
            f"attention {options.attention}{'' if options.keep_residual else ' without residual'}, {size}, {window}, "
            f"{options.preprocessing} preprocessing, {vision.hidden_act}, {self.tokenizer.kind}; "
            f"{str(self.dtype).removeprefix('torch.')}, weights {self._weights[:8]}"
        )

    @cached_property
    def _weights(self) -> str:
        return weights_digest(self.model)

    def _prepare(self, images: Tensor) -> Tensor:  # [B, 3, H, W] uint8 -> float32, padded to whole patches
        size = self.input_size((images.shape[-2], images.shape[-1]))
        resized = resize(images.to(self.device), size, "bicubic")
        raw = self.options.preprocessing == "raw01"
        pixels = resized / 255 if raw else normalise(resized, CLIP_MEAN, CLIP_STD)
        height, width = (-(-side // self.patch) * self.patch for side in size)
        return pad_bottom_right(pixels, (height, width))

    def _window(self, pixels: Tensor) -> tuple[int, int]:
        height, width = pixels.shape[-2:]
        reach = self.options.window or max(height, width)
        return min(reach, height), min(reach, width)

    def _step(self, reach: int) -> int:
        step = (self.options.stride or (self.options.window or reach) // 2) // self.patch
        return max(step, 1)

    def _encode(self, crops: Tensor) -> Tensor:  # [B, 3, H, W] -> [B, h*w, E] float32 on the CPU, unit length
        options = self.options
        with autocast(self.dtype, self.device):
            values, keys = dense_values_and_keys(
                self.model, crops, options.attention, options.keep_residual, options.gaussian_std
            )
        if options.key_smoothing:
            values = key_smooth(functional.normalize(values.float(), dim=-1), keys)
        return functional.normalize(values.float(), dim=-1).cpu()


def _window_starts(cells: int, reach: int, step: int) -> list[int]:
    """Return the first cells of windows of `reach` cells that cover `cells`; the last window ends at the border."""
    return [*range(0, cells - reach, step), cells - reach]


def _mend_end_token(model: CLIPModel) -> None:
    """Set the end token at which sentences are pooled, if the config names one outside the vocabulary."""
    text = model.config.text_config
    if not 0 <= int(text.eos_token_id) < int(text.vocab_size):
        model.text_model.eos_token_id = special_ids(text)[1]
