"""The lab's tiny SAM: a `transformers.SamModel` of a size that a CPU trains in an hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from labelfree.errors import InputError
from labelfree.files.atomic import write_text
from labelfree.weights.stored import read_weights
from labelfree_lab.teachers.training_log import write_half_precision

if TYPE_CHECKING:
    from transformers import SamConfig, SamModel

IMAGE_SIDE = 128
"""Side in pixels of the padded square of rooms, whose images are 96x128."""

PATCH = 4
"""Pixels per side of an image token; the masks of larger tokens lose thin objects."""
LAYERS = 6
WINDOW = 8
"""Tokens per side of a window of attention, in the layers that a smaller model does not have."""
POSITIONS = "vision_encoder.pos_embed"
ENCODER_LAYERS = "vision_encoder.layers."
FIRST = "vision_encoder.patch_embed.projection.weight"
ENLARGED = 4
"""Cells of a mask per side of a token."""


def padded_side(size: tuple[int, int], patch: int = PATCH) -> int:
    """Return the side of the square to which images of a (height, width) are padded: their longer side.

    Raises an `InputError` if a side is not a multiple of the patch size.
    """
    if size[0] % patch or size[1] % patch:
        raise InputError(f"Images are {size[0]}x{size[1]}: give sides that are multiples of {patch} pixels.")
    return max(size)


def patch_of(model: SamModel) -> int:
    """Return the side of an image token in pixels."""
    return int(model.config.vision_config.patch_size)


def mask_stride(model: SamModel) -> int:
    """Return the pixels per cell of a mask, 1 or more."""
    return patch_of(model) // ENLARGED


def tiny_sam_config(
    hidden: int = 128,
    layers: int = LAYERS,
    channels: int = 64,
    image_side: int = IMAGE_SIDE,
    patch: int = PATCH,
    windowed: Sequence[int] = (),
) -> SamConfig:
    """Return the architecture; attention is global except in the layers `windowed`."""
    from transformers import SamConfig, SamMaskDecoderConfig, SamPromptEncoderConfig, SamVisionConfig

    vision = SamVisionConfig(
        hidden_size=hidden,
        mlp_dim=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        output_channels=channels,
        num_pos_feats=channels // 2,
        image_size=image_side,
        patch_size=patch,
        use_rel_pos=False,
        window_size=WINDOW if windowed else 0,
        global_attn_indexes=[layer for layer in range(layers) if layer not in windowed],
        initializer_range=0.02,  # the default of 1e-10 stays at zero in training
    )
    prompt = SamPromptEncoderConfig(hidden_size=channels, image_size=image_side, patch_size=patch)
    decoder = SamMaskDecoderConfig(
        hidden_size=channels, mlp_dim=2 * channels, num_attention_heads=4, iou_head_hidden_dim=channels
    )
    return SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)


def new_tiny_sam(config: SamConfig, seed: int) -> SamModel:
    """Return a randomly initialised model, the same for the same seed; eager attention trains faster on CPUs."""
    from transformers import SamModel

    torch.manual_seed(seed)
    config._attn_implementation = "eager"
    model = SamModel(config)
    with torch.no_grad():
        _spread_weights(model)
    # One matrix, shared by images and prompts and never trained. The library's default is so large that neighbouring
    # points get unrelated codes; SAM's own code draws it with standard deviation 1.
    positions = model.shared_image_embedding.positional_embedding
    model.prompt_encoder.shared_embedding.positional_embedding = positions.requires_grad_(False)
    nn.init.normal_(positions, std=1.0)
    return model


@torch.no_grad()
def start_from(model: SamModel, folder: Path) -> None:
    """Load the weights of another tiny SAM, with patches and position embeddings resized to the model's.

    The layers of a smaller encoder are spread evenly; those between them begin as identities. Raises an `InputError` if
    the folder holds another network.
    """
    weights = {name: value.float() for name, value in read_weights(folder).items()}
    own, few = len(model.vision_encoder.layers), _count_layers(weights)
    place = dict(enumerate(spread_layers(few, own)))
    weights = {_moved(name, place): value for name, value in weights.items()}
    for added in sorted(set(range(own)) - set(place.values())):
        layer = model.vision_encoder.layers[added]
        for last in (layer.attn.proj, layer.mlp.lin2):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        prefix = f"{ENCODER_LAYERS}{added}."
        weights |= {name: value for name, value in model.state_dict().items() if name.startswith(prefix)}
    if {name: value.dim() for name, value in weights.items()} != {n: v.dim() for n, v in model.state_dict().items()}:
        raise InputError(f"{folder}: not a tiny SAM such as labelfree_lab.teachers.train_sam writes; start without it.")
    weights[FIRST] = finer_patches(weights[FIRST], patch_of(model))
    grid = weights[POSITIONS].permute(0, 3, 1, 2)
    size = (model.vision_encoder.pos_embed.shape[1], model.vision_encoder.pos_embed.shape[2])
    resized = functional.interpolate(grid, size, mode="bicubic", align_corners=False)
    weights[POSITIONS] = resized.permute(0, 2, 3, 1)
    model.load_state_dict(weights)


def spread_layers(few: int, many: int) -> list[int]:
    """Return the places of a few layers in an encoder of many, spread evenly, the last one at the end."""
    return [(old + 1) * many // few - 1 for old in range(few)]


def added_layers(start: Path | None, layers: int) -> list[int]:
    """Return the layers of an encoder that a starting model does not have; every second one without a start."""
    few = layers // 2 if start is None else _count_layers(read_weights(start))
    return sorted(set(range(layers)) - set(spread_layers(few, layers)))


def finer_patches(kernel: Tensor, patch: int) -> Tensor:  # [D, 3, s, s] -> [D, 3, patch, patch]
    """Return the kernel of a patch embedding for smaller patches, with the same answer to an image of that scale."""
    if kernel.shape[-1] == patch:
        return kernel
    return functional.adaptive_avg_pool2d(kernel, patch) * (kernel.shape[-1] / patch) ** 2


def _count_layers(weights: Mapping[str, Tensor]) -> int:
    """Return the number of encoder layers in a state dict."""
    found = [name.removeprefix(ENCODER_LAYERS).split(".")[0] for name in weights if name.startswith(ENCODER_LAYERS)]
    return len(set(found))


def _moved(name: str, place: Mapping[int, int]) -> str:
    """Return the name of a weight with the number of its encoder layer replaced."""
    if not name.startswith(ENCODER_LAYERS):
        return name
    number, rest = name.removeprefix(ENCODER_LAYERS).split(".", 1)
    return f"{ENCODER_LAYERS}{place[int(number)]}.{rest}"


def _spread_weights(model: SamModel) -> None:
    """Initialise weights so that they keep the variance of their inputs, in place of a fixed small deviation."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.7)
    nn.init.trunc_normal_(model.vision_encoder.pos_embed, std=0.2)
    nn.init.constant_(model.mask_decoder.iou_prediction_head.proj_out.bias, 0.5)
    # With equal, orthogonal queries and keys, a point attends to its own position from the first step on.
    transformer = model.mask_decoder.transformer
    for attention in (*(layer.cross_attn_token_to_image for layer in transformer.layers),):
        nn.init.orthogonal_(attention.q_proj.weight, gain=1.5)
        attention.k_proj.weight.copy_(attention.q_proj.weight)


