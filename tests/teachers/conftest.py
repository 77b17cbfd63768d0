from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

if TYPE_CHECKING:
    from transformers import CLIPConfig, CLIPModel, SamModel


def _clip_config(**text: object) -> CLIPConfig:
    from transformers import CLIPConfig

    return CLIPConfig(
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
        },
        text_config={
            "hidden_size": 24,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "vocab_size": 300,
            "max_position_embeddings": 40,
            "bos_token_id": 298,
            "eos_token_id": 299,
            **text,
        },
        projection_dim=16,
    )


def make_clip(**text: object) -> CLIPModel:
    """Build a small random CLIP of the real architecture, with biases and norms that are not trivial."""
    from transformers import CLIPModel

    torch.manual_seed(0)
    return _shake(CLIPModel(_clip_config(**text)).eval())


def make_sam() -> SamModel:
    """Build a small random SAM of the real architecture, avoiding the library's unusable initial values."""
    from transformers import SamConfig, SamModel

    config = SamConfig(
        vision_config={
            "hidden_size": 32,
            "output_channels": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 128,
            "patch_size": 16,
            "window_size": 4,
            "global_attn_indexes": [1],
            "num_pos_feats": 16,
            "mlp_dim": 64,
            "initializer_range": 0.02,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 128, "patch_size": 16},
        mask_decoder_config={"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 2, "iou_head_hidden_dim": 32},
    )
    torch.manual_seed(0)
    model = _shake(SamModel(config).eval())
    with torch.no_grad():  # drawn with std hidden_size // 2 otherwise, a hash and not a position
        positions = 0.3 * torch.randn_like(model.shared_image_embedding.positional_embedding)
        model.shared_image_embedding.positional_embedding.copy_(positions)
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(positions)
    return model


def _shake(model: Any) -> Any:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.fixture
def clip_model() -> CLIPModel:
    return make_clip()


@pytest.fixture
def sam_model() -> SamModel:
    return make_sam()


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    make_clip().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sam_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sam")
    make_sam().save_pretrained(folder)
    return folder


@pytest.fixture
def image() -> torch.Tensor:
    """[40, 64, 3] uint8: smooth shapes and some noise."""
    generator = torch.Generator().manual_seed(3)
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(64.0), indexing="ij")
    waves = torch.stack([rows / 9, columns / 11, (rows + columns) / 17], dim=-1).sin()
    return (waves * 100 + 128 + 9 * torch.randn(40, 64, 3, generator=generator)).clamp(0, 255).to(torch.uint8)
