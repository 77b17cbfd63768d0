"""Files that end with a checksum of all their bytes, so that damage of any kind is found before they are used.

The checksum is the last part of the file itself: a second file beside it could not be replaced together with it.
Formats that are read from their beginning, such as PNG and torch's archives, stay readable by other programs.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from labelfree.files.atomic import atomic_file

MARK = b"labelfree-sha256"
TRAILER_BYTES = len(MARK) + 32
LARGEST = 1 << 30
"""Bytes of a file that is read at once; a larger one is damaged."""

_CHUNK_BYTES = 1 << 20


class DamagedError(Exception):
    """A file whose checksum is missing or does not match its content."""


@contextmanager
def checked_file(path: Path, sync: bool = False, key: str = "") -> Iterator[BinaryIO]:
    """Open a file for writing front to back, as `atomic_file` does, and end it with its checksum.

    The checksum covers `key` too: what the content belongs to, so that a file in the place of another is found.
    """
    with atomic_file(path, sync) as file:
        hashed = _HashedWriter(file, key)
        yield cast(BinaryIO, hashed)
        file.write(MARK + hashed.digest.digest())


@contextmanager
def open_checked(path: Path) -> Iterator[BinaryIO]:
    """Open a file that `checked_file` wrote, at its beginning and after comparing its checksum; else a DamagedError."""
    if not path.is_file():
        raise DamagedError(f"{path}: missing, or no regular file")
    with path.open("rb") as file:
        rest = os.fstat(file.fileno()).st_size - TRAILER_BYTES
        digest = hashlib.sha256()
        while rest > 0 and (chunk := file.read(min(rest, _CHUNK_BYTES))):
            digest.update(chunk)
            rest -= len(chunk)
        if rest != 0 or file.read() != MARK + digest.digest():
            raise DamagedError(f"{path}: its checksum is missing or does not match")
        file.seek(0)
        yield file


def read_checked(path: Path, key: str = "") -> bytes | None:
    """Return what was written into a checked file; None where it is missing, unreadable, damaged or of another key."""
    try:
        if not path.is_file():  # a FIFO would never answer
            return None
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > LARGEST:
                return None
            content = file.read(max(0, size - TRAILER_BYTES))
            trailer = file.read()
    except OSError:
        return None
    digest = hashlib.sha256(key.encode())
    digest.update(content)
    return content if trailer == MARK + digest.digest() else None


class _HashedWriter(io.BufferedIOBase):
    """Passes on what is written and hashes it on the way."""

    def __init__(self, file: BinaryIO, key: str) -> None:
        self.file = file
        self.digest = hashlib.sha256(key.encode())

    def writable(self) -> bool:
        """Return that it takes bytes."""
        return True

    def write(self, data: object) -> int:
        """Write bytes."""
        content = memoryview(data).cast("B")  # type: ignore[arg-type]
        self.digest.update(content)
        return self.file.write(content)
