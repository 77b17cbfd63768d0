"""Compute Eq. 1: label each pixel with the class whose text is most similar to its dense CLIP feature."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from labelfree.errors import InputError
from labelfree.method.resample import resample

CLIP_TEMPERATURE = 100.0
"""Factor of the cosines before a softmax, as learned by CLIP."""


def class_scores(
    features: Tensor,  # [h, w, D] any length
    text: Tensor,  # [S, D] one row per name; S = K without synonyms
    owners: Tensor | None = None,  # [S] int64 class of each name
) -> Tensor:  # [K, h, w] float32
    """Return the cosine of every patch with every class (Eq. 1); a class with several names takes the highest.

    Raises an `InputError` if image and text features have different widths.
    """
    if features.shape[-1] != text.shape[-1]:
        raise InputError(
            f"Image features have width {features.shape[-1]} but text embeddings {text.shape[-1]}: "
            "use the text encoder of the same CLIP model, and empty the feature cache if the model changed."
        )
    unit_text = functional.normalize(text.float(), dim=-1)
    cosines = torch.einsum("hwd,sd->shw", functional.normalize(features.float(), dim=-1), unit_text)
    if owners is None:
        return cosines
    count = int(owners.max()) + 1
    best = cosines.new_full((count, *cosines.shape[1:]), -torch.inf)
    return best.scatter_reduce_(0, owners[:, None, None].expand_as(cosines), cosines, "amax")


def upsample_scores(
    scores: Tensor,  # [K, h, w]
    size: tuple[int, int],
    extent: tuple[float, float] | None = None,
) -> Tensor:  # [K, H, W]
    """Upsample class scores to (height, width) pixels; `extent` removes patch padding as in `resample`."""
    return resample(scores, size, extent)


def labels_from_scores(scores: Tensor) -> Tensor:  # [K, ...] -> [...] uint8
    """Return the most similar class of every pixel; ties go to the lowest class id."""
    return scores.argmax(dim=0).to(torch.uint8)


def clip_labels(
    features: Tensor,  # [h, w, D]
    text: Tensor,  # [S, D]
    size: tuple[int, int],
    owners: Tensor | None = None,  # [S] int64
    extent: tuple[float, float] | None = None,
) -> Tensor:  # [H, W] uint8
    """Return dense CLIP labels of one image (Eq. 1): cosines, bilinear upsampling of the scores, argmax."""
    return labels_from_scores(upsample_scores(class_scores(features, text, owners), size, extent))
