"""Decompress LZF, the compression of `binary_compressed` PCD files."""

from __future__ import annotations

_LITERAL = 1 << 5
"""Control bytes below this are followed by that many bytes plus 1; others repeat earlier bytes."""
_LONG = 7
"""Length of a repetition that is continued in the next byte."""
MOST_EXPANSION = 264 // 3 + 1
"""Bytes that one compressed byte can give at most: a repetition takes 3 bytes for up to 264."""


def lzf_decompress(data: bytes, size: int) -> bytes:
    """Return the `size` bytes that `data` stands for; raises a ValueError if it stands for another number."""
    out, place = bytearray(), 0
    try:
        while place < len(data) and len(out) <= size:
            control, place = data[place], place + 1
            if control < _LITERAL:
                out += data[place : place + control + 1]
                place += control + 1
                continue
            length = control >> 5
            if length == _LONG:
                length, place = length + data[place], place + 1
            back = ((control & 0x1F) << 8) + data[place] + 1
            place += 1
            _repeat(out, back, length + 2)
    except IndexError:
        raise ValueError("the compressed data is cut off") from None
    if place != len(data) or len(out) != size:
        raise ValueError(f"the compressed data gives {len(out)} bytes, expected {size}")
    return bytes(out)


def _repeat(out: bytearray, back: int, length: int) -> None:
    """Append `length` bytes from `back` bytes before the end, which may include bytes that are appended."""
    start = len(out) - back
    if start < 0:
        raise ValueError("the compressed data repeats bytes before its beginning")
    if back >= length:
        out += out[start : start + length]
    else:
        out += (out[start:] * (length // back + 1))[:length]
