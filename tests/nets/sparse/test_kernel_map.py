from __future__ import annotations

import pytest
import torch
from torch import Tensor

from labelfree.errors import InputError
from labelfree.nets.sparse.kernel_map import KernelMap, SparseGeometry


def scattered(batch: int = 2, side: int = 6, seed: int = 0) -> Tensor:
    """Return sorted random coordinates with negative ones among them."""
    generator = torch.Generator().manual_seed(seed)
    coords = (torch.rand(batch, side, side, side, generator=generator) < 0.3).nonzero().int()
    coords[:, 1:] -= 3
    return coords


def slow_pairs(inputs: Tensor, outputs: Tensor, kernel_size: int, stride: int) -> set[tuple[int, int, int]]:
    """Return (offset, input, output) by looking every neighbour up, in MinkowskiEngine's order."""
    rows = {tuple(row): index for index, row in enumerate(inputs.tolist())}
    first = -(kernel_size // 2) if kernel_size % 2 else 0
    pairs = set()
    for out, (batch, *place) in enumerate(outputs.tolist()):
        for offset in range(kernel_size**3):
            steps = (offset % kernel_size, offset // kernel_size % kernel_size, offset // kernel_size**2)
            neighbour = (batch, *(p + (first + step) * stride for p, step in zip(place, steps)))
            if neighbour in rows:
                pairs.add((offset, rows[neighbour], out))
    return pairs


def pairs_of(kernel_map: KernelMap) -> set[tuple[int, int, int]]:
    return {
        (offset, source, target)
        for offset, (inputs, outputs) in enumerate(zip(kernel_map.inputs, kernel_map.outputs))
        for source, target in zip(inputs.tolist(), outputs.tolist())
    }


@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (5, 1), (3, 2), (3, 4)])
def test_submanifold_map_equals_lookup(kernel_size: int, stride: int) -> None:
    geometry = SparseGeometry(scattered())
    kernel_map = geometry.submanifold(stride, kernel_size)
    coords = geometry.coords(stride)
    assert pairs_of(kernel_map) == slow_pairs(coords, coords, kernel_size, stride)
    centre = kernel_map.inputs[kernel_map.volume // 2]
    assert torch.equal(centre, torch.arange(len(coords), dtype=torch.int32))
    assert kernel_map.transposed is kernel_map


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_map_of_a_smaller_kernel_is_part_of_the_larger_one(kernel_size: int) -> None:
    alone, after = SparseGeometry(scattered()), SparseGeometry(scattered())
    after.submanifold(2, kernel_size + 2)
    expected, found = alone.submanifold(2, kernel_size), after.submanifold(2, kernel_size)
    assert found.centre == expected.centre
    for mine, reference in ((found.inputs, expected.inputs), (found.outputs, expected.outputs)):
        assert len(mine) == kernel_size**3
        assert all(torch.equal(*rows) for rows in zip(mine, reference))


@pytest.mark.parametrize("size", [1, 40, 10_000])
@pytest.mark.parametrize("kind", ["same", "down", "up"])
def test_tiles_hold_each_pair_once(kind: str, size: int) -> None:
    geometry = SparseGeometry(scattered())
    kernel_map = {"same": geometry.submanifold(1, 3), "down": geometry.down(1), "up": geometry.up(1)}[kind]
    tiles = kernel_map.tiles(size)
    assert (len(tiles) == 1) == (size == 10_000)
    found = set()
    for tile in tiles:
        offsets = torch.arange(kernel_map.volume).repeat_interleave(torch.tensor(tile.counts))
        targets = tile.targets + tile.outputs.start
        assert bool((targets < tile.outputs.stop).all())
        found |= set(zip(offsets.tolist(), tile.sources.tolist(), targets.tolist()))
    assert sum(len(tile.sources) for tile in tiles) == len(found) == kernel_map.pairs
    assert found == pairs_of(kernel_map)


@pytest.mark.parametrize("stride", [1, 2])
def test_strided_map_equals_lookup_and_transposes(stride: int) -> None:
    geometry = SparseGeometry(scattered())
    fine, coarse = geometry.coords(stride), geometry.coords(2 * stride)
    assert bool((coarse[:, 1:] % (2 * stride) == 0).all())
    expected = slow_pairs(fine, coarse, 2, stride)
    assert pairs_of(geometry.down(stride)) == expected
    assert pairs_of(geometry.up(stride)) == {(offset, out, into) for offset, into, out in expected}


def test_outputs_ascend_and_table_agrees_with_pairs() -> None:
    kernel_map = SparseGeometry(scattered()).submanifold(1, 3)
    for outputs in kernel_map.outputs:
        assert bool((outputs[1:] > outputs[:-1]).all())
    table = kernel_map.table.tolist()
    found = {(k, row[k], out) for out, row in enumerate(table) for k in range(27) if row[k] < kernel_map.num_inputs}
    assert found == pairs_of(kernel_map)


def test_maps_are_built_once() -> None:
    geometry = SparseGeometry(scattered())
    assert geometry.submanifold(2, 3) is geometry.submanifold(2, 3)
    assert geometry.down(1) is geometry.down(1)
    assert geometry.up(1) is geometry.up(1)
    assert geometry.keys(4) is geometry.keys(4)


def test_wrong_use_is_named() -> None:
    coords = scattered()
    with pytest.raises(InputError, match="voxelise"):
        SparseGeometry(coords.flip(0))
    with pytest.raises(InputError, match="odd"):
        SparseGeometry(coords).submanifold(1, 2)
    with pytest.raises(InputError, match="halved"):
        SparseGeometry(coords).down(64)
