"""Choice of the fastest number format of a device."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch

from labelfree.config.training import Precision


def autocast_dtype(device: torch.device | str) -> torch.dtype | None:
    """Return the 16-bit type that makes matrix products faster on `device`, or None if float32 is as fast.

    A CPU needs AMX or AVX512-BF16. Without them bfloat16 products are several times slower than float32. GPUs before
    Ampere only emulate bfloat16, so they get float16.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if kind == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()):
        return torch.bfloat16
    return None


def fast_autocast(device: torch.device | str) -> AbstractContextManager[object]:
    """Return an autocast context with the type of `autocast_dtype`, or a context without effect if that is None."""
    dtype = autocast_dtype(device)
    if dtype is None:
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, dtype=dtype)


def fabric_precision(device: torch.device | str, precision: Precision = "auto") -> str:
    """Return Lightning Fabric's name of the number format: that of `autocast_dtype`, or of float32 if requested."""
    if precision == "float32":
        return "32-true"
    return {None: "32-true", torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}[autocast_dtype(device)]
