"""Read members of zip archives in bounded memory."""

from __future__ import annotations

import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labelfree.errors import InputError
from labelfree.files.documents import one_line, open_file

LARGEST_MEMBER = 64 << 20
"""Largest size of an unpacked member in bytes; a 1296x968 image of raw ids has 2.5 MB."""
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError, EOFError, ValueError, LookupError),
    *(RuntimeError, OverflowError),
)
"""Exceptions that `zipfile` raises for damaged, encrypted and unknown archives."""


def member_names(path: Path) -> frozenset[str]:
    """Return the names of an archive's members; raises an `InputError` if it cannot be read."""
    with _archive(path) as archive:
        return frozenset(archive.namelist())


def read_member(path: Path, name: str) -> bytes:
    """Return the bytes of a member; `zipfile` verifies its CRC-32.

    Raises an `InputError` if the archive is damaged or the member is larger than `LARGEST_MEMBER`.
    """
    with _archive(path) as archive:
        if archive.getinfo(name).file_size > LARGEST_MEMBER:
            raise InputError(f"{path}, {name}: unpacks to more than {LARGEST_MEMBER >> 20} MiB; download it again.")
        with archive.open(name) as member:
            return member.read(LARGEST_MEMBER + 1)


def is_whole(path: Path) -> bool:
    """Return whether a file is an uncompressed zip archive in which the CRC-32 of every member is correct."""
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            stored = all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())
            return stored and unpacked <= os.fstat(file.fileno()).st_size and archive.testzip() is None
    except (InputError, *_ZIP_ERRORS):
        return False


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with open_file(path, "download it again") as file, zipfile.ZipFile(file) as archive:
            yield archive
    except InputError:
        raise
    except _ZIP_ERRORS as error:
        raise InputError(f"{path}: cannot be read as a zip archive ({one_line(error)}); download it again.") from error
