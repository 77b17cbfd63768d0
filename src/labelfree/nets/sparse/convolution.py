"""Compute sparse convolution as one function with its own gradient; no gathered rows are kept for the backward pass.

The output voxels are cut into tiles of a size that stays in the processor's cache. Per tile, rows of each offset are
gathered and multiplied by its weight into a shared buffer, whose rows are then summed (`sums.sum_rows`). The time per
voxel therefore does not grow with the cloud. Up to 8 input channels, and where the additional multiplications by
missing neighbours cost less than the calls, one matrix product over a gathered neighbour table is faster.
`benchmarks/sparse_conv.py` measures both against index_add per offset.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from labelfree.errors import InputError
from labelfree.nets.sparse.kernel_map import KernelMap, Tile
from labelfree.nets.sparse.sums import sum_rows
from labelfree.runtime.allocator import bound_freed_memory
from labelfree.runtime.products import Products, products_for

TABLE_CHANNELS = 8
"""Largest number of input channels for which the neighbour table is always used."""
TABLE_CHUNK = 2048
"""Output voxels per matrix product over the neighbour table."""


class CallCost(NamedTuple):
    """Sizes that follow from the fixed cost of one matrix product on a CPU."""

    table_waste: int
    """Largest number of multiply-adds with missing neighbours for which the neighbour table is used."""
    tile_pairs: int
    """Pairs per tile and thread."""


CHEAP_CALLS, COSTLY_CALLS = CallCost(1 << 24, 1 << 15), CallCost(1 << 26, 1 << 17)
"""For MKL and for oneDNN. With MKL, tiles of 2^15 pairs were fastest among 2^11 to 2^17 at 96 channels."""
MOST_TILE_PAIRS = 1 << 18
"""Largest tile on a CPU with many threads, which bounds the buffers."""
LARGE_BYTES = 1 << 26
"""Size of features from which freed memory is counted."""
DEVICE_TILE_PAIRS = 1 << 22
"""Pairs per tile on other devices, where only memory bounds it."""


def sparse_conv(
    features: Tensor,  # [Vin, Cin]
    kernel_map: KernelMap,
    weight: Tensor,  # [K, Cin, Cout]
) -> Tensor:  # [Vout, Cout]
    """Convolve voxel features; under autocast in its type, with sums over offsets accumulated in float32.

    Raises an `InputError` if features, weight and kernel map do not fit.
    """
    expected = (kernel_map.num_inputs, kernel_map.volume)
    if (features.shape[0], weight.shape[0]) != expected or features.shape[1] != weight.shape[1]:
        raise InputError(
            f"features {tuple(features.shape)} and weight {tuple(weight.shape)} do not fit a kernel map of "
            f"{expected[0]} input voxels and {expected[1]} offsets."
        )
    kind = features.device.type
    if torch.is_autocast_enabled(kind) and features.dtype != torch.float64:
        features, weight = features.to(torch.get_autocast_dtype(kind)), weight.to(torch.get_autocast_dtype(kind))
    return _SparseConv.apply(features.contiguous(), weight, kernel_map)  # type: ignore[no-untyped-call]


class _SparseConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.kernel_map = kernel_map
        _bound_memory(features)
        if features.shape[1] <= TABLE_CHANNELS or _fits_table(kernel_map, weight, products_for(features)):
            return _convolve_table(features, weight, kernel_map)
        return _convolve_tiles(features, weight, kernel_map)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, weight = ctx.saved_tensors
        _bound_memory(grad)
        grad, kernel_map = grad.contiguous(), ctx.kernel_map
        wants_features, wants_weight = ctx.needs_input_grad[:2]
        by_table = _fits_table(kernel_map.transposed, weight, products_for(grad))
        grad_features: Tensor | None = None
        grad_weight: Tensor | None = None
        if wants_weight:
            wide = torch.promote_types(weight.dtype, torch.float32)
            grad_weight = torch.zeros(weight.shape, dtype=wide, device=weight.device)
        if wants_features and not by_table:
            grad_features = _gradients(grad, features, weight, kernel_map, grad_weight)
        elif wants_features:
            grad_features = _features_gradient_table(grad, weight, kernel_map)
        if grad_weight is not None and (by_table or not wants_features):
            if by_table or features.shape[1] <= TABLE_CHANNELS:
                _weight_gradient_table(grad, features, kernel_map, grad_weight)
            else:
                _weight_gradient_tiles(grad, features, kernel_map, grad_weight)
        return grad_features, None if grad_weight is None else grad_weight.to(weight.dtype), None


def _bound_memory(values: Tensor) -> None:
    if values.device.type == "cpu" and values.nbytes >= LARGE_BYTES:
        bound_freed_memory()


def _cost(products: Products) -> CallCost:
    return COSTLY_CALLS if products.costly_calls else CHEAP_CALLS


def _fits_table(kernel_map: KernelMap, weight: Tensor, products: Products) -> bool:
    """Return whether multiplications by missing neighbours cost less than one call per offset."""
    missing = kernel_map.volume * kernel_map.num_outputs - kernel_map.pairs
    return missing * weight.shape[1] * weight.shape[2] <= _cost(products).table_waste


def _tiles(kernel_map: KernelMap, values: Tensor, products: Products) -> tuple[Tile, ...]:
    if values.device.type != "cpu":
        return kernel_map.tiles(DEVICE_TILE_PAIRS)
    return kernel_map.tiles(min(_cost(products).tile_pairs * torch.get_num_threads(), MOST_TILE_PAIRS))


def _convolve_tiles(
    features: Tensor,  # [Vin, Cin]
    weight: Tensor,  # [K, Cin, Cout]
    kernel_map: KernelMap,
) -> Tensor:  # [Vout, Cout]
    out = features.new_empty(kernel_map.num_outputs, weight.shape[2])
    weights, products = weight.unbind(), products_for(features)
    for tile in _tiles(kernel_map, features, products):
        results = _scratch("products", len(tile.sources), weight.shape[2], features)
        parts = results.split(tile.counts)
        for offset, (sources, factor, result) in enumerate(zip(tile.sources.split(tile.counts), weights, parts)):
            if offset == kernel_map.centre:
                products.write(features[tile.outputs], factor, result)
            elif len(sources):
                products.write(_gather("inputs", features, sources), factor, result)
        out[tile.outputs] = sum_rows(results, tile.sums)
    return out


def _gradients(
    grad: Tensor,  # [Vout, Cout]
    features: Tensor,  # [Vin, Cin]
    weight: Tensor,  # [K, Cin, Cout]
    kernel_map: KernelMap,
    grad_weight: Tensor | None,  # [K, Cin, Cout] added to in place
) -> Tensor:  # [Vin, Cin]
    """Return the gradient of the features and add that of the weights; gathered rows of `grad` are used for both."""
    back = kernel_map.transposed
    out = features.new_empty(back.num_outputs, weight.shape[1])
    weights, products = weight.transpose(1, 2).unbind(), products_for(grad)
    for tile in _tiles(back, grad, products):
        results, inputs = _scratch("products", len(tile.sources), weight.shape[1], grad), features[tile.outputs]
        pairs = zip(tile.sources.split(tile.counts), tile.targets.split(tile.counts), results.split(tile.counts))
        for offset, (sources, targets, result) in enumerate(pairs):
            if len(sources) == 0:
                continue
            same, index = offset == back.centre, kernel_map.mirrored(offset)
            rows = grad[tile.outputs] if same else _gather("grad", grad, sources)
            products.write(rows, weights[index], result)
            if grad_weight is not None:
                mine = inputs if same else _gather("inputs", inputs, targets)
                products.add(mine.t(), rows, grad_weight[index])
        out[tile.outputs] = sum_rows(results, tile.sums)
    return out


def _weight_gradient_tiles(
    grad: Tensor,  # [Vout, Cout]
    features: Tensor,  # [Vin, Cin]
    kernel_map: KernelMap,
    grad_weight: Tensor,  # [K, Cin, Cout] added to in place
) -> None:
    products = products_for(grad)
    for tile in _tiles(kernel_map, grad, products):
        pairs = zip(tile.sources.split(tile.counts), tile.targets.split(tile.counts), grad_weight.unbind())
        for sources, targets, total in pairs:
            if len(sources):
                rows = _gather("grad", grad[tile.outputs], targets)
                products.add(_gather("inputs", features, sources).t(), rows, total)


def _convolve_table(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
    flat = weight.reshape(-1, weight.shape[2])
    out, products = features.new_empty(kernel_map.num_outputs, weight.shape[2]), products_for(features)
    for start in range(0, kernel_map.num_outputs, TABLE_CHUNK):
        part = slice(start, start + TABLE_CHUNK)
        products.write(_neighbours(padded, kernel_map.table[part]), flat, out[part])
    return out


def _features_gradient_table(grad: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:  # [Vin, Cin]
    """Return the gradient convolved with the transposed weights along the transposed map."""
    back = kernel_map.transposed
    mirrored = weight if kernel_map.centre is None else weight.flip(0)
    return _convolve_table(grad, mirrored.transpose(1, 2), back)


def _weight_gradient_table(grad: Tensor, features: Tensor, kernel_map: KernelMap, grad_weight: Tensor) -> None:
    padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
    total, products = grad_weight.view(-1, grad.shape[1]), products_for(features)
    for start in range(0, kernel_map.num_outputs, TABLE_CHUNK):
        part = slice(start, start + TABLE_CHUNK)
        products.add(_neighbours(padded, kernel_map.table[part]).t(), grad[part], total)


def _neighbours(padded: Tensor, table: Tensor) -> Tensor:  # [n, K * Cin]
    return _gather("inputs", padded, table.reshape(-1)).view(table.shape[0], -1)


def _gather(name: str, values: Tensor, rows: Tensor) -> Tensor:  # [n, D]
    """Return the rows of `values` in a shared buffer."""
    return torch.index_select(values, 0, rows, out=_scratch(name, rows.numel(), values.shape[1], values))


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.by_name: dict[tuple[str, torch.dtype], Tensor] = {}


_buffers = _Buffers()


def _scratch(name: str, rows: int, width: int, like: Tensor) -> Tensor:  # [rows, width] uninitialised
    """Return a buffer that the next call with the same name overwrites.

    On CPUs the buffer is kept, because new memory pages cost more time than the matrix products that fill them. CUDA's
    allocator keeps memory itself. It is created outside inference mode, so that training can write to it later.
    """
    if like.device.type != "cpu":
        return like.new_empty(rows, width)
    held = _buffers.by_name.get((name, like.dtype))
    if held is None or held.numel() < rows * width:
        with torch.inference_mode(False):
            held = torch.empty(rows * width + rows * width // 4, dtype=like.dtype)
        _buffers.by_name[name, like.dtype] = held
    return held[: rows * width].view(rows, width)
