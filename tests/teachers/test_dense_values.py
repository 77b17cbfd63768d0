from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from labelfree.errors import InputError
from labelfree.teachers.dense_values import dense_values, dense_values_and_keys

if TYPE_CHECKING:
    from transformers import CLIPModel


@pytest.fixture
def model(clip_model: CLIPModel) -> CLIPModel:
    return clip_model


def _linear(layer: nn.Linear, vector: torch.Tensor) -> torch.Tensor:
    return layer.weight @ vector + (0 if layer.bias is None else layer.bias)


def _norm(layer: nn.LayerNorm, vector: torch.Tensor) -> torch.Tensor:
    centred = vector - vector.mean()
    return centred / (centred.square().mean() + layer.eps).sqrt() * layer.weight + layer.bias


def _quick_gelu(vector: torch.Tensor) -> torch.Tensor:
    return vector * torch.sigmoid(1.702 * vector)


def _last_block_input(model: CLIPModel, pixels: torch.Tensor) -> torch.Tensor:
    """Catch what the library itself feeds into the last block."""
    caught: list[torch.Tensor] = []
    hook = model.vision_model.encoder.layers[-1].register_forward_pre_hook(lambda _, args: caught.append(args[0]))
    model.vision_model(pixels, interpolate_pos_encoding=True)
    hook.remove()
    return caught[0]


def _mixing_weights(
    block: Any, tokens: list[torch.Tensor], place: int, head: int, attention: str, grid: tuple[int, int], std: float
) -> torch.Tensor:
    """Attention weights of one patch over all tokens, by hand, for one head; token 0 is CLS."""
    layer = block.self_attn
    part = slice(head * layer.head_dim, (head + 1) * layer.head_dim)

    def similarities(projection: nn.Linear) -> torch.Tensor:
        vectors = [_linear(projection, token)[part] for token in tokens]
        return torch.stack([vectors[place] @ vector * layer.scale for vector in vectors])

    if attention == "qq+kk":
        return similarities(layer.q_proj).softmax(0) + similarities(layer.k_proj).softmax(0)
    scores = similarities(layer.k_proj)
    if attention == "nacl":
        row, column = divmod(place - 1, grid[1])
        for other in range(1, len(tokens)):
            squared = (row - (other - 1) // grid[1]) ** 2 + (column - (other - 1) % grid[1]) ** 2
            scores[other] += torch.exp(torch.tensor(-squared / (2 * std**2)))
    return scores.softmax(0)


def _slow(model: CLIPModel, pixels: torch.Tensor, attention: str, keep_residual: bool, std: float) -> torch.Tensor:
    """The last block written out, patch by patch and head by head."""
    block = model.vision_model.encoder.layers[-1]
    layer = block.self_attn
    grid = (pixels.shape[-2] // 8, pixels.shape[-1] // 8)
    output = []
    for hidden in _last_block_input(model, pixels):
        tokens = [_norm(block.layer_norm1, token) for token in hidden]
        values = torch.stack([_linear(layer.v_proj, token) for token in tokens])
        for place in range(1, len(tokens)):
            mixed = values[place]
            if attention != "value":
                weights = [_mixing_weights(block, tokens, place, head, attention, grid, std) for head in range(2)]
                mixed = torch.cat([w @ part for w, part in zip(weights, values.split(layer.head_dim, dim=1))])
            patch = _linear(layer.out_proj, mixed)
            if keep_residual:
                patch = patch + hidden[place]
                inner = _quick_gelu(_linear(block.mlp.fc1, _norm(block.layer_norm2, patch)))
                patch = patch + _linear(block.mlp.fc2, inner)
            output.append(_linear(model.visual_projection, _norm(model.vision_model.post_layernorm, patch)))
    return torch.stack(output).reshape(len(pixels), -1, output[0].shape[-1])


@pytest.mark.parametrize("keep_residual", [True, False])
@pytest.mark.parametrize("attention", ["value", "kk", "qq+kk", "nacl"])
@torch.no_grad()
def test_agrees_with_the_block_written_out(model: CLIPModel, attention: str, keep_residual: bool) -> None:
    pixels = torch.randn(2, 3, 24, 40, generator=torch.Generator().manual_seed(0))
    fast = dense_values(model, pixels, attention, keep_residual, gaussian_std=1.5)
    assert fast.shape == (2, 15, 16)
    slow = _slow(model, pixels, attention, keep_residual, 1.5)
    torch.testing.assert_close(fast, slow, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_the_hand_written_maths_is_the_librarys_own(model: CLIPModel) -> None:
    """With ordinary attention in place of the values, the same steps give the library's image embedding."""
    pixels = torch.randn(1, 3, 32, 32)
    block = model.vision_model.encoder.layers[-1]
    hidden = _last_block_input(model, pixels)
    hidden = hidden + block.self_attn(block.layer_norm1(hidden))[0]
    hidden = hidden + block.mlp(block.layer_norm2(hidden))
    ours = model.visual_projection(model.vision_model.post_layernorm(hidden[:, 0]))
    torch.testing.assert_close(ours, model.get_image_features(pixels).pooler_output, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_positions_are_resized_bicubically(model: CLIPModel) -> None:
    embeddings = model.vision_model.embeddings
    table = embeddings.position_embedding.weight
    grid = table[1:].T.reshape(1, 24, 4, 4)
    resized = functional.interpolate(grid, size=(3, 5), mode="bicubic", align_corners=False)[0]
    pixels = torch.zeros(1, 3, 24, 40)
    tokens = embeddings(pixels, interpolate_pos_encoding=True)[0]
    torch.testing.assert_close(tokens[0], embeddings.class_embedding + table[0])
    torch.testing.assert_close(tokens[1:], resized.flatten(1).T, atol=1e-6, rtol=1e-5)


def test_gradients_reach_pixels_and_every_weight_of_the_path(model: CLIPModel) -> None:
    pixels = torch.randn(1, 3, 32, 32, requires_grad=True)
    dense_values(model, pixels, "value", keep_residual=False).square().sum().backward()
    block = model.vision_model.encoder.layers[-1]
    for tensor in (
        pixels,
        block.self_attn.v_proj.weight,
        block.self_attn.out_proj.weight,
        model.visual_projection.weight,
    ):
        assert tensor.grad is not None
        assert tensor.grad.abs().sum() > 0
    assert block.mlp.fc1.weight.grad is None


@torch.no_grad()
def test_keys_are_those_of_the_last_block(model: CLIPModel) -> None:
    pixels = torch.randn(1, 3, 32, 32)
    block = model.vision_model.encoder.layers[-1]
    expected = block.self_attn.k_proj(block.layer_norm1(_last_block_input(model, pixels)))[:, 1:]
    torch.testing.assert_close(dense_values_and_keys(model, pixels)[1], expected)


def test_unknown_attention_is_told(model: CLIPModel) -> None:
    with pytest.raises(InputError, match="'qk': choose one of value, kk"):
        dense_values(model, torch.zeros(1, 3, 32, 32), "qk")
