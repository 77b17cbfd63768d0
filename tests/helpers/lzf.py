"""LZF compression for tests, written from the format: literals, and repetitions of earlier bytes."""

from __future__ import annotations


def lzf_compress(data: bytes) -> bytes:
    """Return data with each repetition of three bytes or more, at most 8 KiB back, as a reference."""
    out, literals, place = bytearray(), bytearray(), 0
    seen: dict[bytes, int] = {}

    def flush() -> None:
        for start in range(0, len(literals), 32):
            piece = literals[start : start + 32]
            out.extend((len(piece) - 1, *piece))
        literals.clear()

    while place < len(data):
        key = data[place : place + 3]
        back = place - seen.get(key, place)
        seen[key] = place
        if len(key) < 3 or not 0 < back <= 1 << 13:
            literals.append(data[place])
            place += 1
            continue
        length = 3
        while length < 264 and place + length < len(data) and data[place + length] == data[place + length - back]:
            length += 1
        flush()
        high, low = divmod(back - 1, 256)
        stated = length - 2
        out.extend((stated << 5 | high, low) if stated < 7 else (7 << 5 | high, stated - 7, low))
        place += length
    flush()
    return bytes(out)
