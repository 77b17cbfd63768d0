"""Check that image and PLY files are complete, without decoding images: find empty and truncated files.

JPEG: the end marker is present. PNG: every chunk is complete, and with `thorough` its CRC-32 is correct. Other formats
are decoded. Damage inside a JPEG's compressed data is not found, because decoders do not report it either.
"""

from __future__ import annotations

import io
import os
import re
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from PIL import Image

from labelfree.errors import InputError
from labelfree.files.decoding import MAX_BYTES
from labelfree.files.documents import one_line, open_file
from labelfree.raster import ArrayFile, Raster
from labelfree.scene import Frame

COPY = "copy the file again"
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
TAIL = 32
"""Bytes at the end of a JPEG file that are searched first for its end marker."""
PIECE = 1 << 20
LONGEST_HEADER = 1 << 16
PLY_BYTES = {
    **dict.fromkeys(("char", "uchar", "int8", "uint8"), 1),
    **dict.fromkeys(("short", "ushort", "int16", "uint16"), 2),
    **dict.fromkeys(("int", "uint", "float", "int32", "uint32", "float32"), 4),
    **dict.fromkeys(("double", "float64"), 8),
}
FEWEST_CORNERS = {"face": 3}
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
"""A JPEG marker; inside compressed data, 0xFF is always followed by 0 or a restart marker."""
_END, _ALONE = 0xD9, (0x01, 0xD8)
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    Image.DecompressionBombError,
)


@runtime_checkable
class Checkable(Protocol):
    """A raster that can check its own stored bytes."""

    def check(self, thorough: bool) -> None:
        """Raise an `InputError` if the bytes are truncated or damaged."""


def frame_faults(frames: Iterable[Frame], thorough: bool) -> Iterator[str]:
    """Yield a sentence for each image, depth map and label image that is missing, empty, truncated or damaged."""
    for frame in frames:
        for raster in (frame.image, frame.depth, frame.labels):
            if raster is not None:
                try:
                    check_raster(raster, thorough)
                except InputError as error:
                    yield str(error)


def file_faults(files: Iterable[Path], thorough: bool) -> Iterator[str]:
    """Yield a sentence for each image file that is empty, truncated or damaged."""
    for path in files:
        try:
            check_image(path, thorough)
        except InputError as error:
            yield str(error)


def check_raster(raster: Raster, thorough: bool) -> None:
    """Raise an `InputError` if the stored bytes of a raster are missing, truncated or damaged."""
    if isinstance(raster, Checkable):
        raster.check(thorough)
    elif isinstance(raster, ArrayFile):
        raster.shape()
    elif isinstance(path := getattr(raster, "path", None), Path):
        check_image(path, thorough)


def check_image(path: Path, thorough: bool = False, fix: str = COPY) -> tuple[int, int]:
    """Return the stored (height, width) of an image file.

    Raises an `InputError` if the file is missing, empty, truncated or damaged; the message ends with `fix`.
    """
    with open_file(path, fix, MAX_BYTES) as file:
        return check_packed(file, os.fstat(file.fileno()).st_size, str(path), thorough, fix)


def check_packed(file: BinaryIO, size: int, where: str, thorough: bool, fix: str = COPY) -> tuple[int, int]:
    """Return the stored (height, width) of an image of `size` bytes.

    Raises an `InputError` if it is empty, truncated or damaged; `where` names it in the message.
    """
    if not size:
        raise InputError(f"{where}: is empty (0 bytes); {fix}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file) as picture:
                shape = picture.height, picture.width
                file.seek(0)
                head = file.read(len(PNG))
                if head == PNG:
                    fault = _png_fault(file, size, thorough)
                elif head.startswith(JPEG):
                    fault = None if _jpeg_ends(file, size) else "it has no end marker"
                else:
                    file.seek(0)
                    picture.load()
                    fault = None
    except _DECODER_ERRORS as error:
        raise InputError(f"{where}: cannot be read as an image ({one_line(error)}); {fix}.") from error
    if fault is not None:
        raise InputError(f"{where}: is truncated or damaged after {size} bytes ({fault}); {fix}.")
    return shape


def check_ply(path: Path) -> None:
    """Raise an `InputError` if a binary PLY file is shorter than its header states, with faces counted as triangles."""
    with open_file(path) as file:
        size, head = os.fstat(file.fileno()).st_size, file.read(LONGEST_HEADER)
    header, found, _ = head.partition(b"end_header")
    if not found or b"format binary" not in header:
        return
    least, element, count = len(header) + len(found) + 1, "", 0
    for line in header.decode("ascii", "replace").splitlines():
        match line.split():
            case ["element", element, text] if text.isdecimal():
                count = int(text)
            case ["property", "list", length, kind, _]:
                least += count * (PLY_BYTES.get(length, 0) + FEWEST_CORNERS.get(element, 0) * PLY_BYTES.get(kind, 0))
            case ["property", kind, _]:
                least += count * PLY_BYTES.get(kind, 0)
    if size < least:
        raise InputError(f"{path}: is cut off after {size} of at least {least} bytes; copy or export it again.")


def check_bytes(data: bytes, where: str, thorough: bool, fix: str = COPY) -> tuple[int, int]:
    """Return the stored (height, width) of an encoded image in memory; raises like `check_packed`."""
    return check_packed(io.BytesIO(data), len(data), where, thorough, fix)


def _jpeg_ends(file: BinaryIO, size: int) -> bool:
    file.seek(max(0, size - TAIL))
    if b"\xff\xd9" in file.read(TAIL):
        return True
    file.seek(0)  # bytes follow the end marker, or it is missing: walk from marker to marker
    data, place = file.read(size), len(JPEG)
    while (found := _MARKER.search(data, place)) is not None:
        kind = found[1][0]
        if kind == _END:
            return True
        length = 0 if kind in _ALONE else int.from_bytes(data[found.end() : found.end() + 2], "big")
        place = found.end() + length
    return False


def _png_fault(file: BinaryIO, size: int, thorough: bool) -> str | None:
    """Return what is wrong with a PNG file, chunk by chunk; None if nothing. Bytes after the last chunk are ignored."""
    place = len(PNG)
    while place + 12 <= size:
        file.seek(place)
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if place + 12 + length > size:
            return f"chunk {kind!r} is cut off"
        if thorough and _crc(file, length, kind) != int.from_bytes(file.read(4), "big"):
            return f"chunk {kind!r} has a wrong checksum"
        if kind == b"IEND":
            return None
        place += 12 + length
    return "the last chunk is missing"


def _crc(file: BinaryIO, length: int, kind: bytes) -> int:
    crc = zlib.crc32(kind)
    while length > 0:
        piece = file.read(min(length, PIECE))
        if not piece:
            return -1
        crc, length = zlib.crc32(piece, crc), length - len(piece)
    return crc


ASPECT_TOLERANCE = 0.02
"""Largest relative difference in width / height of two images of the same view; ScanNet's differ by 0.4 %."""
