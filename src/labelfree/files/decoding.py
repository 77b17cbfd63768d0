"""From an image file to its pixels: colours of any format as RGB, maps as stored, both turned upright.

Every failure is an `InputError` that names the file; what is no regular file or too large is refused before decoding.
"""

from __future__ import annotations

import io
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from labelfree.errors import InputError

MAX_PIXELS = 178_956_970
"""Images with more pixels are refused: the limit at which Pillow suspects a decompression bomb."""
MAX_BYTES = 1 << 30
"""Larger files are refused: no image of so many pixels takes more."""
_TRANSPOSE = Image.Transpose
_TURNS = {
    2: _TRANSPOSE.FLIP_LEFT_RIGHT,
    3: _TRANSPOSE.ROTATE_180,
    4: _TRANSPOSE.FLIP_TOP_BOTTOM,
    5: _TRANSPOSE.TRANSPOSE,
    6: _TRANSPOSE.ROTATE_270,
    7: _TRANSPOSE.TRANSVERSE,
    8: _TRANSPOSE.ROTATE_90,
}
"""How an image of each EXIF orientation is turned upright; 1 is upright."""
_SWAPS_SIDES = 5
"""From this orientation on, height and width change places."""
_PNG, _PNG_PALETTE, _JPEG, _JPEG_PIXELS = b"\x89PNG\r\n\x1a\n", b"\x03", b"\xff\xd8\xff", b"\xff\xda"
_EARLY_EXIF = (b"Exif", b"eXIf", b"adobe", b"Raw profile type")
"""What precedes an orientation in a PNG or JPEG file: EXIF, XMP, ImageMagick's text."""
_LATE_EXIF, _TAIL_BYTES = b"eXIf", 1 << 16
"""A PNG file may state its orientation behind the pixels, near its end."""
_WIDE = 65535 // 255


def decode_colours(source: Path | bytes, where: str) -> NDArray[np.uint8]:  # [H, W, 3]
    """Return the first image of a file, or of its bytes, as 8-bit RGB, turned as its EXIF orientation says.

    Palettes are looked up, grey is repeated, transparency is dropped. Grey of 16 bits is divided by 257. Grey of 32
    bits counts as 8 bits up to 255, as 16 bits up to 65535. Floats count as 0..1 if all are, else as 0..255.
    """
    with _opened(source, where) as picture:
        upright = _upright(picture)
        if upright.mode.startswith("I;16"):
            return _grey(_narrow(np.array(upright)))
        if upright.mode == "I":
            return _grey(_from_integers(np.array(upright), where))
        if upright.mode == "F":
            return _grey(_from_floats(np.array(upright), where))
        if upright.mode == "P" and "transparency" in upright.info:
            upright = upright.convert("RGBA")  # else Pillow warns
        return np.array(upright.convert("RGB"))


def decode_values(source: Path | bytes, where: str) -> NDArray[Any]:
    """Return the stored numbers of a file, or of its bytes: [H, W] for one channel, palette indices as they are."""
    with _opened(source, where) as picture:
        values = np.array(_upright(picture))
        if picture.mode == "1":
            return values.astype(np.uint8)
        return np.ascontiguousarray(values[:, :, 0]) if picture.mode == "PA" else values


def picture_size(path: Path) -> tuple[int, int]:
    """Return (height, width) of an image as it is loaded, from its header."""
    with _opened(path, str(path)) as picture:
        if picture.format == "TIFF":
            picture.load()  # older versions of Pillow state the size of a turned image only then
        width, height = picture.size
        return (height, width) if _orientation(picture) < _SWAPS_SIDES else (width, height)


def is_decoded_anew(data: bytes, where: str, as_colours: bool) -> bool:
    """Return whether the first version of labelfree read other pixels: palettes as indices, images not turned."""
    if _states_no_orientation(data) and not (as_colours and data[25:26] == _PNG_PALETTE):
        return False
    with _opened(data, where) as picture:
        return (as_colours and picture.mode == "P") or _orientation(picture) != 1


def _states_no_orientation(data: bytes) -> bool:
    """Return True for most PNG and JPEG files that need not be turned, without parsing them."""
    if data.startswith(_PNG):
        head = data[: data.find(b"IDAT")]
        return _LATE_EXIF not in data[-_TAIL_BYTES:] and not any(mark in head for mark in _EARLY_EXIF)
    return data.startswith(_JPEG) and not any(mark in data[: data.find(_JPEG_PIXELS)] for mark in _EARLY_EXIF)


