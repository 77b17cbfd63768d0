"""Images whose end is missing are found in every format, whole ones never are, whatever follows their end."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelfree.data.integrity import check_bytes, check_image
from labelfree.errors import InputError
from labelfree.files.decoding import picture_size
from labelfree.raster import ImageFile, MapFile

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


def packed(format_: str, **how: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, format=format_, **how)
    return file.getvalue()


def with_thumbnail() -> bytes:
    """A JPEG with another JPEG, and its end marker, in its header."""
    inside = packed("JPEG", quality=5)
    whole = packed("JPEG")
    segment = b"\xff\xe1" + (len(inside) + 2).to_bytes(2, "big") + inside
    return whole[:2] + segment + whole[2:]


WHOLE = {
    "jpeg": packed("JPEG"),
    "progressive": packed("JPEG", progressive=True),
    "thumbnail": with_thumbnail(),
    "png": packed("PNG"),
    "pgm": b"P5\n60 40\n65535\n" + bytes(60 * 40 * 2),
    "bmp": packed("BMP"),
    "webp": packed("WEBP"),
    "tiff": packed("TIFF"),
}


def shorter(whole: bytes) -> Iterator[bytes]:
    yield b""
    for length in sorted({*np.linspace(1, len(whole) - 1, 25).astype(int).tolist(), len(whole) - 1, len(whole) - 2}):
        yield whole[:length]


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("thorough", [False, True])
def test_every_truncation_is_found(name: str, thorough: bool) -> None:
    whole = WHOLE[name]
    assert check_bytes(whole, "here", thorough) == (40, 60)
    for data in shorter(whole):
        if name == "tiff" and len(data) > len(whole) - 3:
            continue  # padding
        with pytest.raises(InputError, match=r"^here: (is empty|cannot be read|is truncated)"):
            check_bytes(data, "here", thorough)


@pytest.mark.parametrize("name", ["jpeg", "progressive", "thumbnail", "png"])
def test_what_follows_the_end_is_left_alone(name: str) -> None:
    assert check_bytes(WHOLE[name] + bytes(500), "here", True) == (40, 60)
    assert check_bytes(WHOLE[name] + b"trailer of a camera" * 20, "here", True) == (40, 60)


def test_zeros_at_the_end_are_found() -> None:
    for name in ("jpeg", "thumbnail", "png"):
        half = len(WHOLE[name]) * 2 // 3
        with pytest.raises(InputError, match="truncated or damaged"):
            check_bytes(WHOLE[name][:half] + bytes(len(WHOLE[name]) - half), "here", True)


def test_checksums_of_png(tmp_path: Path) -> None:
    data = bytearray(WHOLE["png"])
    data[len(data) // 2] ^= 4
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert check_image(path) == (40, 60)
    with pytest.raises(InputError, match="wrong checksum"):
        check_image(path, thorough=True)


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_larger_than_any_image_is_not_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "grown.jpg"
    path.write_bytes(WHOLE[name])
    os.truncate(path, 8 << 30)  # sparse: it takes no room
    image, values = ImageFile(path), MapFile(path)
    reads: tuple[Callable[[], object], ...] = (partial(check_image, path), partial(picture_size, path), image.load)
    for read in (*reads, image.digest, values.load, values.digest):
        with pytest.raises(InputError, match=r"grown\.jpg: (is larger than|has 8,589,934,592 bytes, at most) "):
            read()


def test_a_header_of_a_huge_image() -> None:
    head = b"\x00\x00\x00\x0dIHDR" + (30000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    data = b"\x89PNG\r\n\x1a\n" + head + zlib.crc32(head[4:]).to_bytes(4, "big") + WHOLE["png"][33:]
    with pytest.raises(InputError, match="cannot be read as an image"):
        check_bytes(data, "here", True)
