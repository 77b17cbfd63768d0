"""The number format of a GPU: bfloat16 where it has units for it, float16 where it emulates bfloat16."""

from __future__ import annotations

import pytest
import torch

from helpers.fake_cuda import FakeCuda
from labelfree.runtime.precision import autocast_dtype, fabric_precision
from labelfree.teachers.loading import resolve_precision


@pytest.mark.parametrize(
    ("capability", "dtype", "name"), [((8, 0), torch.bfloat16, "bf16-mixed"), ((7, 5), torch.float16, "16-mixed")]
)
def test_a_gpu_that_emulates_bfloat16_gets_float16(capability: tuple[int, int], dtype: torch.dtype, name: str) -> None:
    with FakeCuda(capability):
        assert torch.cuda.is_bf16_supported()
        assert autocast_dtype("cuda") == resolve_precision("auto", torch.device("cuda")) == dtype
        assert fabric_precision("cuda") == name
        assert fabric_precision("cuda", "float32") == "32-true"
