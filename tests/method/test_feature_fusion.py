from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from labelfree.method.openscene import View, ensemble_labels, fuse_features, text_cosines
from labelfree.method.pairing import Pairs
from labelfree.method.resample import sample_at_pixels

SIZE = (12, 20)


def random_view(generator: torch.Generator, points: int = 30, seen: int = 17, grid: tuple[int, int] = (3, 5)) -> View:
    point = torch.randperm(points, generator=generator)[:seen].sort().values
    row = torch.randint(SIZE[0], (seen,), generator=generator)
    column = torch.randint(SIZE[1], (seen,), generator=generator)
    return View(Pairs(point, row, column), torch.randn(6, *grid, generator=generator), SIZE)


def slow_sample(maps: Tensor, row: int, column: int) -> Tensor:
    """The four cells around a pixel's centre, by hand; beyond the outermost centres the map is flat."""
    depth, height, width = maps.shape
    y = min(max((row + 0.5) * height / SIZE[0] - 0.5, 0.0), height - 1.0)
    x = min(max((column + 0.5) * width / SIZE[1] - 0.5, 0.0), width - 1.0)
    top, left = min(int(y), height - 2), min(int(x), width - 2)
    value = torch.zeros(depth)
    for i, weight_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for j, weight_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            value += weight_y * weight_x * maps[:, i, j]
    return value


def test_sampling_agrees_with_four_cells_by_hand() -> None:
    view = random_view(torch.Generator().manual_seed(0))
    found = sample_at_pixels(view.features, view.pairs.row, view.pairs.column, SIZE)
    for index, (row, column) in enumerate(zip(view.pairs.row.tolist(), view.pairs.column.tolist())):
        torch.testing.assert_close(found[index], slow_sample(view.features, row, column), atol=1e-5, rtol=1e-5)


def test_sampling_equals_upsampling_first() -> None:
    view = random_view(torch.Generator().manual_seed(1))
    whole = functional.interpolate(view.features[None], size=SIZE, mode="bilinear", align_corners=False)[0]
    found = sample_at_pixels(view.features, view.pairs.row, view.pairs.column, SIZE)
    torch.testing.assert_close(found, whole[:, view.pairs.row, view.pairs.column].T, atol=1e-5, rtol=1e-5)


def test_fusion_agrees_with_a_list_of_views_per_point() -> None:
    generator = torch.Generator().manual_seed(2)
    views = [random_view(generator, grid=grid) for grid in ((3, 5), (6, 10), (2, 2))]
    by_point: dict[int, list[Tensor]] = {}
    for view in views:
        for point, row, column in zip(view.pairs.point.tolist(), view.pairs.row.tolist(), view.pairs.column.tolist()):
            by_point.setdefault(point, []).append(slow_sample(view.features, row, column))
    fused = fuse_features(30, iter(views))
    assert fused.point.tolist() == sorted(by_point)
    for point, feature in zip(fused.point.tolist(), fused.features):
        torch.testing.assert_close(feature, torch.stack(by_point[point]).mean(dim=0), atol=1e-5, rtol=1e-5)


def test_nothing_seen() -> None:
    nobody = Pairs(*(torch.zeros(0, dtype=torch.int64) for _ in range(3)))
    assert len(fuse_features(4, [])) == 0
    assert len(fuse_features(4, [View(nobody, torch.zeros(6, 2, 2), SIZE)])) == 0


def test_cosines() -> None:
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = text_cosines(torch.tensor([[3.0, 4.0], [0.0, -2.0], [0.0, 0.0]]), text)
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [0.0, -1.0], [0.0, 0.0]]))


def test_the_surer_side_names_the_point() -> None:
    nothing = [-torch.inf, -torch.inf]
    scores_2d = torch.tensor([[0.2, 0.9], [0.3, 0.1], [0.5, 0.1], nothing])
    scores_3d = torch.tensor([[0.8, 0.1], [0.1, 0.4], [0.1, 0.5], [-0.3, -0.2]])
    # 2D is surer; 3D is surer; a tie is the network's; no view sees the last
    assert ensemble_labels(scores_2d, scores_3d).tolist() == [1, 1, 1, 1]
    expected = []
    for pair_2d, pair_3d in zip(scores_2d.tolist(), scores_3d.tolist()):
        better = pair_2d if max(pair_2d) > max(pair_3d) else pair_3d
        expected.append(better.index(max(better)))
    assert ensemble_labels(scores_2d, scores_3d).tolist() == expected
