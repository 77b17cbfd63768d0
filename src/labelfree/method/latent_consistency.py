"""Compute Eq. 7: pull the networks' latent features towards SAM's features at the paired pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor


def random_orthogonal(
    in_width: int,
    out_width: int,
    seed: int = 0,
) -> Tensor:  # [in_width, out_width]
    """Return phi_f: a frozen random map with orthonormal columns (rows, where it widens).

    The paper calls it a linear mapping layer. If it were trained together with theta_f and varphi_f, a constant vector
    would be a perfect minimum of Eq. 7. CLIP2Scene's code also freezes its counterpart (docs/method.md).
    """
    generator = torch.Generator().manual_seed(seed)
    gaussian = torch.randn(max(in_width, out_width), min(in_width, out_width), generator=generator, dtype=torch.float64)
    orthonormal, upper = torch.linalg.qr(gaussian)
    orthonormal = orthonormal * upper.diagonal().sign()
    return (orthonormal if in_width >= out_width else orthonormal.T).float()


def latent_consistency(
    features: Tensor,  # [P, D] theta_f(x_i) or varphi_f(p_i)
    targets: Tensor,  # [P, D] phi_f(s_i), frozen
    count: Tensor | None = None,
) -> Tensor:  # scalar
    """Return the mean of 1 - cos(feature, target) over pairs, one term of Eq. 7 (printed as a sum); 0 without pairs.

    `count` replaces the number of pairs in the denominator, as in `prediction_consistency`.
    """
    distances = 1.0 - functional.cosine_similarity(features.float(), targets.detach().float(), dim=1)
    pairs = torch.tensor(float(len(distances)), device=distances.device) if count is None else count
    return distances.sum() / pairs.clamp(min=1.0)
