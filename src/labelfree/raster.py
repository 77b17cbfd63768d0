"""Images that are read when they are needed, so that a scene of 5,000 frames stays small in memory.

A file is read for what it is used as. A colour image (`ImageFile`) is uint8 RGB in any format; a map of labels, mask
ids or depth (`MapFile`) keeps its stored numbers. Both are turned as their EXIF orientation says.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelfree.errors import InputError
from labelfree.files.decoding import decode_colours, decode_values, is_decoded_anew, read_file, reason, require_file
from labelfree.files.documents import map_array

DECODING = 2
"""Version of the colour decoding; part of the digest of those files that version 1 decoded differently."""


class Raster(Protocol):
    """An image, depth map or label map that can be loaded and told apart from others by its content."""

    def load(self) -> NDArray[Any]:
        """Return the pixels: [H, W] or [H, W, 3]."""

    def digest(self) -> str:
        """Return a hex digest of the content."""

    def describe(self) -> str:
        """Return the name of this raster for errors: its path, if it has one."""


@dataclass(frozen=True)
class ImageFile:
    """A colour image on disk in any format that Pillow reads."""

    path: Path

    def load(self) -> NDArray[Any]:
        """Return uint8 [H, W, 3]; see `decode_colours`."""
        return decode_colours(self.path, str(self.path))

    def digest(self) -> str:
        """Return the SHA-256 of the file's bytes; mixed with the decoding's version where that changed the colours."""
        return _digest(self.path, as_colours=True)

    def describe(self) -> str:
        """Return the path."""
        return str(self.path)


@dataclass(frozen=True)
class MapFile:
    """A label map, mask-id map or depth map on disk, as an image of one channel."""

    path: Path

    def load(self) -> NDArray[Any]:
        """Return the stored numbers [H, W]; more dimensions where the file holds several channels."""
        return decode_values(self.path, str(self.path))

    def digest(self) -> str:
        """Return the SHA-256 of the file's bytes; mixed with the decoding's version where the map is turned."""
        return _digest(self.path, as_colours=False)

    def describe(self) -> str:
        """Return the path."""
        return str(self.path)


@dataclass(frozen=True)
class ArrayFile:
    """A `.npy` file of numbers, such as a depth map in metres."""

    path: Path

    def load(self) -> NDArray[Any]:
        """Return the array."""
        return np.array(self._mapped())

    def digest(self) -> str:
        """Return the SHA-256 of the file's bytes."""
        self._mapped()
        return hashlib.sha256(read_file(self.path)).hexdigest()

    def describe(self) -> str:
        """Return the path."""
        return str(self.path)

    def shape(self) -> tuple[int, ...]:
        """Return the shape, from the file's header."""
        return tuple(self._mapped().shape)

    def dtype(self) -> np.dtype[Any]:
        """Return the kind of numbers, from the file's header."""
        return self._mapped().dtype

    def _mapped(self) -> NDArray[Any]:
        require_file(self.path)
        try:
            mapped = map_array(self.path)
        except Exception as error:  # a damaged header raises errors of many kinds
            raise InputError(
                f"{self.path}: cannot be read as an array ({reason(error)}); copy the file again."
            ) from error
        if mapped.dtype.kind not in "biuf":
            raise InputError(f"{self.path}: holds {mapped.dtype}, expected one array of real numbers; export it again.")
        return mapped


@dataclass(frozen=True, eq=False)
class ImageArray:
    """An image or a map that is already in memory."""

    array: NDArray[Any]

    def load(self) -> NDArray[Any]:
        """Return the array itself."""
        return self.array

    def digest(self) -> str:
        """Return the SHA-256 of the array's type, shape and bytes."""
        head = f"{self.array.dtype}{self.array.shape}".encode()
        return hashlib.sha256(head + np.ascontiguousarray(self.array).tobytes()).hexdigest()

    def describe(self) -> str:
        """Return the array's shape."""
        return f"array of shape {self.array.shape}"


def as_raster(source: Raster | NDArray[Any] | Path | str) -> Raster:
    """Wrap a path or an array as a colour image; leave a raster as it is."""
    if isinstance(source, np.ndarray):
        return ImageArray(source)
    if isinstance(source, (str, Path)):
        return ImageFile(Path(source))
    return source


def as_map(source: Raster | NDArray[Any] | Path | str) -> Raster:
    """Wrap a path or an array as a map of numbers; an image file given for a map is read as one."""
    if isinstance(source, (str, Path)):
        return MapFile(Path(source))
    return MapFile(source.path) if type(source) is ImageFile else as_raster(source)


def resize_image(
    image: NDArray[np.uint8],  # [H, W, 3]
    size: tuple[int, int],
) -> NDArray[np.uint8]:
    """Resize colours to (height, width): area-aware bilinear, pixel centres at integer + 0.5."""
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def resize_nearest(
    values: NDArray[Any],  # [H, W]
    size: tuple[int, int],
) -> NDArray[Any]:
    """Resize labels, mask ids or depth to (height, width) by taking the pixel under each new pixel's centre."""
    if values.shape[:2] == size:
        return values
    rows = ((np.arange(size[0]) + 0.5) * values.shape[0] / size[0]).astype(np.int64)
    columns = ((np.arange(size[1]) + 0.5) * values.shape[1] / size[1]).astype(np.int64)
    return values[rows[:, None], columns[None, :]]


def _digest(path: Path, as_colours: bool) -> str:
    """Return the SHA-256 of an image file's bytes, or of the decoding's version and that where it matters."""
    data = read_file(path)
    content = hashlib.sha256(data).hexdigest()
    if not is_decoded_anew(data, str(path), as_colours):
        return content
    return hashlib.sha256(f"{DECODING} {content}".encode()).hexdigest()