def neck_features(model: SamModel, pixels: Tensor) -> Tensor:  # [B, 3, H, W] -> [B, D, h, w]
    """Return image features with gradients, unlike `get_image_embeddings`, of the padded square or its top rows."""
    encoder = model.vision_encoder
    rows, columns = pixels.shape[-2] // patch_of(model), pixels.shape[-1] // patch_of(model)
    hidden = encoder.patch_embed.projection(pixels).permute(0, 2, 3, 1) + encoder.pos_embed[:, :rows, :columns]
    for layer in encoder.layers:
        hidden = layer(hidden)
    return encoder.neck(hidden)


def decode_points(
    model: SamModel,
    features: Tensor,  # [B, D, h, w]
    points: Tensor,  # [B, P, 2] (x, y) in pixels
) -> tuple[Tensor, Tensor]:  # [B, P, 3, 4h, 4w] logits, [B, P, 3] predicted IoU
    """Return the masks and predicted IoUs of P prompts per image, each of one point."""
    rows, columns = features.shape[-2:]
    present = torch.ones((*points.shape[:2], 1), dtype=torch.int64, device=points.device)
    sparse, dense = model.prompt_encoder(points[:, :, None], present, None, None)
    positions = model.get_image_wide_positional_embeddings()[..., :rows, :columns]
    logits, scores = model.mask_decoder(
        image_embeddings=features,
        image_positional_embeddings=positions.expand(len(features), -1, -1, -1),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense[..., :rows, :columns],
        multimask_output=True,
    )
    return logits, scores


def export_tiny_sam(config: SamConfig, weights: Mapping[str, Tensor], out: Path) -> None:
    """Write config and 16-bit weights in the hub's layout, atomically."""
    write_text(out / "config.json", config.to_json_string())
    write_half_precision(weights, out / "model.safetensors")
