"""Check the header of a LAS or LAZ file against the file's size, before a library allocates what the header states."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Sequence
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
_PACKING = 34
"""Bytes of the record about packed points before its list of parts."""
_PARTS = {6: (10,), 7: (10, 11), 8: (10, 12), 9: (10, 13), 10: (10, 12, 13)}
"""Parts of the point formats whose parts are packed in layers, without extra bytes."""
_LAYERS = {10: 9, 11: 1, 12: 2, 13: 1}
_EXTRA_PART = 14
_LONG_COUNTS = 4
"""Minor version from which the number of points has 64 bits and extended records exist."""
AGAIN = "copy or export the cloud again"


@dataclass(frozen=True)
class LasFacts:
    """The parts of a header that the size of the file can confirm."""

    count: int
    form: int
    """Format of the points, 0 to 10."""
    record_bytes: int
    start: int
    """Place of the first point, or of a LAZ file's pointer to its table of chunks."""
    packing: bytes | None
    """The record that tells how LAZ points are packed; None if they are not."""


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
    packing = _check_records(path, file, head_bytes, records, _VLR, start)
    if count == 0:
        raise InputError(f"{path}: the point cloud has 0 points; export it again with its points.")
    if not compressed and (found := (size - start) // record_bytes) < count:
        raise cut_off(path, "point", found, count)
    if not compressed:
        return LasFacts(count, form, record_bytes, start, None)
    if packing is None:
        raise InputError(f"{path}: the LAZ header does not tell how its points are packed; {AGAIN}.")
    _check_packing(path, packing, form, record_bytes)
    _check_chunks(path, file, start, size, count)
    return LasFacts(count, form, record_bytes, start, packing)


def _check_records(path: Path, file: BinaryIO, place: int, count: int, head_bytes: int, end: int) -> bytes | None:
    """Walk over the variable length records, which must end before `end`; return the one about the packing."""
    length_kind, packing = "<H" if head_bytes == _VLR else "<Q", None
    for number in range(count):
        file.seek(min(place, end))
        head = file.read(head_bytes)
        if place + head_bytes > end or len(head) < head_bytes:
            raise InputError(f"{path}: is cut off in record {number + 1} of {count} of its header; {AGAIN}.")
        length = int(struct.unpack_from(length_kind, head, 20)[0])
        if head[2:18].split(b"\0")[0] == b"laszip encoded" and place + head_bytes + length <= end:
            packing = file.read(length)
        place += head_bytes + length
    if count and place > end:
        raise InputError(f"{path}: record {count} of its header ends after the file or its header; {AGAIN}.")
    return packing


def _check_packing(path: Path, packing: bytes, form: int, record_bytes: int) -> None:
    """Check that the packed parts of a point give its record."""
    count = struct.unpack_from("<H", packing.ljust(_PACKING, b"\0"), _PACKING - 2)[0]
    if len(packing) < _PACKING + 6 * count:
        raise InputError(f"{path}: the record about its packed points is cut off; {AGAIN}.")
    items = [struct.unpack_from("<HHH", packing, _PACKING + 6 * number) for number in range(count)]
    parts = tuple(kind for kind, _, _ in items if kind != _EXTRA_PART)
    layered = form in _PARTS
    if sum(size for _, size, _ in items) != record_bytes or (layered and parts != _PARTS[form]):
        raise InputError(f"{path}: the record about its packed points states another format than {form}; {AGAIN}.")


def check_layers(path: Path, file: BinaryIO, facts: LasFacts, chunks: Sequence[int]) -> None:
    """Check the sizes of the layers in the chunks (of given bytes) of a LAZ file, where its points have layers.

    A chunk begins with its first point, the number of points and the size of each layer.
    """
    if facts.form not in _PARTS:
        return
    layers = sum(_LAYERS[part] for part in _PARTS[facts.form]) + facts.record_bytes - LEAST_RECORD[facts.form]
    head = facts.record_bytes + 4
    place = facts.start + 8
    for size in chunks:
        file.seek(place + head)
        sizes = struct.unpack(f"<{layers}I", file.read(4 * layers).ljust(4 * layers, b"\0"))
        if head + 4 * layers + sum(sizes) > size:
            raise InputError(f"{path}: a chunk of {size:,} bytes states layers of {sum(sizes):,} bytes; {AGAIN}.")
        place += size


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
