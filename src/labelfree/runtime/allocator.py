"""Keep freed memory for the next tensor, up to a bound, on Linux with glibc.

By default glibc returns the memory of every large tensor to the system when it is freed. The next tensor of that size
then costs one page fault per 4 kB, which takes up to eight times as long as filling it. `keep_freed_memory` turns this
off. Free blocks between live ones would then stay with the process for good: `bound_freed_memory` returns them when
they exceed a bound. Elsewhere both functions do nothing.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
"""Numbers of the parameters of glibc's `mallopt`."""
LARGEST_KEPT_BYTES = 1 << 30
"""Largest block that is kept; glibc returns larger ones as before."""
KEPT_BYTES = 2 << 30
"""Free memory that the process keeps."""

_STATM = Path("/proc/self/statm")


class _Mallinfo2(ctypes.Structure):
    _names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    _fields_ = [(name, ctypes.c_size_t) for name in _names]


@cache
def keep_freed_memory() -> bool:
    """Let this process keep freed memory; return False where that is not possible.

    All threads share one arena, because those of other threads consist of pieces of 64 MB.
    """
    libc = _glibc()
    if libc is None:
        return False
    wanted = ((ARENA_MAX, 1), (TRIM_THRESHOLD, KEPT_BYTES // 2), (MMAP_THRESHOLD, LARGEST_KEPT_BYTES))
    done = [libc.mallopt(parameter, value) for parameter, value in wanted]
    return all(done)


def bound_freed_memory(kept_bytes: int = KEPT_BYTES) -> bool:
    """Return the free memory to the system if it exceeds `kept_bytes`; return whether it did.

    Does nothing before `keep_freed_memory`, because glibc then keeps little.
    """
    libc = _glibc()
    if libc is None or not keep_freed_memory.cache_info().currsize:
        return False
    if free_bytes() <= kept_bytes:
        return False
    return bool(libc.malloc_trim(0))


def free_bytes() -> int:
    """Return the bytes of memory that were freed but not returned to the system; 0 if unknown."""
    libc = _glibc()
    if libc is None:
        return 0
    resident, shared = (int(pages) for pages in _STATM.read_text().split()[1:3])
    in_use: _Mallinfo2 = libc.mallinfo2()
    return max(0, (resident - shared) * os.sysconf("SC_PAGE_SIZE") - in_use.uordblks - in_use.hblkhd)


@cache
def _glibc() -> ctypes.CDLL | None:
    """Return the C library if it is glibc 2.33 or later, whose `mallinfo2` counts beyond 4 GB."""
    if not sys.platform.startswith("linux") or not _STATM.is_file():
        return None
    libc = ctypes.CDLL(None)
    if not all(hasattr(libc, name) for name in ("gnu_get_libc_version", "mallopt", "malloc_trim", "mallinfo2")):
        return None
    libc.mallinfo2.restype = _Mallinfo2
    return libc
