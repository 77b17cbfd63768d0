"""Read and write point clouds in PCD files (Point Cloud Library, version 0.7): ascii, binary and LZF-compressed."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from labelfree.data.ascii_rows import cut_off, read_ascii_rows
from labelfree.data.lzf import MOST_EXPANSION, lzf_decompress
from labelfree.data.point_cloud import COLOURS, PointCloud, cloud_of_columns, short
from labelfree.errors import InputError
from labelfree.files.atomic import atomic_file
from labelfree.files.documents import open_file

_KINDS = {"F": ("f", (4, 8)), "I": ("i", (1, 2, 4, 8)), "U": ("u", (1, 2, 4, 8))}
_PER_FIELD = ("SIZE", "TYPE", "COUNT")
_KEYS = ("VERSION", "FIELDS", *_PER_FIELD, "WIDTH", "HEIGHT", "VIEWPOINT", "POINTS", "DATA")
_PACKED_COLOURS = ("rgb", "rgba")
_LONGEST_HEADER, _MOST_DIGITS, _MOST_VALUES = 1 << 16, 18, 4096
"""Bytes of a header, digits of a count in it, and values of one point."""
AGAIN = "copy or export the cloud again"


@dataclass(frozen=True)
class _Header:
    columns: tuple[tuple[str, str], ...]
    """(unique name, numpy type) of each value of a point."""
    count: int
    data: str

    def dtype(self) -> np.dtype[Any]:
        return np.dtype([(name, "<" + kind) for name, kind in self.columns])


def read_pcd(path: str | Path, labels: bool = True) -> PointCloud:
    """Read a PCD cloud: x y z, rgb or rgba, intensity, label, and what `write_pcd` writes; other fields are skipped.

    Coordinates are not moved by VIEWPOINT. Without `labels`, labels, scores and segments are not read.
    Raises an `InputError` if the file is missing, truncated or not a PCD, or if no point is finite.
    """
    path = Path(path)
    with open_file(path, "check the path of the point cloud") as file:
        header = _read_header(file, path)
        match header.data:
            case "ascii":
                table = read_ascii_rows(file, header.columns, header.count, path, "point")
            case "binary":
                table = _read_binary(file, header, path)
            case _:
                table = _read_compressed(file, header, path)
    return cloud_of_columns(_with_colours(table), path, labels)


def write_pcd(path: str | Path, cloud: PointCloud) -> None:
    """Write a binary PCD: x y z as F 8 if the points are float64, else as F 4, and the columns that the cloud has.

    Those are rgb (F 4, packed as by PCL), intensity and score (F 4), label (U 4), seen (U 1), segment and support
    (I 4).
    """
    real = "f8" if cloud.points.dtype == np.float64 else "f4"
    columns: list[tuple[str, str, NDArray[Any]]] = [
        (name, real, cloud.points[:, axis]) for axis, name in enumerate("xyz")
    ]
    if cloud.colours is not None:
        red, green, blue = cloud.colours.astype(np.uint32).T
        columns.append(("rgb", "f4", (red << 16 | green << 8 | blue).view(np.float32)))
    more = (
        ("intensity", "f4", cloud.intensity),
        ("label", "u4", cloud.labels),
        ("score", "f4", cloud.scores),
        ("seen", "u1", cloud.seen),
        ("segment", "i4", cloud.segments),
        ("support", "i4", cloud.support),
    )
    columns += [(name, kind, values) for name, kind, values in more if values is not None]
    table = np.empty(len(cloud.points), dtype=[(name, "<" + kind) for name, kind, _ in columns])
    for name, _, values in columns:
        table[name] = values
    header = [
        "# .PCD v0.7 - Point Cloud Data file format",
        "VERSION 0.7",
        "FIELDS " + " ".join(name for name, _, _ in columns),
        "SIZE " + " ".join(kind[1] for _, kind, _ in columns),
        "TYPE " + " ".join(kind[0].upper() for _, kind, _ in columns),
        "COUNT " + " ".join("1" for _ in columns),
        f"WIDTH {len(table)}",
        "HEIGHT 1",
        "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {len(table)}",
        "DATA binary\n",
    ]
    with atomic_file(Path(path)) as file:
        file.write("\n".join(header).encode("ascii"))
        file.write(table.tobytes())


def _read_header(file: BinaryIO, path: Path) -> _Header:
    lines: dict[str, list[str]] = {}
    while file.tell() < _LONGEST_HEADER:
        line = file.readline(_LONGEST_HEADER)
        words = line.decode("ascii", "replace").split()
        if not line:
            break
        if not words or words[0].startswith("#"):
            continue
        if words[0] not in _KEYS or words[0] in lines:
            if not lines:
                raise InputError(
                    f"{path}: not a PCD file (it does not begin with a PCD header); export the cloud as PCD."
                )
            raise InputError(f"{path}: PCD header line '{short(' '.join(words))}' is not understood; {AGAIN}.")
        lines[words[0]] = words[1:]
        if words[0] == "DATA":
            return _header_of(lines, path)
    if not lines:
        raise InputError(f"{path}: not a PCD file (it is empty or has no header); export the cloud as PCD.")
    raise InputError(f"{path}: the PCD header has no DATA line; the file is cut off or not a PCD.")


def _header_of(lines: dict[str, list[str]], path: Path) -> _Header:
    names = lines.get("FIELDS", [])
    for key in ("FIELDS", "SIZE", "TYPE", "WIDTH"):
        if not lines.get(key):
            raise InputError(f"{path}: the PCD header has no {key} line; {AGAIN}.")
    for key in _PER_FIELD:
        if key in lines and len(lines[key]) != len(names):
            raise InputError(
                f"{path}: PCD header line {key} has {len(lines[key])} values for {len(names)} fields; {AGAIN}."
            )
    counts = [_whole(text, "COUNT", path) for text in lines.get("COUNT", ["1"] * len(names))]
    if sum(counts) > _MOST_VALUES:
        raise InputError(f"{path}: the PCD header states {sum(counts)} values per point, the limit is {_MOST_VALUES}.")
    columns = [
        (f"{name}[{part}]" if count > 1 else name, _kind(lines["TYPE"][place], lines["SIZE"][place], name, path))
        for place, (name, count) in enumerate(zip(names, counts))
        for part in range(count)
    ]
    points = math.prod(_whole(*_single(lines, key, path), path) for key in ("WIDTH", "HEIGHT") if key in lines)
    if "POINTS" in lines and _whole(*_single(lines, "POINTS", path), path) != points:
        stated = short(lines["POINTS"][0])
        raise InputError(f"{path}: the PCD header states POINTS {stated} but WIDTH x HEIGHT {points}; {AGAIN}.")
    if not points:
        raise InputError(f"{path}: the point cloud has 0 points; export it again with its points.")
    data = " ".join(lines["DATA"])
    if data not in ("ascii", "binary", "binary_compressed"):
        raise InputError(f"{path}: DATA is '{short(data)}', expected ascii, binary or binary_compressed; {AGAIN}.")
    return _Header(_unique(columns, path), points, data)


def _single(lines: dict[str, list[str]], key: str, path: Path) -> tuple[str, str]:
    if len(lines[key]) != 1:
        raise InputError(f"{path}: PCD header line {key} has {len(lines[key])} values, expected 1; {AGAIN}.")
    return lines[key][0], key


def _whole(text: str, key: str, path: Path) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS:
        raise InputError(f"{path}: {key} of the PCD header is '{short(text)}', expected a whole number; {AGAIN}.")
    return int(text)


def _kind(type_name: str, size: str, field: str, path: Path) -> str:
    letter, sizes = _KINDS.get(type_name, ("", ()))
    if size not in map(str, sizes):
        raise InputError(
            f"{path}: field '{short(field)}' has TYPE {short(type_name)} and SIZE {short(size)}, expected F with 4 or "
            f"8, or I or U with 1, 2, 4 or 8; {AGAIN}."
        )
    return letter + size


def _unique(columns: Sequence[tuple[str, str]], path: Path) -> tuple[tuple[str, str], ...]:
    """Return columns with unique names: `_` stands for padding and may be repeated."""
    names = [name for name, _ in columns if not name.startswith("_")]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise InputError(f"{path}: the PCD header names field '{short(repeated)}' twice; {AGAIN}.")
    return tuple((f"_{place}" if name.startswith("_") else name, kind) for place, (name, kind) in enumerate(columns))


def _left(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size - file.tell()


def _read_binary(file: BinaryIO, header: _Header, path: Path) -> dict[str, NDArray[Any]]:
    dtype = header.dtype()
    if (found := _left(file) // dtype.itemsize) < header.count:
        raise cut_off(path, "point", found, header.count)
    table = np.frombuffer(file.read(header.count * dtype.itemsize), dtype=dtype)
    return {name: table[name] for name, _ in header.columns}


def _read_compressed(file: BinaryIO, header: _Header, path: Path) -> dict[str, NDArray[Any]]:
    """Read the compressed size, the size and the data: all values of the first column, then all of the next."""
    expected = header.count * header.dtype().itemsize
    packed, size = np.frombuffer(file.read(8).ljust(8, b"\0"), "<u4").tolist()
    if packed > _left(file) or expected > packed * MOST_EXPANSION:
        raise InputError(f"{path}: the compressed points are cut off or shorter than the header states; {AGAIN}.")
    if size != expected:
        raise InputError(f"{path}: the compressed points have {size} bytes, the header states {expected}; {AGAIN}.")
    try:
        data = lzf_decompress(file.read(packed), size)
    except ValueError as error:
        raise InputError(f"{path}: the compressed points are damaged ({error}); {AGAIN}.") from error
    table, place = {}, 0
    for name, kind in header.columns:
        table[name] = np.frombuffer(data, "<" + kind, header.count, place)
        place += table[name].nbytes
    return table


def _with_colours(table: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the columns with red, green and blue instead of one packed column, which may be stored as a float."""
    packed = next((values for name, values in table.items() if name.lower() in _PACKED_COLOURS), None)
    if packed is None:
        return table
    if packed.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            bits = np.ascontiguousarray(packed, dtype=np.float32).view(np.uint32)
    else:
        bits = packed.astype(np.uint32)
    channels = ((bits >> shift & 255).astype(np.uint8) for shift in (16, 8, 0))
    return table | dict(zip(COLOURS, channels))
