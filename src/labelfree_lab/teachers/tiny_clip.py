"""The lab's tiny CLIP: a `transformers.CLIPModel` of a size that a CPU trains in half an hour."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from labelfree_lab.teachers.captions import MAX_TOKENS
from labelfree_lab.teachers.training_log import write_half_precision

if TYPE_CHECKING:
    from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

IMAGE_SIDE = 64
"""Side of a training image and of a window of dense labelling, in pixels."""

PATCH = 8


def tiny_clip_config(vocabulary_size: int, layers: int = 4) -> CLIPConfig:
    """Return CLIP's architecture with 1 M parameters and exact GELU, which is much faster on CPUs."""
    from transformers import CLIPConfig

    text = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
    text |= {"vocab_size": vocabulary_size, "max_position_embeddings": MAX_TOKENS}
    text |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    vision = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": layers, "num_attention_heads": 4}
    vision |= {"image_size": IMAGE_SIDE, "patch_size": PATCH}
    shared = {"hidden_act": "gelu", "projection_dim": 128}
    return CLIPConfig(text_config=text | shared, vision_config=vision | shared, projection_dim=128)


def new_tiny_clip(config: CLIPConfig, seed: int) -> CLIPModel:
    """Return a randomly initialised model, the same for the same seed; eager attention trains faster on CPUs."""
    from transformers import CLIPModel

    torch.manual_seed(seed)
    config._attn_implementation = "eager"
    return CLIPModel(config)


def image_features(
    model: CLIPModel,
    pixels: Tensor,  # [B, 3, H, W] normalised
) -> tuple[Tensor, Tensor]:  # [B, E], [B, n, E]
    """Return the embeddings of the CLS token and of the patches, read by their values as in the paper."""
    vision = model.vision_model
    hidden = vision.pre_layrnorm(vision.embeddings(pixels))
    for layer in vision.encoder.layers[:-1]:
        hidden = layer(hidden, None)
    last = vision.encoder.layers[-1]
    normal = last.layer_norm1(hidden)
    values = last.self_attn.v_proj(normal)
    attended = torch.cat([_attend_from_first(last.self_attn, normal, values)[:, None], values[:, 1:]], 1)
    hidden = hidden + last.self_attn.out_proj(attended)
    hidden = hidden + last.mlp(last.layer_norm2(hidden))
    joint = model.visual_projection(vision.post_layernorm(hidden))
    return joint[:, 0], joint[:, 1:]


def _attend_from_first(attention: Any, normal: Tensor, values: Tensor) -> Tensor:  # [B, L, D], [B, L, D] -> [B, D]
    query, key, value = (
        part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for part in (attention.q_proj(normal[:, :1]), attention.k_proj(normal), values)
    )
    weights = (query @ key.transpose(-1, -2) * attention.scale).softmax(-1)
    return (weights @ value).flatten(1)


def export(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write config, tokenizer and 16-bit weights in the hub's layout."""
    out.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(out)
    tokenizer.save_pretrained(out)
    write_half_precision(model.state_dict(), out / "model.safetensors")
