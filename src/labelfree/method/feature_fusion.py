"""OpenScene's features of points: the mean over a point's views of dense CLIP features, and its 2D-3D ensemble.

Peng et al., OpenScene (CVPR 2023), sections 3.1 and 3.3, with the features of Eq. 1 in place of OpenSeg's or LSeg's, as
the CNS paper ran it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from labelfree.method.pairing import Pairs


@dataclass(frozen=True, eq=False)
class View:
    """What fusion needs of a frame: which pixel sees which point, and features that cover the image."""

    pairs: Pairs
    features: Tensor  # [E, h, w]
    size: tuple[int, int]
    """(height, width) of the grid that the pairs speak of."""


@dataclass(frozen=True, eq=False)
class FusedFeatures:
    """The features of the n points that some view sees."""

    point: Tensor
    """[n] int64 index into the scene's points, ascending."""
    features: Tensor
    """[n, E] float32, not normalised: as long as the views agree."""

    def __len__(self) -> int:
        return len(self.point)


def fuse_features(num_points: int, views: Iterable[View]) -> FusedFeatures:
    """Return for each seen point the mean over its views of the features at the paired pixels.

    One view at a time: what is held is one sum per point, never a table of points and views.
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


def sample_at_pixels(
    maps: Tensor,  # [D, h, w] covering the whole image
    row: Tensor,  # [P] int64
    column: Tensor,  # [P] int64
    size: tuple[int, int],
) -> Tensor:  # [P, D] float32
    """Sample a coarse map bilinearly at the centres of pixels of an image of (height, width)."""
    places = torch.stack([(column.double() + 0.5) / size[1], (row.double() + 0.5) / size[0]], dim=-1).float() * 2 - 1
    sampled = functional.grid_sample(
        maps.float()[None], places[None, None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0, :, 0].T.contiguous()


def text_cosines(
    features: Tensor,  # [n, E] any length
    text: Tensor,  # [K, E] unit
) -> Tensor:  # [n, K]
    """Return the cosine of each feature with each class; 0 where there is no feature at all."""
    return functional.normalize(features.float(), dim=-1) @ text.float().T


def ensemble_labels(
    scores_2d: Tensor,  # [N, K] cosines of the fused features, -inf where no view sees the point
    scores_3d: Tensor,  # [N, K] cosines of the 3D network's features
) -> Tensor:  # [N] int64
    """Return OpenScene's ensemble: a point's label comes from the side that is surer of its best class, 3D on ties."""
    best_2d, labels_2d = scores_2d.max(dim=1)
    best_3d, labels_3d = scores_3d.max(dim=1)
    return torch.where(best_2d > best_3d, labels_2d, labels_3d)
