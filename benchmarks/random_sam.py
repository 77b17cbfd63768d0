"""Random SAMs of the real architecture whose masks depend on the prompt, for benchmarks and tests without weights."""

from __future__ import annotations

from typing import Any

import torch
from benchmarks import plain_everything_mode as plain
from torch import Tensor, nn

SPREAD = 8.0
"""Standard deviation of the mask logits."""
LOWERED = 1.0
"""Mean of the logits below 0, in standard deviations, so that masks cover the smaller part of an image."""
PROBES = 16


@torch.no_grad()
def random_sam(config: Any, seed: int = 0) -> Any:
    """Build a SAM with random weights of unit gain, then scale its masks and predicted IoUs by measuring a few prompts.

    The library's own initial values are too small: every prompt would give the same masks.
    """
    from transformers import SamModel

    torch.manual_seed(seed)
    model = SamModel(config).eval().requires_grad_(False)
    for module in model.modules():
        _draw(module)
    for block in [*model.mask_decoder.transformer.layers, model.mask_decoder.transformer]:
        for name, attention in block.named_children():
            if "attn" in name and "norm" not in name:  # attend to few places, not to the mean of all
                attention.q_proj.weight.mul_(2)
    positions = 0.5 * torch.randn_like(model.shared_image_embedding.positional_embedding)
    model.shared_image_embedding.positional_embedding.copy_(positions)
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(positions)
    _scale(model, smooth_neck(model, seed))
    return model


def smooth_neck(model: Any, seed: int) -> Tensor:  # [1, C, s, s]
    """Return random image features that are smooth over several tokens, in place of the encoder's."""
    side = model.config.prompt_encoder_config.image_embedding_size
    coarse = max(2, side // 6)
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(1, model.config.mask_decoder_config.hidden_size, coarse, coarse, generator=generator)
    return nn.functional.interpolate(features, (side, side), mode="bicubic", align_corners=False)


def _draw(module: Any) -> None:
    """Draw the weights of one layer."""
    if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        fan_in = len(module.weight) if isinstance(module, nn.ConvTranspose2d) else module.weight[0].numel()
        module.weight.normal_(0, fan_in**-0.5)
        if module.bias is not None:
            module.bias.normal_(0, 0.1)
    elif isinstance(module, nn.Embedding):
        module.weight.normal_()
    elif isinstance(module, nn.LayerNorm):
        module.weight.normal_(1, 0.1)
        module.bias.normal_(0, 0.1)


def _scale(model: Any, neck: Tensor) -> None:
    """Scale the heads so that logits have a mean and spread as wished, and predicted IoUs lie around 0.8."""
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(PROBES, 2, generator=generator).double() * model.config.vision_config.image_size
    heads = [head.proj_out for head in model.mask_decoder.output_hypernetworks_mlps[1:]]

    def means() -> list[float]:
        found: list[float] = plain.decode(model, neck, points)[0].mean((0, 2, 3)).tolist()
        return found

    for _ in range(2):
        spreads = plain.decode(model, neck, points)[0].std((0, 2, 3)).tolist()
        for head, spread in zip(heads, spreads):
            head.weight.mul_(SPREAD / spread)
            head.bias.mul_(SPREAD / spread)
        before = means()
        for head in heads:
            head.bias.add_(1)
        for head, start, raised in zip(heads, before, means()):
            head.bias.add_(-1 + (-LOWERED * SPREAD - start) / (raised - start))
    scores = plain.decode(model, neck, points)[1]
    out = model.mask_decoder.iou_prediction_head.proj_out
    factor = 0.1 / scores.std(0).clamp_min(1e-6)
    out.bias[1:] = (out.bias[1:] - scores.mean(0)) * factor + 0.8
    out.weight[1:] *= factor[:, None]
