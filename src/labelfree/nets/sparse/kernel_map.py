"""Build kernel maps: which input voxel contributes to which output voxel through which weight of a sparse convolution.

Weights are laid out as MinkowskiEngine's `kernel` tensor, [k^3, Cin, Cout]. The first spatial axis varies fastest:
index i is the offset x = i % k, y = (i // k) % k, z = i // k^2, times the tensor stride. Offsets are counted from
-(k // 2) for odd k and from 0 for even k. Transposed kernels swap the roles of the strided map. The source is
MinkowskiEngine's `kernel_region.hpp` (iterator and `set_bounds`) and, for transposed kernels,
`coordinate_map_manager.cpp`; the layout has not been run against a published checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from labelfree.errors import InputError
from labelfree.nets.sparse.keys import MARGIN, KeyLayout, key_offset, round_down
from labelfree.nets.sparse.sums import RowSums, row_sums


@dataclass(frozen=True, eq=False)
class Tile:
    """Consecutive output voxels and the n pairs that contribute to them, offset by offset."""

    outputs: slice
    counts: list[int]
    """Number of pairs per offset, K."""
    sources: Tensor  # [n] int32 input voxel
    targets: Tensor  # [n] int32 output voxel, counted from the first of the tile
    sums: RowSums
    """The pairs of each output voxel."""


@dataclass(frozen=True, eq=False)
class KernelMap:
    """The pairs (input voxel, output voxel) that each kernel offset connects."""

    inputs: tuple[Tensor, ...]  # per offset [M_k] int32
    outputs: tuple[Tensor, ...]  # per offset [M_k] int32, ascending
    num_inputs: int
    num_outputs: int
    centre: int | None = None
    """Index of the zero offset if inputs and outputs are the same voxels; offsets i and K-1-i are then mirrored."""

    @property
    def volume(self) -> int:
        """Return the number of kernel offsets, K."""
        return len(self.inputs)

    @property
    def device(self) -> torch.device:
        """Return the device of the rows."""
        return self.inputs[0].device

    def mirrored(self, offset: int) -> int:
        """Return the weight index of `offset` in the transposed map."""
        return offset if self.centre is None else self.volume - 1 - offset

    @cached_property
    def transposed(self) -> KernelMap:
        """Return the map from outputs back to inputs; its weights are at `mirrored` offsets."""
        if self.centre is not None:
            return self
        return KernelMap(self.outputs, self.inputs, self.num_outputs, self.num_inputs)

    @cached_property
    def pairs(self) -> int:
        """Return the number of pairs over all offsets."""
        return sum(rows.numel() for rows in self.inputs)

    def tiles(self, size: int) -> tuple[Tile, ...]:
        """Return the output voxels in tiles of about `size` pairs, built once."""
        voxels = max(1, -(-self.num_outputs // max(1, round(self.pairs / size))))
        if voxels not in self._tiles:
            self._tiles[voxels] = self._build_tiles(voxels)
        return self._tiles[voxels]

    @cached_property
    def _tiles(self) -> dict[int, tuple[Tile, ...]]:
        return {}

    def _build_tiles(self, voxels: int) -> tuple[Tile, ...]:
        if self.num_outputs <= voxels:
            return (self._tile(slice(0, self.num_outputs), self.inputs, self.outputs),)
        starts = range(0, self.num_outputs, voxels)
        bounds = torch.tensor([*starts[1:]], dtype=torch.int32, device=self.device)
        cuts = torch.stack([torch.searchsorted(rows, bounds) for rows in self.outputs]).cpu()
        inputs = zip(*(rows.tensor_split(cut) for rows, cut in zip(self.inputs, cuts)))
        outputs = zip(*(rows.tensor_split(cut) for rows, cut in zip(self.outputs, cuts)))
        parts = zip(starts, inputs, outputs)
        return tuple(self._tile(slice(start, start + voxels), sources, targets) for start, sources, targets in parts)

    def _tile(self, outputs: slice, sources: tuple[Tensor, ...], targets: tuple[Tensor, ...]) -> Tile:
        counts = [rows.numel() for rows in sources]
        local = torch.cat(targets) - outputs.start
        results = min(outputs.stop, self.num_outputs) - outputs.start
        return Tile(outputs, counts, torch.cat(sources), local, row_sums(local, results))

    @cached_property
    def table(self) -> Tensor:  # [Vout, K] int32
        """Return the input voxel of each output voxel and offset, `num_inputs` where there is none."""
        # Filled offset by offset, so that writes are contiguous, then transposed.
        table = torch.full((self.volume, self.num_outputs), self.num_inputs, dtype=torch.int32, device=self.device)
        for column, source, target in zip(table, self.inputs, self.outputs):
            column.index_copy_(0, target.long(), source)
        return table.t().contiguous()


def submanifold_map(
    keys: Tensor,  # [V] int64 sorted
    kernel_size: int,
    stride: int,
) -> KernelMap:
    """Connect each voxel to the occupied voxels of the odd cube around it.

    One binary search finds a column of neighbours: keys are sorted with z last, so the next occupied cell of the column
    is the next key. Half of the columns are searched; the other half are the same pairs reversed.
    """
    reach, volume = kernel_size // 2, kernel_size**3
    inputs: list[Tensor] = [keys.new_empty(0)] * volume
    outputs = list(inputs)
    for dx in range(-reach, 1):
        for row, (source, target) in enumerate(_column_pairs(keys, dx * stride, reach, stride)):
            dz, dy = divmod(row, kernel_size)
            offset = (dx + reach) + kernel_size * dy + kernel_size**2 * dz
            inputs[offset], outputs[offset] = source, target
            if dx < 0:
                inputs[volume - 1 - offset], outputs[volume - 1 - offset] = target, source
    return KernelMap(tuple(inputs), tuple(outputs), keys.numel(), keys.numel(), centre=volume // 2)


def _inner_map(larger: KernelMap, kernel_size: int) -> KernelMap:
    """Return the submanifold map of a kernel from that of a kernel two cells larger on the same voxels."""
    outer, inner = kernel_size + 2, range(1, kernel_size + 1)
    kept = [x + outer * y + outer**2 * z for z in inner for y in inner for x in inner]
    inputs, outputs = (tuple(rows[offset] for offset in kept) for rows in (larger.inputs, larger.outputs))
    return KernelMap(inputs, outputs, larger.num_inputs, larger.num_outputs, centre=len(kept) // 2)


def _column_pairs(
    keys: Tensor,  # [V] int64 sorted
    dx: int,
    reach: int,
    stride: int,
) -> list[tuple[Tensor, Tensor]]:
    """Return (input, output) rows for one dx and every (dz, dy), z-major."""
    columns = [key_offset(dx, dy * stride, -reach * stride) for dy in range(-reach, reach + 1)]
    wanted = keys + torch.tensor(columns, device=keys.device)[:, None]
    position = torch.searchsorted(keys, wanted, out_int32=True)
    closed = torch.cat([keys, keys.new_full((1,), torch.iinfo(torch.int64).max)])
    positions, hits = [], []
    for _ in range(2 * reach + 1):
        hit = closed.index_select(0, position.view(-1)).view_as(wanted) == wanted
        positions.append(position)
        hits.append(hit)
        position = position + hit
        wanted = wanted + stride
    found = torch.cat(hits)
    counts = found.sum(dim=1).tolist()
    places = found.view(-1).nonzero()[:, 0]  # row * V + voxel
    source = torch.cat(positions).view(-1).index_select(0, places).split(counts)
    target = [(place - row * keys.numel()).int() for row, place in enumerate(places.split(counts))]
    return list(zip(source, target))


def strided_map(
    fine: Tensor,  # [V] int64 sorted keys at `stride`
    coarse: Tensor,  # [V'] int64 sorted keys at 2 * `stride`
    stride: int,
) -> KernelMap:
    """Connect each fine voxel to the coarse voxel that contains it: kernel 2, stride 2."""
    holder = torch.searchsorted(coarse, round_down(fine, 2 * stride), out_int32=True)
    odd = [(fine & key_offset(*step)) != 0 for step in ((stride, 0, 0), (0, stride, 0), (0, 0, stride))]
    offset = odd[0].long() + 2 * odd[1].long() + 4 * odd[2].long()
    order = torch.sort(offset, stable=True).indices
    counts = torch.bincount(offset, minlength=8).tolist()
    return KernelMap(order.int().split(counts), holder[order].split(counts), fine.numel(), coarse.numel())


class SparseGeometry:
    """The voxels of a batch at every stride and the kernel maps between them, each built once."""

    def __init__(
        self,
        coords: Tensor,  # [V, 4] integer (batch, x, y, z), sorted and without repeats, as `voxelise` returns
    ) -> None:
        self._layout = KeyLayout.around(coords)
        keys = self._layout.pack(coords)
        if not bool((keys[1:] > keys[:-1]).all()):
            raise InputError("Voxel coordinates are not sorted or repeat: use voxelise, which sorts and merges them.")
        self._keys = {1: keys}
        self._maps: dict[tuple[int, int], KernelMap] = {}

    def keys(self, stride: int) -> Tensor:  # [V] int64
        """Return the sorted packed coordinates at a stride."""
        if stride not in self._keys:
            self._keys[stride] = torch.unique(round_down(self.keys(stride // 2), stride))
        return self._keys[stride]

    def coords(self, stride: int) -> Tensor:  # [V, 4] int64 (batch, x, y, z)
        """Return the voxels at a stride; coordinates stay in units of the finest voxel, as in MinkowskiEngine."""
        return self._layout.unpack(self.keys(stride))

    def count(self, stride: int) -> int:
        """Return the number of voxels at a stride."""
        return self.keys(stride).numel()

    def submanifold(self, stride: int, kernel_size: int) -> KernelMap:
        """Return the map of a stride-1 convolution; raises an `InputError` for an even or large kernel."""
        if kernel_size % 2 == 0 or (kernel_size // 2) * stride >= MARGIN:
            raise InputError(f"kernel_size is {kernel_size} at stride {stride}: use a small odd size.")
        if (stride, kernel_size) not in self._maps:
            larger = self._maps.get((stride, kernel_size + 2))
            keys = self.keys(stride)
            found = submanifold_map(keys, kernel_size, stride) if larger is None else _inner_map(larger, kernel_size)
            self._maps[stride, kernel_size] = found
        return self._maps[stride, kernel_size]

    def down(self, stride: int) -> KernelMap:
        """Return the map of a kernel-2 stride-2 convolution from `stride` to `2 * stride`."""
        if 2 * stride > MARGIN:
            raise InputError(f"stride is {stride}: at most {MARGIN // 2} can be halved again.")
        if (stride, 2) not in self._maps:
            self._maps[stride, 2] = strided_map(self.keys(stride), self.keys(2 * stride), stride)
        return self._maps[stride, 2]

    def up(self, stride: int) -> KernelMap:
        """Return the map of the transposed convolution from `2 * stride` back onto the voxels at `stride`."""
        return self.down(stride).transposed
