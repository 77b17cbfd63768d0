"""Safetensors files that are not as long as their header promises are refused before anything is mapped or read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from labelfree.errors import InputError
from labelfree.weights import headers
from labelfree.weights.headers import require_whole
from labelfree.weights.stored import read_weights


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(3, 4), "b": torch.ones(2, dtype=torch.int64)}, path, {"format": "pt"})
    return path


def with_header(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


def test_whole_files(stored: Path, tmp_path: Path) -> None:
    require_whole(stored)
    save_file({}, tmp_path / "empty.safetensors")
    require_whole(tmp_path / "empty.safetensors")


@pytest.mark.parametrize("size", [8 << 30, 0, 5, 100, -1])
def test_another_length(stored: Path, size: int) -> None:
    os.truncate(stored, size if size >= 0 else stored.stat().st_size - 1)  # sparse where it grows: it takes no room
    with pytest.raises(InputError, match=r"model\.safetensors: not a readable safetensors file .*; copy it again\.$"):
        read_weights(stored)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{",
        b"\xff",
        b"[" * 5000,
        json.dumps({"a": {"dtype": "F32", "shape": [1]}}).encode(),
        json.dumps({"a": {"data_offsets": [0, "4"]}}).encode(),
        json.dumps({"a": {"data_offsets": [0, 1 << 70]}}).encode(),
    ],
)
def test_garbled_headers(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(with_header(header))
    with pytest.raises(InputError, match=r"x\.safetensors: not a readable safetensors file") as caught:
        require_whole(path)
    assert "\n" not in str(caught.value)


def test_a_header_too_long_is_not_read(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "LARGEST_HEADER", 50)
    with pytest.raises(InputError, match=r"a header of \d+ bytes in a file of"):
        require_whole(stored)
