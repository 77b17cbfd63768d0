"""Decode many point prompts of one image with SAM's mask decoder; work that no prompt changes is done once per image.

The decoder has T tokens per prompt (7) and N image tokens (4096). Its cross attentions project all image tokens to
keys, queries and values for every prompt. Here the projection is applied to the other side instead: q (W k) = (q W) k
and a (W v) = (a v) W, which replaces the width of the projection (128) by T tokens times `heads` (56). Results agree
up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from transformers import SamModel

UPSCALING = 4
"""Ratio of the side of the decoder's masks to the side of the neck features."""

CELLS_AT_ONCE = 1024
"""Image tokens updated at once on a CPU, so that intermediate results stay in its cache."""

CELLS_UPSCALED_AT_ONCE = 512
"""The same for upscaling, which makes 16 pixels of each."""


@dataclass(frozen=True)
class ImageTokens:
    """What the prompts of one image share: its N tokens and their projections in the first layer."""

    tokens: Tensor
    """[N, C] image tokens, row by row, with the embedding for "no mask prompt"."""
    keys: Tensor
    """[heads, d, N], for tokens that attend to the image."""
    values: Tensor
    """[heads, N, d]."""
    queries: Tensor
    """[heads, d, N], for the image attending to tokens."""
    scratch: list[Tensor]
    """[b, N, C] image tokens of prompts, in parts; memory that all calls for this image use."""


@dataclass(frozen=True)
class DecodedPrompts:
    """B prompts after the transformer, before their masks are upscaled."""

    image: tuple[Tensor, ...]
    """[b, N, C] image tokens, in parts of `at_once` prompts; the next call for this image overwrites them."""
    masks: Tensor
    """[B, M, C] mask tokens."""
    scores: Tensor
    """[B, M] float32 predicted IoU."""


