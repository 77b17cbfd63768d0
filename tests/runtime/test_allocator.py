"""Freed memory: kept, counted, and returned above a bound. Run in a process of its own, because it is for good."""

from __future__ import annotations

import subprocess
import sys

import pytest

from labelfree.runtime import allocator
from labelfree.runtime.allocator import bound_freed_memory, free_bytes

SCRIPT = """
import torch
from labelfree.runtime.allocator import bound_freed_memory, free_bytes, keep_freed_memory

assert not bound_freed_memory(0), "nothing is kept yet"
assert keep_freed_memory() and keep_freed_memory()
size = 256 << 20
before = free_bytes()
below, above = torch.ones(size // 4), torch.ones(1024)
assert free_bytes() < before + size // 4, "live tensors count as free"
del below
assert free_bytes() > before + size * 3 // 4, "the block was returned to the system"
assert not bound_freed_memory(2 * size + before)
assert bound_freed_memory(size // 2)
assert free_bytes() < before + size // 4, "the bound was not kept"
"""


@pytest.mark.skipif(allocator._glibc() is None, reason="not on glibc 2.33 or later")
def test_freed_memory_is_kept_up_to_a_bound() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_glibc", lambda: None)
    assert not allocator.keep_freed_memory.__wrapped__()
    assert not bound_freed_memory(0)
    assert free_bytes() == 0
