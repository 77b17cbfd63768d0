from __future__ import annotations

import pytest
import torch

from labelfree.errors import InputError
from labelfree.nets.sparse.keys import KeyLayout, round_down
from labelfree.nets.sparse.sums import blend_rows, row_sums, sum_rows
from labelfree.nets.sparse.voxels import voxelise


def test_points_of_one_cell_share_a_voxel_with_the_mean_feature() -> None:
    points = torch.tensor([[0.01, 0.02, 0.03], [0.09, 0.0, 0.0], [-0.01, 0.0, 0.0], [0.01, 0.02, 0.03]])
    features = torch.tensor([[1.0], [3.0], [5.0], [7.0]])
    voxels = voxelise(points, 0.1, torch.tensor([0, 0, 0, 1]), features)
    assert voxels.coords.tolist() == [[0, -1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    assert voxels.coords.dtype == torch.int32
    assert voxels.inverse.tolist() == [1, 1, 0, 2]
    assert voxels.features.tolist() == [[5.0], [2.0], [7.0]]
    assert voxels.spread.tolist() == [[0.0], [1.0], [0.0]]
    assert len(voxels) == 3


def test_voxelise_equals_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(200, 3, generator=generator) * 2 - 1
    features = torch.rand(200, 2, generator=generator)
    batch = torch.arange(200) // 100
    cells: dict[tuple[int, ...], list[int]] = {}
    for index, point in enumerate(points):
        cells.setdefault((int(batch[index]), *torch.floor(point / 0.3).int().tolist()), []).append(index)
    voxels = voxelise(points, 0.3, batch, features)
    assert [tuple(row) for row in voxels.coords.tolist()] == sorted(cells)
    for row, cell in enumerate(sorted(cells)):
        assert (voxels.inverse[cells[cell]] == row).all()
        torch.testing.assert_close(voxels.features[row], features[cells[cell]].mean(dim=0))
        spread = features[cells[cell]].std(dim=0, correction=0)
        torch.testing.assert_close(voxels.spread[row], spread, atol=1e-6, rtol=1e-5)


def test_voxelise_is_repeatable_and_takes_no_points() -> None:
    points, features = torch.rand(5000, 3), torch.rand(5000, 3)
    first = voxelise(points, 0.2, torch.zeros(5000, dtype=torch.int64), features)
    again = voxelise(points, 0.2, torch.zeros(5000, dtype=torch.int64), features)
    assert torch.equal(first.features, again.features)
    empty = voxelise(points[:0], 0.2, torch.zeros(0, dtype=torch.int64), features[:0])
    assert empty.coords.shape == (0, 4)
    assert empty.features.shape == (0, 3)


@pytest.mark.parametrize(
    ("points", "voxel_m", "batch", "words"),
    [
        ([[0.0, 0.0, 0.0]], 0.0, [0], "voxel_m"),
        ([[0.0, 0.0, 0.0]], 0.1, [0, 0], "one of each per point"),
        ([[float("nan"), 0.0, 0.0]], 0.1, [0], "not finite"),
        ([[1e12, 0.0, 0.0]], 0.1, [0], "centre the cloud"),
        ([[0.0, 0.0, 0.0], [1e5, 0.0, 0.0]], 0.1, [0, 0], "larger voxels"),
        ([[0.0, 0.0, 0.0]], 0.1, [512], "Batch indices"),
    ],
)
def test_bad_points_are_named(points: list[list[float]], voxel_m: float, batch: list[int], words: str) -> None:
    cloud = torch.tensor(points)
    with pytest.raises(InputError, match=words):
        voxelise(cloud, voxel_m, torch.tensor(batch), torch.zeros(len(cloud), 1))


def test_keys_sort_like_coordinates_and_round_down() -> None:
    coords = torch.tensor([[0, -7, 3, 9], [0, -7, 4, -2], [0, 5, -1, 0], [3, -100, 0, 0]])
    layout = KeyLayout.around(coords)
    keys = layout.pack(coords)
    assert bool((keys[1:] > keys[:-1]).all())
    assert torch.equal(layout.unpack(keys), coords)
    halved = coords.clone()
    halved[:, 1:] = torch.div(coords[:, 1:], 4, rounding_mode="floor") * 4
    assert torch.equal(layout.unpack(round_down(keys, 4)), halved)


def test_row_sums_leave_unused_results_zero() -> None:
    sums = row_sums(torch.tensor([2, 0, 2]), 4)
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert sum_rows(values, sums).tolist() == [[3.0, 4.0], [0.0, 0.0], [6.0, 8.0], [0.0, 0.0]]
    assert sum_rows(values[:0], row_sums(torch.zeros(0, dtype=torch.int64), 2)).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_blended_rows_have_the_gradients_of_indexing() -> None:
    table = torch.rand(5, 3, dtype=torch.float64, requires_grad=True)
    corners, weight = torch.tensor([[0, 1], [4, 4]]), torch.rand(2, 2, dtype=torch.float64)
    torch.testing.assert_close(blend_rows(table, corners, weight), (table[corners] * weight[..., None]).sum(dim=1))
    assert torch.autograd.gradcheck(lambda t: blend_rows(t, corners, weight), (table,))
    assert blend_rows(table, corners[:0], weight[:0]).shape == (0, 3)
    torch.autograd.backward(blend_rows(table, corners[:0], weight[:0]).sum())
    assert table.grad is not None
    assert bool((table.grad == 0).all())
