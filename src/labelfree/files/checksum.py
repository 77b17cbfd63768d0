"""Files that end with a checksum of all their bytes, so that damage is detected before they are used.

The checksum is part of the file, because two files cannot be replaced together atomically. Formats that are read from
their beginning, such as PNG and torch's archives, remain readable by other programs.
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
"""Largest size in bytes of a file that `read_checked` reads; a larger one counts as damaged."""

_CHUNK_BYTES = 1 << 20


class DamagedError(Exception):
    """The error of a file whose checksum is missing or does not match its content."""


@contextmanager
def checked_file(path: Path, sync: bool = False, key: str = "") -> Iterator[BinaryIO]:
    """Open a file for sequential writing, as `atomic_file` does, and append its checksum at the end.

    The checksum includes `key`, which names the content, so that a file in the place of another is detected.
    """
    with atomic_file(path, sync) as file:
        hashed = _HashedWriter(file, key)
        yield cast(BinaryIO, hashed)
        file.write(MARK + hashed.digest.digest())


@contextmanager
def open_checked(path: Path) -> Iterator[BinaryIO]:
    """Verify a file that `checked_file` wrote and open it at its beginning. Raises a DamagedError if it is damaged."""
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
    """Return the content of a checked file, or None if it is missing, unreadable, damaged or of another key."""
    try:
        if not path.is_file():  # reading a FIFO would block
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
    """A writer that passes bytes on to a file and hashes them."""

    def __init__(self, file: BinaryIO, key: str) -> None:
        self.file = file
        self.digest = hashlib.sha256(key.encode())

    def writable(self) -> bool:
        """Return True: the stream can be written."""
        return True

    def write(self, data: object) -> int:
        """Write bytes; return their number."""
        content = memoryview(data).cast("B")  # type: ignore[arg-type]
        self.digest.update(content)
        return self.file.write(content)
