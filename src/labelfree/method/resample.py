"""Resample patch maps bilinearly, including grids that extend beyond the image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def resample(
    maps: Tensor,  # [C, h, w]
    size: tuple[int, int],
    extent: tuple[float, float] | None = None,
) -> Tensor:  # [C, H, W] float32
    """Sample `maps` bilinearly at the H x W pixel centres of an image that covers the first `extent` rows and columns.

    `extent` is in cells of the grid and may be fractional: an image of 120 rows padded to 128 covers 7.5 of 8 rows of
    16-pixel patches. None means that the image covers the grid exactly.
    """
    maps = maps.float()
    grid = (maps.shape[-2], maps.shape[-1])
    if extent is None or tuple(extent) == grid:
        return functional.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]
    rows, columns = (
        # grid_sample with align_corners=False puts -1 and 1 on the outer edges of the grid
        (torch.arange(side, device=maps.device) + 0.5) * (2 * covered / side / cells) - 1
        for side, covered, cells in zip(size, extent, grid)
    )
    places = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    return functional.grid_sample(
        maps[None], places[None], mode="bilinear", padding_mode="border", align_corners=False
    )[0]


def sample_at_pixels(
    maps: Tensor,  # [D, h, w] covering the whole image
    row: Tensor,  # [P] int64
    column: Tensor,  # [P] int64
    size: tuple[int, int],
) -> Tensor:  # [P, D] float32
    """Sample a coarse map bilinearly at pixel centres of an image of (height, width) pixels."""
    places = torch.stack([(column.double() + 0.5) / size[1], (row.double() + 0.5) / size[0]], dim=-1).float() * 2 - 1
    sampled = functional.grid_sample(
        maps.float()[None], places[None, None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0, :, 0].T.contiguous()
