"""CLIP2Scene's spatial-temporal consistency (Chen et al., CVPR 2023): one feature for each cell of a grid of sweeps.

The points of several LiDAR sweeps fall into the cells of one grid. The features of a cell's points and pixels are fused
with attention to those that fit the cell's class best, and each point's feature is pulled towards the fused one.
Deviations from CLIP2Scene: a pixel has the attention of its paired point, all features have unit length, and 1 - cos
replaces 1 - sigmoid of the inner product, as in Eq. 7.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from labelfree.method.mask_vote import mask_winners


def grid_cells(
    voxel: Tensor,  # [P, 3] integer coordinates of each paired point's voxel
    scene: Tensor,  # [P] int64 sample that it belongs to
) -> Tensor:  # [P] int64, from 0
    """Return the cell of each pair: a voxel of the grid that all sweeps of a sample share."""
    keys = torch.cat([scene[:, None], voxel.long()], dim=1)
    return torch.unique(keys, dim=0, return_inverse=True)[1]


def cell_attention(
    logits: Tensor,  # [P, K] of the paired points
    labels: Tensor,  # [P] CLIP's labels of the pairs, 255 = ignored
    cell: Tensor,  # [P] int64, from 0
) -> Tensor:  # [P] sums to 1 in each cell
    """Return the attention of each pair: a softmax over its cell of the logit of the cell's most frequent label."""
    cells = int(cell.max()) + 1 if cell.numel() else 0
    # mask ids start at 1; a cell without labels has no class, and its pairs have equal attention
    winners = mask_winners(labels, cell + 1, cells, logits.shape[1])[1:][cell]
    known = winners < logits.shape[1]
    scores = logits.gather(1, torch.where(known, winners, torch.zeros_like(winners))[:, None])[:, 0]
    scores = torch.where(known, scores, torch.zeros_like(scores))
    highest = scores.new_full((cells,), -torch.inf).scatter_reduce(0, cell, scores.detach(), "amax")
    weights = torch.exp(scores - highest[cell])
    return weights / weights.new_zeros(cells).index_add(0, cell, weights)[cell]


def sweep_consistency(
    points: Tensor,  # [P, D] varphi_f(p), with gradient
    pixels: Tensor,  # [P, D] phi_f(c) of the paired pixels, frozen
    attention: Tensor,  # [P] of `cell_attention`
    cell: Tensor,  # [P] int64, from 0
    count: Tensor | None = None,
) -> Tensor:  # scalar
    """Return the mean over pairs of 1 - cos(point's feature, fused feature of its cell); 0 without pairs.

    `count` replaces the number of pairs in the denominator, as in `prediction_consistency`.
    """
    own = functional.normalize(points.float(), dim=1)
    both = own + functional.normalize(pixels.detach().float(), dim=1)
    cells = int(cell.max()) + 1 if cell.numel() else 0
    fused = both.new_zeros(cells, both.shape[1]).index_add(0, cell, attention[:, None] * both)
    distances = 1.0 - functional.cosine_similarity(own, fused[cell], dim=1)
    pairs = torch.tensor(float(len(distances)), device=distances.device) if count is None else count
    return distances.sum() / pairs.clamp(min=1.0)
