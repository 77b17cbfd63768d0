from __future__ import annotations

import pytest
import torch

from labelfree.method.resample import resample


def _slow(maps: torch.Tensor, size: tuple[int, int], extent: tuple[float, float]) -> torch.Tensor:
    """Sample pixel by pixel, cell centres at integer + 0.5, clamped at the grid's border."""
    output = torch.zeros(maps.shape[0], *size)
    for row in range(size[0]):
        for column in range(size[1]):
            y = min(max((row + 0.5) / size[0] * extent[0] - 0.5, 0), maps.shape[1] - 1)
            x = min(max((column + 0.5) / size[1] * extent[1] - 0.5, 0), maps.shape[2] - 1)
            y0, x0 = min(int(y), maps.shape[1] - 2), min(int(x), maps.shape[2] - 2)
            top = maps[:, y0, x0] * (1 - x + x0) + maps[:, y0, x0 + 1] * (x - x0)
            bottom = maps[:, y0 + 1, x0] * (1 - x + x0) + maps[:, y0 + 1, x0 + 1] * (x - x0)
            output[:, row, column] = top * (1 - y + y0) + bottom * (y - y0)
    return output


@pytest.mark.parametrize("extent", [(3.0, 4.0), (2.5, 3.25), (2.0, 4.0), (0.5, 1.0)])
@pytest.mark.parametrize("size", [(7, 9), (3, 4), (2, 13)])
def test_agrees_with_a_loop_over_pixels(size: tuple[int, int], extent: tuple[float, float]) -> None:
    maps = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(resample(maps, size, extent), _slow(maps, size, extent), atol=1e-5, rtol=1e-5)


def test_no_extent_means_the_whole_grid() -> None:
    maps = torch.randn(2, 3, 4).half()
    torch.testing.assert_close(resample(maps, (6, 8)), resample(maps, (6, 8), (3, 4)))
    torch.testing.assert_close(resample(maps, (6, 8)), resample(maps, (6, 8), (3, 3.999999)), atol=1e-4, rtol=1e-4)
