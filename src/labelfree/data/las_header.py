"""Check the header of a LAS or LAZ file against the file's size, before a library allocates what the header states."""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from labelfree.data.ascii_rows import cut_off
from labelfree.errors import InputError

LEAST_RECORD = (20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67)
"""Bytes of a point record of each format, 0 to 10, without extra bytes."""
_LEAST_HEADER, _HEADER_1_4 = 227, 375
_VLR, _EVLR = 54, 60
"""Bytes of the header of a variable length record, and of an extended one."""
_COMPRESSED = 0x80
MOST_PER_BYTE = 1000
"""Points per compressed byte: equal points in chunks of the usual 50,000 reach 700."""
_LONG_COUNTS = 4
"""Minor version from which the number of points has 64 bits and extended records exist."""
AGAIN = "copy or export the cloud again"


@dataclass(frozen=True)
class LasFacts:
    """The parts of a header that the size of the file can confirm."""

    count: int
    record_bytes: int
    compressed: bool


def check_las(path: Path, file: BinaryIO) -> LasFacts:
    """Return the facts of an open LAS or LAZ file; raises an `InputError` if its header and its size do not agree."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    head = file.read(_HEADER_1_4)
    if head[:4] != b"LASF":
        raise InputError(f"{path}: not a LAS or LAZ file (it does not begin with 'LASF'); export the cloud as LAS.")
    if len(head) < _LEAST_HEADER:
        raise InputError(f"{path}: the LAS header is cut off after {len(head)} bytes; {AGAIN}.")
    major, minor = head[24], head[25]
    if major != 1 or minor > _LONG_COUNTS:
        raise InputError(f"{path}: is LAS version {major}.{minor}, expected 1.0 to 1.4; convert it.")
    head_bytes, start, records, kind, record_bytes, count = struct.unpack_from("<HIIBHI", head, 94)
    form, compressed = kind & 0x3F, bool(kind & _COMPRESSED)
    if not _LEAST_HEADER <= head_bytes <= start <= size or (minor == _LONG_COUNTS and len(head) < _HEADER_1_4):
        raise InputError(f"{path}: the LAS header states points from byte {start:,} of {size:,}; {AGAIN}.")
    if form >= len(LEAST_RECORD) or record_bytes < LEAST_RECORD[form]:
        raise InputError(f"{path}: the LAS header states {record_bytes} bytes for points of format {form}; {AGAIN}.")
    scaling = struct.unpack_from("<6d", head, 131)
    if not all(map(math.isfinite, scaling)) or 0 in scaling[:3]:
        raise InputError(f"{path}: the LAS header scales coordinates by {scaling[:3]} from {scaling[3:]}; {AGAIN}.")
    if minor == _LONG_COUNTS:
        more_at, more, count = struct.unpack_from("<QIQ", head, 235)
        _check_records(path, file, more_at, more, _EVLR, size)
    _check_records(path, file, head_bytes, records, _VLR, start)
    if count == 0:
        raise InputError(f"{path}: the point cloud has 0 points; export it again with its points.")
    if not compressed and (found := (size - start) // record_bytes) < count:
        raise cut_off(path, "point", found, count)
    if compressed:
        _check_chunks(path, file, start, size, count)
    return LasFacts(count, record_bytes, compressed)


def _check_records(path: Path, file: BinaryIO, place: int, count: int, head_bytes: int, end: int) -> None:
    """Walk over the variable length records: they must end before `end`."""
    length_kind, length_at = ("<H", 20) if head_bytes == _VLR else ("<Q", 20)
    for number in range(count):
        file.seek(min(place, end))
        head = file.read(head_bytes)
        if place + head_bytes > end or len(head) < head_bytes:
            raise InputError(f"{path}: is cut off in record {number + 1} of {count} of its header; {AGAIN}.")
        place += head_bytes + int(struct.unpack_from(length_kind, head, length_at)[0])
    if count and place > end:
        raise InputError(f"{path}: record {count} of its header ends after the file or its header; {AGAIN}.")


def _check_chunks(path: Path, file: BinaryIO, start: int, size: int, count: int) -> None:
    """Check the number of points and of chunks of a LAZ file; each chunk begins with a point that is not compressed."""
    file.seek(start)
    table = struct.unpack("<q", file.read(8).ljust(8, b"\0"))[0]
    if table == -1:  # written by a program that could not go back: the place of the table is at the end
        file.seek(max(size - 8, 0))
        table = struct.unpack("<q", file.read(8).ljust(8, b"\0"))[0]
    if not start < table <= size - 8:
        raise InputError(f"{path}: the table of its compressed chunks is missing, so it is cut off; {AGAIN}.")
    if count > (table - start) * MOST_PER_BYTE:
        raise InputError(f"{path}: the LAS header states {count:,} points in {size:,} compressed bytes; {AGAIN}.")
    file.seek(table)
    _, chunks = struct.unpack("<II", file.read(8))
    if chunks * min(LEAST_RECORD) > table - start:
        raise InputError(
            f"{path}: the table of its compressed chunks states {chunks:,} chunks in {size:,} bytes; {AGAIN}."
        )
