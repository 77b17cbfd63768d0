"""Damage images: headers, decompression bombs, and unusual modes and formats."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Rng = np.random.Generator
Damage = Callable[[Rng, Path], str]

BOMB_SIDE = 30_000
LARGE_SIDE = 13_000
"""Side of an image that Pillow accepts: 169 million pixels."""
LARGE_IMAGE = f"a whole PNG of {LARGE_SIDE} x {LARGE_SIDE} pixels"
BOMB_BLOCK = 16 << 20


def zeros(count: int) -> bytes:
    """Return a zlib stream of zeros that repeats one compressed block."""
    packer = zlib.compressobj(9)
    head = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b"\0" * BOMB_BLOCK) + packer.flush(zlib.Z_FULL_FLUSH)
    blocks, rest = divmod(count, BOMB_BLOCK)
    tail = packer.compress(b"\0" * rest) + packer.flush(zlib.Z_FINISH)
    return head + block * blocks + tail[:-4] + struct.pack(">I", (count % 65521 << 16) | 1)


def _saved(name: str, change: Callable[[Image.Image, Rng], Image.Image], kind: str = "", **options: object) -> Damage:
    def damaged(random: Rng, path: Path) -> str:
        with Image.open(path) as opened:
            opened.load()
            changed = change(opened, random)
        suffix = kind or {"jpg": "JPEG", "jpeg": "JPEG"}.get(path.suffix[1:].lower(), "PNG")
        changed.save(path, format=suffix, **options)
        return f"as {name}"

    return damaged


def _exif(random: Rng, path: Path) -> str:
    with Image.open(path) as opened:
        opened.load()
        exif = Image.Exif()
        exif[0x0112] = int(random.integers(2, 9))
        opened.save(path, format="JPEG" if path.suffix.lower() != ".png" else "PNG", exif=exif)
    return f"with EXIF orientation {exif[0x0112]}"


def _resized(image: Image.Image, random: Rng) -> Image.Image:
    sides = [int(random.choice([1, 2, 7, 33, 64, 200])) for _ in range(2)]
    return image.resize((sides[0], sides[1]), Image.Resampling.NEAREST)


def _wide(image: Image.Image, random: Rng) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def _float(image: Image.Image, random: Rng) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255)


def _png_header(random: Rng, path: Path) -> str:
    """Declare 30000 x 30000 pixels, with a valid checksum."""
    path.write_bytes(_png(BOMB_SIDE, 8, 2, zlib.compress(b"\0" * 1000)))
    return f"a PNG that declares {BOMB_SIDE} x {BOMB_SIDE} pixels"


def _png_bomb(random: Rng, path: Path) -> str:
    """Write a complete PNG of one colour."""
    path.write_bytes(_png(LARGE_SIDE, 8, 2, zeros(LARGE_SIDE * (3 * LARGE_SIDE + 1))))
    return LARGE_IMAGE


def _png_text_bomb(random: Rng, path: Path) -> str:
    """Insert a compressed text chunk of gigabytes before the pixels."""
    data = _png(4, 8, 2, zlib.compress(b"\0" * 52))
    text = b"Comment\0\0" + zeros(2 << 30)
    path.write_bytes(data[:33] + _chunk(b"zTXt", text) + data[33:])
    return "a PNG with a text of 2 GiB"


def _png(side: int, depth: int, colour: int, pixels: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


IMAGE: tuple[Damage, ...] = (
    _png_header, _png_header, _png_bomb, _png_text_bomb, _exif,
    _saved("16-bit grey", _wide, "PNG"), _saved("palette", lambda image, _: image.convert("RGB").quantize(16), "PNG"),
    _saved("CMYK", lambda image, _: image.convert("CMYK"), "JPEG"), _saved("32-bit float", _float, "TIFF"),
    _saved("RGBA", lambda image, _: image.convert("RGBA"), "PNG"), _saved("one bit", lambda image,
    _: image.convert("1"), "PNG"),
    _saved("grey", lambda image, _: image.convert("L")), _saved("grey with alpha", lambda image,
    _: image.convert("LA"), "PNG"),
    _saved("another size", _resized, "PNG"), _saved("a GIF", lambda image, _: image.convert("P"), "GIF"),
    _saved("32-bit grey", lambda image, _: image.convert("I"), "TIFF"), _saved("YCbCr TIFF", lambda i,
    _: i.convert("YCbCr"), "TIFF"),
)  # fmt: skip
