"""Which number format is fast on the machine at hand."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch

from labelfree.config.training import Precision


def autocast_dtype(device: torch.device | str) -> torch.dtype | None:
    """Return the 16-bit type that speeds matrix work up on `device`, None where float32 is as fast or faster.

    A CPU needs AMX or AVX512-BF16 for that: without them bf16 products are several times slower than float32.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if kind == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()):
        return torch.bfloat16
    return None


def fast_autocast(device: torch.device | str) -> AbstractContextManager[object]:
    """Return an autocast context with the type of `autocast_dtype`, or one that does nothing."""
    dtype = autocast_dtype(device)
    if dtype is None:
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, dtype=dtype)


def fabric_precision(device: torch.device | str, precision: Precision = "auto") -> str:
    """Return the same choice, or float32 if that is asked for, in Lightning Fabric's words."""
    if precision == "float32":
        return "32-true"
    return {None: "32-true", torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}[autocast_dtype(device)]
