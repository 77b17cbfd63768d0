"""Read and write point clouds in PLY files: read ascii and both binary orders, write little-endian binary."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from labelfree.data.ascii_rows import cut_off, most_rows, read_ascii_rows
from labelfree.data.point_cloud import COLOURS, PointCloud, cloud_of_columns, short
from labelfree.errors import InputError
from labelfree.files.atomic import atomic_file

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_LONGEST_HEADER = 1 << 16
_MOST_DIGITS = 18
"""Largest number of digits of a count in a header."""

PlyCloud = PointCloud


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: tuple[tuple[str, str], ...]
    """(name, numpy type without byte order); type 'list' for lists."""

    def dtype(self, order: str) -> np.dtype[Any]:
        return np.dtype([(name, order + kind) for name, kind in self.properties])


def read_ply(path: str | Path, labels: bool = True) -> PlyCloud:
    """Read the vertices of a cloud or mesh; other elements and properties are skipped, labels of -1 become 255.

    Without `labels`, label properties are not read, so that a property of that name with another meaning is no error.
    Raises an `InputError` if the file is missing, truncated or not a PLY, or if no point is finite.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path}: is a folder, pipe or device; give a point cloud file (.ply).")
        with path.open("rb") as file:
            table = _read_vertices(file, path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such point cloud file.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check its permissions.") from error
    return cloud_of_columns(table, path, labels)


def write_ply(
    path: str | Path,
    points_world: NDArray[np.floating[Any]],  # [N, 3] metres
    colours: NDArray[np.uint8] | None = None,  # [N, 3]
    labels: NDArray[np.integer[Any]] | None = None,  # [N] 0..255
    scores: NDArray[np.floating[Any]] | None = None,  # [N]
    comments: Sequence[str] = (),
    seen: NDArray[np.bool_] | None = None,  # [N]
    segments: NDArray[np.int32] | None = None,  # [N]
    support: NDArray[np.int32] | None = None,  # [N]
) -> None:
    """Write a binary little-endian PLY with x y z as double if the points are float64, else as float.

    Optional properties are red green blue, label (uchar), score (float), seen (uchar, 1 or 0), support (int)
    and segment (int).
    """
    real = "<f8" if points_world.dtype == np.float64 else "<f4"
    columns: list[tuple[str, str, NDArray[Any]]] = [
        (name, real, points_world[:, axis]) for axis, name in enumerate("xyz")
    ]
    if colours is not None:
        columns += [(name, "u1", colours[:, channel]) for channel, name in enumerate(COLOURS)]
    if labels is not None:
        columns.append(("label", "u1", labels))
    if scores is not None:
        columns.append(("score", "<f4", scores))
    if seen is not None:
        columns.append(("seen", "u1", seen))
    if support is not None:
        columns.append(("support", "<i4", support))
    if segments is not None:
        columns.append(("segment", "<i4", segments))
    table = np.empty(len(points_world), dtype=[(name, kind) for name, kind, _ in columns])
    for name, _, values in columns:
        table[name] = values
    words = {"<f4": "float", "<f8": "double", "u1": "uchar", "<i4": "int"}
    header = ["ply", "format binary_little_endian 1.0", *(f"comment {' '.join(text.split())}" for text in comments)]
    header += [f"element vertex {len(table)}", *(f"property {words[kind]} {name}" for name, kind, _ in columns)]
    with atomic_file(Path(path)) as file:
        file.write("\n".join([*header, "end_header\n"]).encode("ascii", "replace"))
        file.write(table.tobytes())


def _read_vertices(file: BinaryIO, path: Path) -> dict[str, NDArray[Any]]:
    order, elements = _read_header(file, path)
    names = [element.name for element in elements]
    if "vertex" not in names:
        raise InputError(f"{path}: the PLY has no element 'vertex' (it has {short(', '.join(names)) or 'none'}).")
    for element in elements[: names.index("vertex")]:
        _skip_element(file, element, order, path)
    vertex = elements[names.index("vertex")]
    if vertex.count == 0:
        raise InputError(f"{path}: the point cloud has 0 vertices; export it again with its points.")
    _require_plain(vertex, path)
    if not vertex.properties:
        raise InputError(f"{path}: vertices have no properties; export the cloud with x, y and z.")
    if order == "ascii":
        return read_ascii_rows(file, vertex.properties, vertex.count, path, short(vertex.name))
    _require_entries(file, vertex, order, path)
    dtype = vertex.dtype(order)
    table = np.frombuffer(file.read(vertex.count * dtype.itemsize), dtype=dtype)
    return {name: table[name] for name, _ in vertex.properties}


def _read_header(file: BinaryIO, path: Path) -> tuple[str, list[_Element]]:
    first = file.readline(_LONGEST_HEADER)
    if not first:
        raise InputError(f"{path}: the file is empty (0 bytes); copy or export the point cloud again.")
    if first.strip() != b"ply":
        raise InputError(f"{path}: not a PLY file (it does not begin with 'ply'); export the cloud as PLY.")
    order, elements = "", list[_Element]()
    while file.tell() < _LONGEST_HEADER:
        line = file.readline(_LONGEST_HEADER)
        words = line.decode("ascii", "replace").split()
        if not line:
            break
        if words[:1] == ["end_header"]:
            if not order:
                raise InputError(f"{path}: the PLY header has no 'format' line; export the cloud again.")
            return order, elements
        order = _header_line(words, order, elements, path)
    raise InputError(f"{path}: the PLY header has no 'end_header'; the file is cut off or not a PLY.")


def _header_line(words: list[str], order: str, elements: list[_Element], path: Path) -> str:
    match words:
        case ["format", kind, _] if kind in _ORDERS:
            return _ORDERS[kind] if kind != "ascii" else "ascii"
        case ["element", name, count] if count.isdigit() and len(count) <= _MOST_DIGITS:
            elements.append(_Element(name, int(count), ()))
        case ["property", "list", _, _, name] if elements:
            last = elements[-1]
            elements[-1] = _Element(last.name, last.count, (*last.properties, (name, "list")))
        case ["property", kind, name] if elements and kind in _TYPES and name not in dict(elements[-1].properties):
            last = elements[-1]
            elements[-1] = _Element(last.name, last.count, (*last.properties, (name, _TYPES[kind])))
        case [] | ["comment", *_] | ["obj_info", *_]:
            pass
        case _:
            line = short(" ".join(words))
            raise InputError(f"{path}: PLY header line '{line}' is not understood; export the cloud again.")
    return order


def _require_plain(element: _Element, path: Path) -> None:
    lists = [name for name, kind in element.properties if kind == "list"]
    if lists:
        raise InputError(
            f"{path}: element '{short(element.name)}' has the list property '{short(lists[0])}', which cannot be "
            "read here; export the cloud with vertices first and plain properties."
        )


def _most_entries(file: BinaryIO, element: _Element, order: str) -> int:
    """Return how many entries the rest of the file can hold, because declared counts may be wrong."""
    if order == "ascii":
        return most_rows(file, len(element.properties))
    left = os.fstat(file.fileno()).st_size - file.tell()
    return left // max(element.dtype(order).itemsize, 1)


def _require_entries(file: BinaryIO, element: _Element, order: str, path: Path) -> None:
    """Raise an `InputError` if the file is too short for the declared count, before memory is allocated."""
    if (found := _most_entries(file, element, order)) < element.count:
        raise cut_off(path, short(element.name), found, element.count)


def _skip_element(file: BinaryIO, element: _Element, order: str, path: Path) -> None:
    if order != "ascii":
        _require_plain(element, path)
    if not element.properties:
        return
    _require_entries(file, element, order, path)
    if order != "ascii":
        file.seek(element.count * element.dtype(order).itemsize, 1)
        return
    for number in range(element.count):
        if not file.readline():
            raise cut_off(path, short(element.name), number, element.count)
