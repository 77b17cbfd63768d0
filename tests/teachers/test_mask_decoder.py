"""The mask decoder with shared work and folded projections, against the decoder of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from benchmarks import plain_everything_mode as plain

from labelfree.teachers.mask_decoder import MaskDecoder

if TYPE_CHECKING:
    from transformers import SamModel

SIDE = 32
"""Side of the decoder's masks for an input of 128 pixels."""


@pytest.fixture
def neck() -> torch.Tensor:
    return torch.randn(1, 32, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def points() -> torch.Tensor:
    return torch.rand(7, 2, generator=torch.Generator().manual_seed(1)) * 128


@pytest.fixture
def steep_sam(sam_model: SamModel) -> SamModel:
    """A random SAM with logits of about 1."""
    with torch.no_grad():
        for head in sam_model.mask_decoder.output_hypernetworks_mlps:
            head.proj_out.weight.mul_(100)
    return sam_model


@torch.inference_mode()
@pytest.mark.parametrize("at_once", [1, 3, 64])
def test_agrees_with_the_decoder_of_transformers(
    steep_sam: SamModel, neck: torch.Tensor, points: torch.Tensor, at_once: int
) -> None:
    logits, scores = plain.decode(steep_sam, neck, points)
    assert float(logits.std()) > 0.1
    decoder = MaskDecoder(steep_sam, torch.float32, True, at_once)
    image = decoder.image_tokens(neck)
    for _ in range(2):  # the second time with used memory
        prompts = decoder.decode(image, points)
        torch.testing.assert_close(prompts.scores, scores, atol=1e-5, rtol=1e-5)
        found = decoder.logits(prompts, torch.ones(7, 3, dtype=torch.bool), (SIDE, SIDE))
        torch.testing.assert_close(found, logits.flatten(0, 1), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("size", [(32, 32), (20, 32), (21, 32), (32, 3)])
@pytest.mark.parametrize("at_once", [1, 4])
def test_only_chosen_masks_are_made(
    steep_sam: SamModel, neck: torch.Tensor, points: torch.Tensor, size: tuple[int, int], at_once: int
) -> None:
    logits, _ = plain.decode(steep_sam, neck, points)
    chosen = torch.rand(7, 3, generator=torch.Generator().manual_seed(2)) > 0.6
    assert not chosen.any(dim=1).all()
    decoder = MaskDecoder(steep_sam, torch.float32, True, at_once)
    found = decoder.logits(decoder.decode(decoder.image_tokens(neck), points), chosen, size)
    expected = logits[chosen][:, : size[0], : size[1]]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_single_masks(steep_sam: SamModel, neck: torch.Tensor, points: torch.Tensor) -> None:
    whole, _ = steep_sam.mask_decoder(
        image_embeddings=neck,
        image_positional_embeddings=steep_sam.get_image_wide_positional_embeddings(),
        sparse_prompt_embeddings=steep_sam.prompt_encoder(
            points[None, :, None], torch.ones(1, 7, 1, dtype=torch.int64), None, None
        )[0],
        dense_prompt_embeddings=steep_sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(1, -1, 8, 8),
        multimask_output=False,
    )
    decoder = MaskDecoder(steep_sam, torch.float32, False, 1)
    prompts = decoder.decode(decoder.image_tokens(neck), points)
    assert prompts.scores.shape == (7, 1)
    found = decoder.logits(prompts, torch.ones(7, 1, dtype=torch.bool), (SIDE, SIDE))
    torch.testing.assert_close(found, whole[0, :, 0], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_bfloat16_keeps_most_pixels(steep_sam: SamModel, neck: torch.Tensor, points: torch.Tensor) -> None:
    logits, scores = plain.decode(steep_sam, neck, points)
    decoder = MaskDecoder(steep_sam, torch.bfloat16, True, 2)
    prompts = decoder.decode(decoder.image_tokens(neck), points)
    torch.testing.assert_close(prompts.scores, scores, atol=1e-2, rtol=1e-2)
    found = decoder.logits(prompts, torch.ones(7, 3, dtype=torch.bool), (SIDE, SIDE))
    assert float(((found > 0) == (logits.flatten(0, 1) > 0)).float().mean()) > 0.98


@torch.inference_mode()
def test_prompts_of_other_batches_do_not_matter(steep_sam: SamModel, neck: torch.Tensor, points: torch.Tensor) -> None:
    decoder = MaskDecoder(steep_sam, torch.float32, True, 2)
    image = decoder.image_tokens(neck)
    whole = decoder.decode(image, points).scores
    parts = [decoder.decode(image, batch).scores for batch in points.split(3)]
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-5, rtol=1e-5)
