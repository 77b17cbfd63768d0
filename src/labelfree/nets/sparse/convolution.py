"""Compute sparse convolution as one function with its own gradient; no gathered rows are kept for the backward pass.

The rows of each offset are gathered and multiplied by its weight into a shared buffer. The buffer's rows are then
summed into the output (`sums.sum_rows`). This was measured on a CPU against index_add per offset and one matrix product
over a gathered neighbour table (`benchmarks/sparse_conv.py`). The sums are faster on large clouds from 16 channels on.
The table is faster below that and on small clouds, where 27 small operations cost more than multiplications by missing
neighbours.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from labelfree.errors import InputError
from labelfree.nets.sparse.kernel_map import KernelMap
from labelfree.nets.sparse.sums import sum_rows

TABLE_CHANNELS = 8
"""Largest number of input channels for which the neighbour table is used."""
TABLE_VOXELS = 4096
"""Largest number of voxels for which the neighbour table is used with any number of channels."""
TABLE_CHUNK = 2048
"""Output voxels per matrix product over the neighbour table."""


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
        if features.shape[1] <= TABLE_CHANNELS or _is_small(kernel_map):
            return _convolve_table(features, weight, kernel_map)
        return _convolve_offsets(features, weight, kernel_map)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, weight = ctx.saved_tensors
        grad = grad.contiguous()
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        if ctx.needs_input_grad[0] and _is_small(ctx.kernel_map):
            if grad_weight is not None:
                _weight_gradient_table(grad, features, ctx.kernel_map, grad_weight)
            return _features_gradient_table(grad, weight, ctx.kernel_map), grad_weight, None
        if ctx.needs_input_grad[0]:
            return _gradients(grad, features, weight, ctx.kernel_map, grad_weight), grad_weight, None
        if grad_weight is not None:
            _weight_gradient(grad, features, ctx.kernel_map, grad_weight)
        return None, grad_weight, None


def _is_small(kernel_map: KernelMap) -> bool:
    return max(kernel_map.num_inputs, kernel_map.num_outputs) <= TABLE_VOXELS


def _convolve_offsets(
    features: Tensor,  # [Vin, Cin]
    weight: Tensor,  # [K, Cin, Cout]
    kernel_map: KernelMap,
) -> Tensor:  # [Vout, Cout]
    total: Tensor | None = None
    weights = weight.unbind()
    for group in kernel_map.groups:
        products = _scratch("products", sum(group.counts), weight.shape[2], features)
        for offset, part in zip(group.offsets, products.split(group.counts)):
            rows = _gather("features", features, kernel_map.inputs[offset], offset == kernel_map.centre)
            torch.mm(rows, weights[offset], out=part)
        total = _add(total, sum_rows(products, group.sums), len(kernel_map.groups))
    return features.new_zeros(0, weight.shape[2]) if total is None else total.to(features.dtype)


def _gradients(
    grad: Tensor,  # [Vout, Cout]
    features: Tensor,  # [Vin, Cin]
    weight: Tensor,  # [K, Cin, Cout]
    kernel_map: KernelMap,
    grad_weight: Tensor | None,  # [K, Cin, Cout] filled in place
) -> Tensor:  # [Vin, Cin]
    """Return the gradient of the features and fill that of the weights; gathered rows of `grad` are used for both."""
    back = kernel_map.transposed
    total: Tensor | None = None
    weights = weight.transpose(1, 2).unbind()
    grad_weights = () if grad_weight is None else grad_weight.unbind()
    for group in back.groups:
        products = _scratch("products", sum(group.counts), weight.shape[1], grad)
        for offset, part in zip(group.offsets, products.split(group.counts)):
            index, same = kernel_map.mirrored(offset), offset == back.centre
            rows = _gather("grad", grad, back.inputs[offset], same)
            torch.mm(rows, weights[index], out=part)
            if grad_weights:
                sources = _gather("features", features, back.outputs[offset], same)
                torch.mm(sources.t(), rows, out=grad_weights[index])
        total = _add(total, sum_rows(products, group.sums), len(back.groups))
    return features.new_zeros(0, weight.shape[1]) if total is None else total.to(features.dtype)


def _weight_gradient(
    grad: Tensor,  # [Vout, Cout]
    features: Tensor,  # [Vin, Cin]
    kernel_map: KernelMap,
    grad_weight: Tensor,  # [K, Cin, Cout] filled in place
) -> None:
    if features.shape[1] <= TABLE_CHANNELS or _is_small(kernel_map):
        return _weight_gradient_table(grad, features, kernel_map, grad_weight)
    for offset, out in enumerate(grad_weight.unbind()):
        same = offset == kernel_map.centre
        sources = _gather("features", features, kernel_map.inputs[offset], same)
        torch.mm(sources.t(), _gather("grad", grad, kernel_map.outputs[offset], same), out=out)
    return None


def _convolve_table(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
    flat = weight.reshape(-1, weight.shape[2])
    out = features.new_empty(kernel_map.num_outputs, weight.shape[2])
    for start in range(0, kernel_map.num_outputs, TABLE_CHUNK):
        part = slice(start, start + TABLE_CHUNK)
        torch.mm(_neighbours(padded, kernel_map.table[part]), flat, out=out[part])
    return out


def _features_gradient_table(grad: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:  # [Vin, Cin]
    """Return the gradient convolved with the transposed weights along the transposed map."""
    back = kernel_map.transposed
    mirrored = weight if kernel_map.centre is None else weight.flip(0)
    return _convolve_table(grad, mirrored.transpose(1, 2), back)


def _weight_gradient_table(grad: Tensor, features: Tensor, kernel_map: KernelMap, grad_weight: Tensor) -> None:
    padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
    wide = torch.promote_types(features.dtype, torch.float32)
    total = torch.zeros(grad_weight.shape[0] * grad_weight.shape[1], grad.shape[1], dtype=wide, device=grad.device)
    for start in range(0, kernel_map.num_outputs, TABLE_CHUNK):
        part = slice(start, start + TABLE_CHUNK)
        neighbours = _neighbours(padded, kernel_map.table[part])
        if wide == features.dtype:
            total.addmm_(neighbours.t(), grad[part])
        else:
            total += neighbours.t() @ grad[part]
    grad_weight.copy_(total.view_as(grad_weight))


def _neighbours(padded: Tensor, table: Tensor) -> Tensor:  # [n, K * Cin]
    out = _scratch("features", table.numel(), padded.shape[1], padded)
    torch.index_select(padded, 0, table.reshape(-1), out=out)
    return out.view(table.shape[0], -1)


def _gather(name: str, values: Tensor, rows: Tensor, every: bool) -> Tensor:  # [M_k, D]
    """Return the rows in a shared buffer, or `values` itself if the offset takes every row in order."""
    if every:
        return values
    return torch.index_select(values, 0, rows, out=_scratch(name, rows.numel(), values.shape[1], values))


def _add(total: Tensor | None, part: Tensor, parts: int) -> Tensor:
    if parts > 1 and part.dtype in {torch.bfloat16, torch.float16}:
        part = part.float()
    return part if total is None else total.add_(part)


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
