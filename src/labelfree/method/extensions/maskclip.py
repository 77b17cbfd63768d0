"""Refine dense CLIP labels as in MaskCLIP (Zhou et al., ECCV 2022): prompt denoising and key smoothing."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from labelfree.method.clip_labels import CLIP_TEMPERATURE


def prompt_denoise(
    scores: Tensor,  # [K, h, w] cosines
    threshold: float,
    temperature: float = CLIP_TEMPERATURE,
) -> Tensor:  # [K, h, w]
    """Exclude classes whose probability is below `threshold` everywhere in the image (MaskCLIP, section 3.2).

    Excluded classes get the score -1. If no class reaches the threshold, the scores are returned unchanged.
    """
    confidence = (scores * temperature).softmax(dim=0).flatten(1).amax(dim=1)
    absent = confidence < threshold
    if bool(absent.all()):
        return scores
    return scores.masked_fill(absent[:, None, None], -1.0)


def key_smooth(
    values: Tensor,  # [..., L, D] one vector per patch: features or class scores
    keys: Tensor,  # [..., L, C] keys of the last attention layer
) -> Tensor:  # [..., L, D]
    """Replace each patch's vector by the mean over all patches, weighted by the cosine of their keys (MaskCLIP).

    As in the MaskCLIP paper, keys are normalised over channels and negative similarities count as 0.
    """
    unit_keys = functional.normalize(keys.float(), dim=-1)
    weights = (unit_keys @ unit_keys.transpose(-1, -2)).clamp_min(0)
    return (weights / weights.sum(-1, keepdim=True)) @ values.float()
