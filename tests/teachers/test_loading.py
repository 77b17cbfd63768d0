"""Teachers' number format and layers, which depend on the CPU."""

from __future__ import annotations

import pytest
import torch

from labelfree.errors import InputError
from labelfree.teachers.loading import resolve_precision


@pytest.mark.parametrize(
    ("amx", "avx512_bf16", "expected"),
    [
        (False, False, torch.float32),
        (True, False, torch.bfloat16),
        (False, True, torch.bfloat16),
        (True, True, torch.bfloat16),
    ],
)
def test_auto_is_bfloat16_on_cpus_with_units_for_it(
    amx: bool, avx512_bf16: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    assert resolve_precision("auto", torch.device("cpu")) == expected
    assert resolve_precision("float32", torch.device("cpu")) == torch.float32


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(InputError, match="'int8'"):
        resolve_precision("int8", torch.device("cpu"))