@contextmanager
def _opened(source: Path | bytes, where: str) -> Iterator[Image.Image]:
    """Open an image; turn every error about it, here or in the block, into an `InputError`."""
    try:
        with _stream(source) as stream, Image.open(stream) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{picture.width * picture.height} pixels")
            if picture.format == "EPS":  # Pillow would start Ghostscript
                raise InputError(f"{where}: holds PostScript, not pixels; export it as PNG.")
            yield picture
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        found = "too many" if pixels is None else f"{int(pixels[0]):,}"
        raise InputError(f"{where}: has {found} pixels, at most {MAX_PIXELS:,} are read; scale it down.") from error
    except Exception as error:  # Pillow's decoders raise errors of many kinds for damaged files
        raise InputError(f"{where}: cannot be read as an image ({reason(error)}); copy the file again.") from error


def _stream(source: Path | bytes) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    require_file(source)
    return source.open("rb")


def require_file(path: Path) -> None:
    """Refuse a file that is missing, empty or not regular, before it is opened; opening a FIFO would block."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise InputError(f"{path}: the file is missing; restore it or take its frame out of the scene.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({reason(error)}); copy the file again.") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
        raise InputError(f"{path}: is {kind}, not a file; put the image in its place or take it away.")
    if not status.st_size:
        raise InputError(f"{path}: is empty; copy the file again.")
    if status.st_size > MAX_BYTES:
        raise InputError(f"{path}: has {status.st_size:,} bytes, at most {MAX_BYTES:,} are read; copy the file again.")


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file."""
    require_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)}); copy the file again.") from error


def reason(error: Exception) -> str:
    """Return in a few words why a file cannot be read."""
    if isinstance(error, UnidentifiedImageError):
        return "of no known image format"
    stated = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return stated.partition("\n")[0].rstrip(".") or type(error).__name__


def _upright(picture: Image.Image) -> Image.Image:
    picture.load()
    turn = _TURNS.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1..8, that is still to be applied; 1 where none is stated."""
    if picture.format == "TIFF":  # Pillow turns it itself
        return 1
    try:
        # A PNG file may state it after its pixels; Pillow would decode them to look there.
        late = picture.format != "PNG" or "exif" in picture.info or _tail_has_exif(picture)
        found = (picture.getexif() if late else Image.Image.getexif(picture)).get(ExifTags.Base.Orientation)
    except Exception:  # a damaged EXIF block is of no account as long as the pixels can be read
        return 1
    return found if found in _TURNS else 1


def _tail_has_exif(picture: Image.Image) -> bool:
    stream = picture.fp  # type: ignore[attr-defined]
    if stream is None:  # its pixels are loaded, and all that follows them
        return True
    place = stream.tell()
    stream.seek(max(0, stream.seek(0, io.SEEK_END) - _TAIL_BYTES))
    tail = stream.read()
    stream.seek(place)
    return _LATE_EXIF in tail


def _grey(values: NDArray[np.uint8]) -> NDArray[np.uint8]:  # [H, W] -> [H, W, 3]
    return np.repeat(values[:, :, None], 3, axis=2)


def _narrow(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return 16-bit values as 8 bits, rounded: 65535 becomes 255."""
    return ((values.astype(np.uint32) + _WIDE // 2) // _WIDE).astype(np.uint8)


def _from_integers(values: NDArray[Any], where: str) -> NDArray[np.uint8]:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise InputError(f"{where}: grey values lie in {low}..{high}, expected 0..65535; export it with 8 or 16 bits.")
    return values.astype(np.uint8) if high <= 255 else _narrow(values)


def _from_floats(values: NDArray[Any], where: str) -> NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(values).all():
        raise InputError(f"{where}: holds grey values that are not finite; export it with 8 or 16 bits.")
    if low < 0 or high > 255:
        raise InputError(f"{where}: grey values lie in {low:g}..{high:g}, expected 0..1 or 0..255; scale them.")
    return np.rint(values * (255 if high <= 1 else 1)).astype(np.uint8)
