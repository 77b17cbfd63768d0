"""Compute dense CLIP features from the last attention block of the vision tower, per patch instead of per image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from labelfree.config.teachers import ATTENTIONS
from labelfree.errors import InputError

if TYPE_CHECKING:
    from transformers import CLIPModel


def dense_values(
    model: CLIPModel,
    pixel_values: Tensor,  # [B, 3, H, W] normalised, H and W multiples of the patch size
    attention: str = "value",
    keep_residual: bool = True,
    gaussian_std: float = 5.0,
) -> Tensor:  # [B, h*w, E] in the joint space, not normalised
    """Return every patch projected into CLIP's joint image-text space (Eq. 1; MaskCLIP).

    Gradients flow if they are enabled. Raises an `InputError` if `attention` is unknown.
    """
    return dense_values_and_keys(model, pixel_values, attention, keep_residual, gaussian_std)[0]


def dense_values_and_keys(
    model: CLIPModel,
    pixel_values: Tensor,  # [B, 3, H, W]
    attention: str = "value",
    keep_residual: bool = True,
    gaussian_std: float = 5.0,
) -> tuple[Tensor, Tensor]:  # [B, h*w, E], [B, h*w, C]
    """Return `dense_values` together with the last block's keys, which key smoothing needs."""
    # Run all blocks but the last
    vision = model.vision_model
    patch = int(vision.config.patch_size)
    grid = (pixel_values.shape[-2] // patch, pixel_values.shape[-1] // patch)
    hidden = vision.pre_layrnorm(vision.embeddings(pixel_values, interpolate_pos_encoding=True))
    for layer in vision.encoder.layers[:-1]:
        hidden = layer(hidden, None)
    # Mix the last block's values
    block = vision.encoder.layers[-1]
    normalised = block.layer_norm1(hidden)
    update = block.self_attn.out_proj(mix_values(block.self_attn, normalised, grid, attention, gaussian_std))
    if keep_residual:
        hidden = hidden + update
        hidden = hidden + block.mlp(block.layer_norm2(hidden))
    else:
        hidden = update
    # Project into the joint space
    patches = model.visual_projection(vision.post_layernorm(hidden[:, 1:]))
    return patches, block.self_attn.k_proj(normalised[:, 1:])


def mix_values(
    layer: Any,  # CLIPAttention of transformers
    hidden: Tensor,  # [B, 1 + h*w, D], CLS first
    grid: tuple[int, int],
    attention: str,
    gaussian_std: float,
) -> Tensor:  # [B, 1 + h*w, D], before the output projection
    """Return the value vectors mixed by the attention named; `value` keeps each patch's own.

    Raises an `InputError` if `attention` is unknown.
    """
    values: Tensor = layer.v_proj(hidden)
    if attention == "value":
        return values
    heads, scale = int(layer.num_heads), float(layer.scale)
    keys = _split_heads(layer.k_proj(hidden), heads)
    match attention:
        case "kk":  # every patch attends to patches with similar keys
            weights = _self_similarity(keys, scale)
        case "nacl":  # NACLIP: the same, with a bias towards near patches
            weights = _self_similarity(keys, scale, gaussian_bias(grid, gaussian_std, keys))
        case "qq+kk":  # SCLIP: the sum of both attention maps
            queries = _split_heads(layer.q_proj(hidden), heads)
            weights = _self_similarity(queries, scale) + _self_similarity(keys, scale)
        case _:
            raise InputError(f"attention is '{attention}': choose one of {', '.join(ATTENTIONS)}.")
    mixed = weights.to(values.dtype) @ _split_heads(values, heads)
    return mixed.transpose(1, 2).flatten(2)


def gaussian_bias(grid: tuple[int, int], std: float, like: Tensor) -> Tensor:  # [1 + h*w, 1 + h*w]
    """Return NACLIP's bias between patches: a Gaussian of their distance with `std` in patches, 0 to and from CLS."""
    rows, columns = (torch.arange(side, device=like.device, dtype=torch.float32) for side in grid)
    places = torch.cartesian_prod(rows, columns).reshape(-1, 2)
    squared = (places[:, None] - places[None]).square().sum(-1)
    return nn.functional.pad(torch.exp(-squared / (2 * std**2)), (1, 0, 1, 0))


def _self_similarity(vectors: Tensor, scale: float, bias: Tensor | None = None) -> Tensor:
    scores = (vectors @ vectors.transpose(-1, -2)).float() * scale
    return (scores if bias is None else scores + bias).softmax(dim=-1)


def _split_heads(tokens: Tensor, heads: int) -> Tensor:  # [B, L, D] -> [B, heads, L, D / heads]
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)