class MaskDecoder:
    """The mask decoder of a SAM, applied to single foreground points without box or mask prompts.

    Products over image tokens run in `dtype` and for `at_once` prompts; tokens of the prompts stay in float32.
    """

    def __init__(self, model: SamModel, dtype: torch.dtype, multimask: bool, at_once: int) -> None:
        self.model, self.dtype, self.at_once = model, dtype, at_once
        decoder = model.mask_decoder
        self.kept = list(range(1, decoder.num_mask_tokens)) if multimask else [0]
        positions = model.get_image_wide_positional_embeddings()[0]  # [C, s, s]
        self.side = positions.shape[-1]
        self.positions = positions.flatten(1).T  # [N, C]
        layers = decoder.transformer.layers
        self.to_image = [_ToImage(layer.cross_attn_token_to_image, self.positions, dtype) for layer in layers]
        self.to_tokens = [
            _ToTokens(layer.cross_attn_image_to_token, layer.layer_norm4, self.positions, dtype) for layer in layers
        ]
        self.last = _ToImage(decoder.transformer.final_attn_token_to_image, self.positions, dtype)
        self.upscaling = _Upscaling(decoder, dtype)
        self.width = self.last.key_weight.shape[0] * self.last.key_weight.shape[1]
        """Width of keys and values."""
        self.folded_width = self.last.heads * (decoder.num_mask_tokens + 3)
        """Heads times tokens (predicted IoU, masks, point, padding), which replaces `width`."""

    def image_tokens(self, neck: Tensor) -> ImageTokens:  # [1, C, s, s]
        """Return what the prompts of one image share."""
        no_mask = self.model.prompt_encoder.no_mask_embed.weight
        tokens = neck[0].flatten(1).T + no_mask  # [N, C]
        keys, values = self.to_image[0].project(tokens, self.positions)
        queries = self.to_tokens[0].project(tokens, self.positions)
        tokens, keys, values, queries = (part.to(self.dtype) for part in (tokens, keys, values, queries))
        return ImageTokens(tokens, keys, values, queries, scratch=[])

    def decode(self, image: ImageTokens, points: Tensor) -> DecodedPrompts:  # [B, 2] (x, y) in the padded square
        """Run the two-way transformer for one foreground point per prompt, and predict the IoU of its masks."""
        decoder = self.model.mask_decoder
        given = self._prompt_tokens(points)  # [B, T, C]
        tokens = given
        memory = self._memory(image, len(points))
        parts: tuple[Tensor | None, ...] = (None,) * len(memory)  # [b, N, C], once prompts have changed them
        for layer, to_image, to_tokens in zip(decoder.transformer.layers, self.to_image, self.to_tokens):
            tokens = _attend_to_each_other(layer, tokens, given)
            tokens = layer.layer_norm2(tokens + self._read(to_image, tokens + given, parts, image))
            tokens = layer.layer_norm3(tokens + layer.mlp(tokens))
            sides = zip((tokens + given).split(self.at_once), tokens.split(self.at_once), memory)
            for placed, plain, out in sides:
                to_tokens.update(placed, plain, image, out, unchanged=parts[0] is None)
            parts = memory
        wanted = [0, *(1 + mask for mask in self.kept)]  # the IoU token and the mask tokens
        tokens, given = tokens[:, wanted], given[:, wanted]
        found = self._read(self.last, tokens + given, parts, image)
        tokens = decoder.transformer.layer_norm_final_attn(tokens + found)
        scores = decoder.iou_prediction_head(tokens[:, 0])[:, self.kept]
        return DecodedPrompts(memory, tokens[:, 1:], scores)

    def logits(
        self,
        prompts: DecodedPrompts,
        chosen: Tensor,  # [B, M] bool
        size: tuple[int, int],
    ) -> Tensor:  # [m, rows, columns] float32
        """Return the logits of the chosen masks, prompt by prompt, in the first rows and columns of the square.

        Prompts without a chosen mask are not upscaled.
        """
        heads = [self.model.mask_decoder.output_hypernetworks_mlps[mask] for mask in self.kept]
        weights = torch.stack([head(prompts.masks[:, mask]) for mask, head in enumerate(heads)], dim=1)
        parts = zip(prompts.image, weights.split(self.at_once), chosen.split(self.at_once))
        return torch.cat([self._part_logits(image, heads, which, size) for image, heads, which in parts])

    def _part_logits(self, image: Tensor, weights: Tensor, chosen: Tensor, size: tuple[int, int]) -> Tensor:
        rows, columns = (min(self.side, -(-side // UPSCALING)) for side in size)
        used = chosen.any(dim=1).nonzero()[:, 0]
        if not len(used):
            return weights.new_empty(0, *size)
        if len(used) < len(image):
            image, weights, chosen = image[used], weights[used], chosen[used]
        grid = image.unflatten(1, (self.side, self.side))[:, :rows, :columns]
        step = max(1, CELLS_UPSCALED_AT_ONCE // columns) if image.device.type == "cpu" else rows
        masks = [self.upscaling(strip, weights) for strip in grid.split(step, dim=1)]
        return torch.cat(masks, dim=2)[chosen][:, : size[0], : size[1]]

    def _memory(self, image: ImageTokens, count: int) -> tuple[Tensor, ...]:  # [b, N, C] each
        """Return memory for the image tokens of `count` prompts."""
        while len(image.scratch) * self.at_once < count:
            image.scratch.append(image.tokens.new_empty(self.at_once, *image.tokens.shape))
        sizes = (min(self.at_once, count - start) for start in range(0, count, self.at_once))
        return tuple(part[:size] for part, size in zip(image.scratch, sizes))

    def _read(
        self, attention: _ToImage, placed: Tensor, parts: tuple[Tensor | None, ...], image: ImageTokens
    ) -> Tensor:
        """Return what tokens [B, T, C] find in the image tokens of their part."""
        return torch.cat([attention.read(*pair, image) for pair in zip(placed.split(self.at_once), parts)])

    def _prompt_tokens(self, points: Tensor) -> Tensor:  # [B, T, C]
        decoder = self.model.mask_decoder
        sparse, _ = self.model.prompt_encoder(
            input_points=points[None, :, None],
            input_labels=torch.ones(1, len(points), 1, dtype=torch.int64, device=points.device),
            input_boxes=None,
            input_masks=None,
        )
        outputs = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        return torch.cat([outputs.expand(len(points), -1, -1), sparse[0]], dim=1)


def _attend_to_each_other(layer: Any, tokens: Tensor, given: Tensor) -> Tensor:  # [B, T, C] both
    """Return the tokens of each prompt after self attention."""
    if layer.skip_first_layer_pe:
        out, _ = layer.self_attn(query=tokens[None], key=tokens[None], value=tokens[None])
        found: Tensor = layer.layer_norm1(out[0])
        return found
    placed = (tokens + given)[None]
    out, _ = layer.self_attn(query=placed, key=placed, value=tokens[None])
    found = layer.layer_norm1(tokens + out[0])
    return found


class _ToImage:
    """Tokens of the prompts attend to the image."""

    def __init__(self, attention: Any, positions: Tensor, dtype: torch.dtype) -> None:
        self.attention, self.heads, self.dtype = attention, attention.num_attention_heads, dtype
        self.key_weight = _by_head(attention.k_proj.weight, self.heads)  # [heads, d, C]
        self.value_weight = _by_head(attention.v_proj.weight, self.heads)
        # the bias of the keys adds the same number to all scores of a query
        self.placed = self.key_weight @ positions.T  # [heads, d, N]

    def project(self, tokens: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:  # [N, C] both
        """Return keys [heads, d, N] and values [heads, N, d] of tokens that no prompt has changed."""
        keys, values = self.attention.k_proj(tokens + positions), self.attention.v_proj(tokens)
        return keys.T.unflatten(0, (self.heads, -1)), values.unflatten(1, (self.heads, -1)).transpose(0, 1)

    def read(self, placed: Tensor, tokens: Tensor | None, image: ImageTokens) -> Tensor:  # [b, T, C] -> [b, T, C]
        """Return what `placed` finds in image tokens [b, N, C]; None means those that no prompt has changed."""
        queries = _split(self.attention.q_proj(placed) * self.attention.scaling, self.heads)
        if tokens is None:
            weights = (queries.to(self.dtype) @ image.keys).softmax(dim=-1)
            values = (weights @ image.values).float()
        else:
            scores = _product(queries, self.placed).to(self.dtype)
            folded = (queries @ self.key_weight).flatten(1, 2).to(self.dtype)  # [b, heads * T, C]
            weights = torch.baddbmm(scores, folded, tokens.transpose(1, 2)).softmax(dim=-1)
            context = (weights @ tokens).float().unflatten(1, (self.heads, -1))  # [b, heads, T, C]
            values = context @ self.value_weight.transpose(1, 2) + self.attention.v_proj.bias.view(self.heads, 1, -1)
        found: Tensor = self.attention.out_proj(values.transpose(1, 2).flatten(2))
        return found


class _ToTokens:
    """The image attends to the tokens of the prompts and is normalised."""

    def __init__(self, attention: Any, norm: Any, positions: Tensor, dtype: torch.dtype) -> None:
        self.attention, self.norm, self.heads, self.dtype = attention, norm, attention.num_attention_heads, dtype
        self.query_weight = _by_head(attention.q_proj.weight, self.heads) * attention.scaling  # [heads, d, C]
        self.out_weight = attention.out_proj.weight.T.unflatten(0, (self.heads, -1))  # [heads, d, C]
        placed = (attention.q_proj(positions) * attention.scaling).T
        self.placed = placed.unflatten(0, (self.heads, -1))  # [heads, d, N], with the bias
        self.norm_weight, self.norm_bias = norm.weight.to(dtype), norm.bias.to(dtype)

    def project(self, tokens: Tensor, positions: Tensor) -> Tensor:  # [N, C] both
        """Return scaled queries [heads, d, N] of tokens that no prompt has changed."""
        queries: Tensor = self.attention.q_proj(tokens + positions) * self.attention.scaling
        return queries.T.unflatten(0, (self.heads, -1))

    def update(self, placed: Tensor, tokens: Tensor, image: ImageTokens, out: Tensor, unchanged: bool) -> None:
        """Let image tokens read tokens [b, T, C], in place in `out` [b, N, C], which is filled first if `unchanged`."""
        keys = _split(self.attention.k_proj(placed), self.heads)  # [b, heads, T, d]
        values = _split(self.attention.v_proj(tokens), self.heads) @ self.out_weight  # [b, heads, T, C]
        values[:, 0] += self.attention.out_proj.bias  # the weights of a head sum to 1
        values = values.flatten(1, 2).to(self.dtype)
        folded = (keys @ self.query_weight).flatten(1, 2).to(self.dtype)
        step = CELLS_AT_ONCE if out.device.type == "cpu" else out.shape[1]
        for start in range(0, out.shape[1], step):
            cells = out[:, start : start + step]
            if unchanged:
                cells.copy_(image.tokens[start : start + step])
                scores = _product(keys.to(self.dtype), image.queries[..., start : start + step])
            else:
                scores = _product(keys, self.placed[..., start : start + step]).to(self.dtype)
                scores = scores.baddbmm_(folded, cells.transpose(1, 2))
            weights = scores.unflatten(1, (self.heads, -1)).softmax(dim=2).flatten(1, 2)
            cells.baddbmm_(weights.transpose(1, 2), values)
            size, scale, shift = self.norm_weight.shape, self.norm_weight, self.norm_bias
            cells.copy_(functional.layer_norm(cells, size, scale, shift, self.norm.eps))


class _Upscaling:
    """The decoder's two transposed convolutions (kernel and stride 2) as products over tokens, then the masks."""

    def __init__(self, decoder: Any, dtype: torch.dtype) -> None:
        self.norm, self.dtype = decoder.upscale_layer_norm, dtype
        convolutions = (decoder.upscale_conv1, decoder.upscale_conv2)
        # [C, c, 2, 2] -> [4 c, C], the four pixels first
        self.weights = [conv.weight.permute(2, 3, 1, 0).flatten(0, 2).to(dtype).contiguous() for conv in convolutions]
        self.biases = [conv.bias.repeat(4).to(dtype) for conv in convolutions]
        self.norm_weight, self.norm_bias = self.norm.weight.to(dtype), self.norm.bias.to(dtype)

    def __call__(self, image: Tensor, weights: Tensor) -> Tensor:  # [b, h, w, C], [b, M, c] -> [b, M, 4 h, 4 w]
        count, rows, columns = image.shape[:3]
        pixels = functional.linear(image, self.weights[0], self.biases[0]).unflatten(-1, (4, -1))
        pixels = functional.layer_norm(pixels, self.norm_weight.shape, self.norm_weight, self.norm_bias, self.norm.eps)
        pixels = functional.linear(functional.gelu(pixels), self.weights[1], self.biases[1])
        pixels = functional.gelu(pixels).view(count, rows * columns * UPSCALING**2, weights.shape[-1])
        logits = (weights.to(self.dtype) @ pixels.transpose(1, 2)).float()  # [b, M, h w 2 2 2 2]
        grid = logits.view(*logits.shape[:2], rows, columns, 2, 2, 2, 2).permute(0, 1, 2, 4, 6, 3, 5, 7)
        return grid.reshape(*logits.shape[:2], rows * UPSCALING, columns * UPSCALING)


def _by_head(weight: Tensor, heads: int) -> Tensor:  # [heads * d, C] -> [heads, d, C]
    return weight.detach().unflatten(0, (heads, -1))


def _product(tokens: Tensor, fixed: Tensor) -> Tensor:  # [b, heads, T, d], [heads, d, N] -> [b, heads * T, N]
    """Multiply without a copy of `fixed` for each prompt."""
    count, _, each, _ = tokens.shape
    joined = tokens.transpose(0, 1).flatten(1, 2) @ fixed  # [heads, b * T, N]
    return joined.unflatten(1, (count, each)).transpose(0, 1).reshape(count, -1, joined.shape[-1])


def _split(tokens: Tensor, heads: int) -> Tensor:  # [B, T, heads * d] -> [B, heads, T, d]
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)
