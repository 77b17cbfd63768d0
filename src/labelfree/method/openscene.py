"""Implement OpenScene (Peng et al., CVPR 2023): fuse image features, distil them into the 3D network, ensemble."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from labelfree.method.pairing import Pairs
from labelfree.method.resample import sample_at_pixels


@dataclass(frozen=True, eq=False)
class View:
    """The inputs of fusion for one frame: its pixel-point pairs, and features that cover the image."""

    pairs: Pairs
    features: Tensor  # [E, h, w]
    size: tuple[int, int]
    """(height, width) in pixels of the grid of the pairs."""


@dataclass(frozen=True, eq=False)
class FusedFeatures:
    """The features of the n points that at least one view sees."""

    point: Tensor
    """[n] int64 index into the scene's points, ascending."""
    features: Tensor
    """[n, E] float32, not normalised: the mean over the views."""

    def __len__(self) -> int:
        return len(self.point)


def fuse_features(num_points: int, views: Iterable[View]) -> FusedFeatures:
    """Return for each seen point the mean of the features at its paired pixels over all views.

    Views are added one at a time, so that memory holds one sum per point and no table of points and views.
    """
    sums, counts = torch.zeros(0, 0), torch.zeros(num_points)
    for view in views:
        if not len(sums):
            sums = torch.zeros(num_points, len(view.features))
        sums.index_add_(
            0, view.pairs.point, sample_at_pixels(view.features, view.pairs.row, view.pairs.column, view.size)
        )
        counts[view.pairs.point] += 1
    point = torch.nonzero(counts)[:, 0]
    return FusedFeatures(point, sums[point] / counts[point, None] if len(point) else sums[:0])


def text_cosines(
    features: Tensor,  # [n, E] any length
    text: Tensor,  # [K, E] unit
) -> Tensor:  # [n, K]
    """Return the cosine of each feature with each class; 0 for a zero feature."""
    return functional.normalize(features.float(), dim=-1) @ text.float().T


def ensemble_labels(
    scores_2d: Tensor,  # [N, K] cosines of the fused features, -inf where no view sees the point
    scores_3d: Tensor,  # [N, K] cosines of the 3D network's features
) -> Tensor:  # [N] int64
    """Return OpenScene's ensemble: the label with the higher cosine of 2D and 3D; ties go to 3D."""
    best_2d, labels_2d = scores_2d.max(dim=1)
    best_3d, labels_3d = scores_3d.max(dim=1)
    return torch.where(best_2d > best_3d, labels_2d, labels_3d)


def voxel_directions(
    fused: Tensor,  # [n, E] fused features of the points seen
    voxel: Tensor,  # [n] int64 voxel of each
    num_voxels: int,
) -> Tensor:  # [V, E]
    """Return the sum of the unit features of each voxel's seen points; 0 for a voxel without seen points.

    The points of a voxel share one network feature, so that this sum determines the mean of their cosines.
    """
    directions = torch.zeros(num_voxels, fused.shape[1])
    return directions.index_add_(0, voxel, functional.normalize(fused.float(), dim=-1))


def feature_distillation(
    features: Tensor,  # [V, E] the network's, any length
    directions: Tensor,  # [V, E] of `voxel_directions`
    seen: Tensor,  # scalar: points behind the directions
    count: Tensor | None = None,
) -> Tensor:  # scalar
    """Return the mean over seen points of 1 - cos(feature of its voxel, fused feature); 0 if no point is seen.

    `count` replaces the number of points in the denominator, as in `prediction_consistency`.
    """
    cosines = (functional.normalize(features.float(), dim=-1) * directions.detach()).sum()
    return (seen - cosines) / (seen if count is None else count).clamp(min=1.0)
