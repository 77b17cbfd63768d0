"""Multiply float32 matrices with the faster of PyTorch's two libraries: MKL, or oneDNN on AMD CPUs with AVX512.

`torch.mm` and `nn.Linear` call MKL in float32. MKL leaves AVX512 of AMD CPUs unused, oneDNN does not. On AMD CPUs with
AVX2 only, both are equally fast and oneDNN costs more per call, so MKL stays. The choice depends on the CPU alone, not
on timings: results are the same in every run on one machine. `LABELFREE_ONEDNN=0` or `1` overrides it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

SWITCH = "LABELFREE_ONEDNN"
"""Environment variable that chooses oneDNN (`1`) or MKL (`0`) for float32 products on a CPU."""


class Products(NamedTuple):
    """The two kinds of products of sparse convolution, without gradients."""

    write: Callable[[Tensor, Tensor, Tensor], None]
    """Write first [M, K] times second [K, N] into out [M, N]."""
    add: Callable[[Tensor, Tensor, Tensor], None]
    """Add first [M, K] times second [K, N] to total [M, N], which is float32 if the factors are 16-bit."""
    costly_calls: bool
    """Whether each call costs tens of microseconds, so that few large products are faster than many small ones."""


def products_for(values: Tensor) -> Products:
    """Return the products for factors of the type and device of `values`."""
    if _suits_onednn(values):
        # sums over rows stay with MKL: oneDNN's operation would first copy the transposed factor
        return Products(_write_by_onednn, _add, costly_calls=True)
    if values.dtype in {torch.bfloat16, torch.float16}:
        return Products(_write, _add_in_float32, costly_calls=True)
    return Products(_write, _add, costly_calls=False)


def _write(first: Tensor, second: Tensor, out: Tensor) -> None:
    torch.mm(first, second, out=out)


def _write_by_onednn(first: Tensor, second: Tensor, out: Tensor) -> None:
    out.copy_(_onednn(first, second.t(), None))


def _add(first: Tensor, second: Tensor, total: Tensor) -> None:
    total.addmm_(first, second)


def _add_in_float32(first: Tensor, second: Tensor, total: Tensor) -> None:
    total.add_(torch.mm(first, second))


class FastLinear(nn.Linear):
    """A linear layer for inference that takes oneDNN where that is chosen; weights and names are `nn.Linear`'s."""

    def forward(self, input: Tensor) -> Tensor:  # [..., K] -> [..., N]
        """Multiply by the weight and add the bias."""
        if torch.is_grad_enabled() or torch.is_autocast_enabled(input.device.type) or not _suits_onednn(input):
            return functional.linear(input, self.weight, self.bias)
        return _onednn(input, self.weight, self.bias)


def use_fast_linear(model: nn.Module) -> None:
    """Let the linear layers of a frozen float32 model on a CPU use oneDNN where that is chosen."""
    for module in model.modules():
        weight = module.weight if type(module) is nn.Linear else None
        if weight is not None and weight.dtype == torch.float32 and weight.device.type == "cpu" and onednn_is_chosen():
            module.__class__ = FastLinear


@cache
def onednn_is_chosen() -> bool:
    """Return whether float32 products on this CPU go through oneDNN."""
    wanted = os.environ.get(SWITCH, "")
    return _onednn_works() and (wanted == "1" or (wanted != "0" and _is_amd_with_avx512()))


def _suits_onednn(values: Tensor) -> bool:
    # fake and traced tensors are subclasses; oneDNN's operation is not defined for all of them
    plain = type(values) is Tensor and values.dtype == torch.float32 and values.device.type == "cpu"
    return plain and values.numel() > 0 and onednn_is_chosen()


def _onednn(values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # [..., K], [N, K], [N] -> [..., N]
    out: Tensor = _operation()(values, weight, bias, "none", [], "")
    return out


@cache
def _operation() -> Callable[..., Any]:
    operation: Callable[..., Any] = torch.ops.mkldnn._linear_pointwise.default
    return operation


@cache
def _onednn_works() -> bool:
    """Return whether PyTorch has oneDNN's operation and a small product agrees with MKL's."""
    values, weight = torch.arange(12.0).view(3, 4), torch.arange(20.0).view(5, 4)
    try:
        with torch.no_grad():
            return torch.backends.mkldnn.is_available() and torch.equal(
                _operation()(values, weight, None, "none", [], ""), values @ weight.t()
            )
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return False


@cache
def _is_amd_with_avx512() -> bool:
    # the call is younger than the oldest torch supported here; without it MKL is always right
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return "AMD" in str(capabilities.get("cpu_name", "")) and bool(capabilities.get("avx512_f", False))
