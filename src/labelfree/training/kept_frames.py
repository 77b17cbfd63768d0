"""Kept frames: stored uncompressed as training reads them and memory-mapped, so that no epoch decodes them again."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError
from labelfree.files.atomic import UnwritableError, atomic_file
from labelfree.training.samples import LabelledFrame

FORMAT = 1
"""Version of the files; increased when their content or the code that makes it changes."""
KEY_LENGTH = 16
PAIR_BYTES = 12
"""Bytes of one pixel-point pair; the length of the rest depends only on the size of the frame."""


@dataclass(frozen=True)
class KeptFrames:
    """A folder of frames made with one set of settings; a file's name is a digest of everything else in the frame.

    Several processes may use it at once: files are written atomically, and all processes write the same bytes.
    """

    folder: Path
    size: tuple[int, int]
    """(height, width) of the frames."""
    spare: float = 0.0
    """Share of the disk that stays free: no frame is stored beyond it."""

    def frame(self, key: str, make: Callable[[], LabelledFrame]) -> LabelledFrame:
        """Return a frame without its latent target: read from its file, or made and stored if none is intact
        and the disk has room.

        Raises an `InputError` if the file cannot be written.
        """
        path = self.folder / f"{key[:KEY_LENGTH]}.frame"
        found = read_frame(path, self.size)
        if found is None:
            found = make()
            if self.spare == 0.0 or self._has_room():
                write_frame(path, found)
        return found

    def _has_room(self) -> bool:
        disk = shutil.disk_usage(self.folder)
        return disk.free > self.spare * disk.total


def read_frame(path: Path, size: tuple[int, int]) -> LabelledFrame | None:
    """Return a memory-mapped kept frame; None if its file is missing, truncated or altered."""
    try:
        pairs, rest = divmod(path.stat().st_size - _entry_type(size, 0).itemsize, PAIR_BYTES)
        if pairs < 0 or rest:
            return None
        mapped = np.memmap(path, _entry_type(size, pairs), "r", shape=(1,))
    except (OSError, ValueError):  # missing, or truncated meanwhile
        return None
    entry = np.asarray(mapped)
    if entry["checksum"][0] != _checksum(entry, path):
        return None
    point, row, column = entry["pairs"][0]
    return LabelledFrame(entry["image"][0], entry["labels"][0], entry["mask_ids"][0], point, row, column, None)


def write_frame(path: Path, frame: LabelledFrame) -> None:
    """Write a frame without its latent target, which the teachers' cache already holds uncompressed.

    Raises an `InputError` if the file cannot be written.
    """
    entry = np.zeros(1, _entry_type(frame.labels.shape, len(frame.pair_point)))
    entry["pairs"] = np.stack([frame.pair_point, frame.pair_row, frame.pair_column])
    entry["mask_ids"], entry["labels"], entry["image"] = frame.mask_ids, frame.labels, frame.image
    entry["checksum"] = _checksum(entry, path)
    try:
        with atomic_file(path) as file:
            entry.tofile(file)
    except UnwritableError as error:
        raise InputError(
            f"{path}: cannot be written ({error.reason}); free disk space or set labels.keep_frames=false."
        ) from error


def _entry_type(size: tuple[int, ...], pairs: int) -> np.dtype[Any]:
    """Return the layout of a file. Its length gives the number of pairs; wide types come first, so all are aligned."""
    return np.dtype(
        [
            ("checksum", "<u4"),
            ("pairs", "<i4", (3, pairs)),  # point, row, column
            ("mask_ids", "<u2", size),
            ("labels", "u1", size),
            ("image", "u1", (*size, 3)),
        ]
    )


def _checksum(entry: NDArray[Any], path: Path) -> int:
    """Return the CRC-32 of the frame's key, which names the file, and of all bytes after the checksum."""
    return zlib.crc32(entry.view(np.uint8)[entry.dtype["checksum"].itemsize :].data, zlib.crc32(path.stem.encode()))
