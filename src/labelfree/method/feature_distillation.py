"""OpenScene's loss: the 3D network's features in text space follow the fused image features of the points seen."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def voxel_directions(
    fused: Tensor,  # [n, E] fused features of the points seen
    voxel: Tensor,  # [n] int64 voxel of each
    num_voxels: int,
) -> Tensor:  # [V, E]
    """Return the sum over a voxel's seen points of their features' directions; 0 where none was seen.

    All points of a voxel share one feature of the network, so that the mean of their cosines needs no more than this.
    """
    directions = torch.zeros(num_voxels, fused.shape[1])
    return directions.index_add_(0, voxel, functional.normalize(fused.float(), dim=-1))


def feature_distillation(
    features: Tensor,  # [V, E] the network's, any length
    directions: Tensor,  # [V, E] of `voxel_directions`
    seen: Tensor,  # scalar: points behind the directions
    count: Tensor | None = None,
) -> Tensor:  # scalar
    """Return the mean over points seen of 1 - cos(feature of its voxel, fused feature); 0 where none is seen.

    `count` replaces the number of points in the denominator, as in `prediction_consistency.cross_entropy`.
    """
    cosines = (functional.normalize(features.float(), dim=-1) * directions.detach()).sum()
    return (seen - cosines) / (seen if count is None else count).clamp(min=1.0)
