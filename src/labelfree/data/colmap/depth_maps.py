"""Read the dense depth maps of COLMAP: `WIDTH&HEIGHT&CHANNELS&` and then float32 z-depth, row by row."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError
from labelfree.files.decoding import MAX_PIXELS, read_file
from labelfree.files.documents import open_file

_HEADER = re.compile(rb"(\d{1,9})&(\d{1,9})&(\d{1,9})&")
_LONGEST_HEADER = 40
FIX = "run 'colmap patch_match_stereo' again"


@dataclass(frozen=True)
class ColmapDepthFile:
    """A depth map on disk, in units of the model; 0 where missing."""

    path: Path

    def load(self) -> NDArray[np.float32]:  # [H, W]
        """Return the depth. Raises an `InputError` if the file is truncated or no depth map."""
        with open_file(self.path, FIX) as file:
            height, width, _ = self._header(file)
            values = np.fromfile(file, "<f4", height * width)
        return values.reshape(height, width).astype(np.float32, copy=False)

    def size(self) -> tuple[int, int]:
        """Return (height, width). Raises an `InputError` if the file has another length than its header states."""
        with open_file(self.path, FIX) as file:
            return self._header(file)[:2]

    def check(self, thorough: bool) -> None:
        """Raise an `InputError` if the file is truncated or no depth map."""
        self.size()

    def digest(self) -> str:
        """Return the SHA-256 of the file's bytes."""
        return hashlib.sha256(read_file(self.path)).hexdigest()

    def describe(self) -> str:
        """Return the path."""
        return str(self.path)

    def _header(self, file: BinaryIO) -> tuple[int, int, int]:
        """Return height, width and the length of the header; leave the file at its first value."""
        found = _HEADER.match(file.read(_LONGEST_HEADER))
        width, height, channels = (0, 0, 0) if found is None else map(int, found.groups())
        if found is None or channels != 1 or not 0 < width * height <= MAX_PIXELS:
            raise InputError(f"{self.path}: does not begin with WIDTH&HEIGHT&1&, so it is no depth map; {FIX}.")
        size, stated = file.seek(0, 2), found.end() + 4 * width * height
        if size != stated:
            raise InputError(f"{self.path}: has {size} bytes, its header states {stated}; {FIX}.")
        file.seek(found.end())
        return height, width, found.end()
