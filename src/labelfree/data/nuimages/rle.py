"""COCO's compressed run-length masks, in base64 as nuImages keeps them.

Format: columns first; runs of zeros and ones in turn, from the third on as the difference to the run two before, five
bits a character, the sixth says whether more follow (cocodataset/cocoapi, common/maskApi.c).
"""

from __future__ import annotations

import base64
import binascii

import numpy as np
from numpy.typing import NDArray

FIRST = 48
MORE, SIGN, BITS = 0x20, 0x10, 5


def runs_of(text: bytes) -> NDArray[np.int64]:
    """Return the runs that a string of characters holds; raises `ValueError` for what is none."""
    values = np.frombuffer(text, np.uint8).astype(np.int64) - FIRST
    if len(values) and (values.min() < 0 or values.max() >= 64):
        raise ValueError("characters that no run is written with")
    ends = np.flatnonzero((values & MORE) == 0)
    if len(values) and (not len(ends) or ends[-1] != len(values) - 1):
        raise ValueError("the last run is cut off")
    starts = np.r_[0, ends[:-1] + 1] if len(ends) else np.zeros(0, np.int64)
    place = np.arange(len(values)) - np.repeat(starts, ends - starts + 1)
    numbers = np.add.reduceat((values & 0x1F) << (BITS * place), starts) if len(starts) else np.zeros(0, np.int64)
    negative = (values[ends] & SIGN) != 0
    numbers -= np.where(negative, np.int64(1) << (BITS * (ends - starts + 1)), 0)
    for first in (1, 2):  # runs build on the one two before; the first three stand alone
        numbers[first::2] = numbers[first::2].cumsum()
    return numbers


def decode(counts: str, size: tuple[int, int]) -> NDArray[np.bool_]:  # [H, W]
    """Return a mask; raises `ValueError` for runs that do not fill it."""
    try:
        runs = runs_of(base64.b64decode(counts, validate=True))
    except binascii.Error as error:
        raise ValueError("no base64") from error
    pixels = size[0] * size[1]
    if (runs < 0).any() or (runs > pixels).any() or runs.sum() != pixels:  # the sum of huge runs may wrap around
        raise ValueError(f"runs of {int(runs.sum())} pixels for {size[1]}x{size[0]}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(size[1], size[0]).T


def encode(mask: NDArray[np.bool_]) -> str:  # [H, W]
    """Return a mask as `decode` reads it."""
    flat = np.r_[False, mask.T.ravel()]
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    runs = np.diff(np.r_[0, edges, mask.size]).tolist()
    text = bytearray()
    for index, run in enumerate(runs):
        number = run - (runs[index - 2] if index > 2 else 0)
        while True:
            bits, number = number & 0x1F, number >> BITS
            more = number != (-1 if bits & SIGN else 0)
            text.append(FIRST + bits + (MORE if more else 0))
            if not more:
                break
    return base64.b64encode(bytes(text)).decode("ascii")
