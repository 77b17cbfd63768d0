"""Damage to files on disk, for the tests that nothing damaged is used."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path


def single_bit_flips(path: Path, times: int = 60, seed: int = 0) -> Iterator[str]:
    """Flip one bit of a file at a time, and put the file back at the end; half of the flips are near its ends."""
    intact, drawn = path.read_bytes(), random.Random(seed)
    for turn in range(times):
        near = min(len(intact), 300)
        places = (drawn.randrange(len(intact)), drawn.randrange(near), len(intact) - 1 - drawn.randrange(near))
        place, bit = places[turn % 3], drawn.randrange(8)
        damaged = bytearray(intact)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        yield f"{path.name}: bit {bit} of byte {place}"
    path.write_bytes(intact)
