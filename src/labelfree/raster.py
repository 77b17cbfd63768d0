"""Images that are read when they are needed, so that a scene of 5,000 frames stays small in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelfree.errors import InputError


class Raster(Protocol):
    """An image, depth map or label map that can be loaded and told apart from others by its content."""

    def load(self) -> NDArray[Any]:
        """Return the pixels: [H, W] or [H, W, 3]."""

    def digest(self) -> str:
        """Return a hex digest of the content."""

    def describe(self) -> str:
        """Return the words that name this raster in an error: a path, where there is one."""


@dataclass(frozen=True)
class ImageFile:
    """A picture on disk in any format that Pillow reads."""

    path: Path

    def load(self) -> NDArray[Any]:
        """Return uint8 [H, W, 3] for colour, or the stored integers [H, W] for grey and label pictures."""
        try:
            with Image.open(self.path) as picture:
                if picture.mode in {"I;16", "I;16B", "I;16L", "I", "L", "P", "F"}:
                    return np.array(picture)
                return np.array(picture.convert("RGB"))
        except FileNotFoundError as error:
            raise InputError(
                f"{self.path}: the file is missing; restore it or take its frame out of the scene."
            ) from error
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"{self.path}: cannot be read as an image ({error}); copy the file again.") from error

    def digest(self) -> str:
        """Return the SHA-256 of the file's bytes."""
        if not self.path.is_file():
            raise InputError(f"{self.path}: the file is missing; restore it or take its frame out of the scene.")
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

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
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

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
        try:
            mapped: NDArray[Any] = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise InputError(
                f"{self.path}: the file is missing; restore it or take its frame out of the scene."
            ) from error
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{self.path}: cannot be read as an array ({error}); copy the file again.") from error
        return mapped


@dataclass(frozen=True, eq=False)
class ImageArray:
    """A picture already in memory."""

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
    """Wrap a path or an array; leave a raster as it is."""
    if isinstance(source, np.ndarray):
        return ImageArray(source)
    if isinstance(source, (str, Path)):
        return ImageFile(Path(source))
    return source


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
