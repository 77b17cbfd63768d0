"""Point clouds in PLY files: ascii and both binary orders in, little-endian binary out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from labelfree.atomic import atomic_file
from labelfree.errors import InputError
from labelfree.vocabulary import IGNORE_LABEL

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_COLOUR_NAMES = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))
_INTENSITY_NAMES = ("intensity", "scalar_intensity", "reflectance", "reflectivity")
_LABEL_NAMES = ("label", "class", "semantic", "classification", "scalar_label", "scalar_class", "scalar_classification")
_LONGEST_HEADER = 1 << 16


@dataclass(frozen=True, eq=False)
class PlyCloud:
    """The columns of a PLY file that this library uses."""

    points: NDArray[np.float32]
    """[N, 3] metres."""
    colours: NDArray[np.uint8] | None = None
    """[N, 3] RGB."""
    intensity: NDArray[np.float32] | None = None
    """[N]."""
    labels: NDArray[np.uint8] | None = None
    """[N], 255 = ignored."""


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: tuple[tuple[str, str], ...]
    """(name, numpy type without byte order); type 'list' for lists."""

    def dtype(self, order: str) -> np.dtype[Any]:
        return np.dtype([(name, order + kind) for name, kind in self.properties])


def read_ply(path: str | Path) -> PlyCloud:
    """Read the vertices of a cloud or mesh; other elements and properties are skipped, labels of -1 become 255."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such point cloud file.")
    with path.open("rb") as file:
        order, elements = _read_header(file, path)
        names = [element.name for element in elements]
        if "vertex" not in names:
            raise InputError(f"{path}: the PLY has no element 'vertex' (it has {', '.join(names) or 'none'}).")
        for element in elements[: names.index("vertex")]:
            _read_element(file, element, order, path)
        table = _read_element(file, elements[names.index("vertex")], order, path)
    return _columns(table, path)


def write_ply(
    path: str | Path,
    points_world: NDArray[np.floating[Any]],  # [N, 3] metres
    colours: NDArray[np.uint8] | None = None,  # [N, 3]
    labels: NDArray[np.integer[Any]] | None = None,  # [N] 0..255
    scores: NDArray[np.floating[Any]] | None = None,  # [N]
    comments: Sequence[str] = (),
) -> None:
    """Write a binary little-endian PLY with x y z and, where given, red green blue, label (uchar) and score (float)."""
    columns: list[tuple[str, str, NDArray[Any]]] = [
        (name, "<f4", points_world[:, axis]) for axis, name in enumerate("xyz")
    ]
    if colours is not None:
        columns += [(name, "u1", colours[:, channel]) for channel, name in enumerate(_COLOUR_NAMES[0])]
    if labels is not None:
        columns.append(("label", "u1", labels))
    if scores is not None:
        columns.append(("score", "<f4", scores))
    table = np.empty(len(points_world), dtype=[(name, kind) for name, kind, _ in columns])
    for name, _, values in columns:
        table[name] = values
    words = {"<f4": "float", "u1": "uchar"}
    header = ["ply", "format binary_little_endian 1.0", *(f"comment {' '.join(text.split())}" for text in comments)]
    header += [f"element vertex {len(table)}", *(f"property {words[kind]} {name}" for name, kind, _ in columns)]
    with atomic_file(Path(path)) as file:
        file.write("\n".join([*header, "end_header\n"]).encode("ascii", "replace"))
        file.write(table.tobytes())


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
        case ["element", name, count] if count.isdigit():
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
            raise InputError(f"{path}: PLY header line '{' '.join(words)}' is not understood; export the cloud again.")
    return order


def _read_element(file: BinaryIO, element: _Element, order: str, path: Path) -> NDArray[Any]:
    lists = [name for name, kind in element.properties if kind == "list"]
    if lists and (element.name == "vertex" or order != "ascii"):
        raise InputError(
            f"{path}: element '{element.name}' has the list property '{lists[0]}', which cannot be read here; "
            "export the cloud with vertices first and plain properties."
        )
    if element.count == 0 and element.name == "vertex":
        raise InputError(f"{path}: the point cloud has 0 vertices; export it again with its points.")
    if order == "ascii":
        return _read_ascii(file, element, path)
    dtype = element.dtype(order)
    available = (path.stat().st_size - file.tell()) // max(dtype.itemsize, 1)
    if available < element.count:
        raise _cut_off(path, element, available)
    return np.frombuffer(file.read(element.count * dtype.itemsize), dtype=dtype)


def _read_ascii(file: BinaryIO, element: _Element, path: Path) -> NDArray[Any]:
    if element.name != "vertex":
        for _ in range(element.count):
            file.readline()
        return np.empty(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # loadtxt warns about no data; the count says it better
            rows = np.loadtxt(file, dtype=np.float64, comments=None, max_rows=element.count, ndmin=2)
    except ValueError as error:
        raise InputError(f"{path}: a vertex line is not numbers ({error}); export the cloud again.") from error
    if len(rows) < element.count:
        raise _cut_off(path, element, len(rows))
    if rows.shape[1] != len(element.properties):
        raise InputError(
            f"{path}: vertex lines have {rows.shape[1]} values but the header names {len(element.properties)} "
            "properties; export the cloud again."
        )
    table = np.empty(element.count, dtype=element.dtype("="))
    for column, (name, _) in enumerate(element.properties):
        table[name] = rows[:, column]
    return table


def _cut_off(path: Path, element: _Element, found: int) -> InputError:
    return InputError(
        f"{path}: cut off after {found} of {element.count} entries of '{element.name}'; copy or export it again."
    )


def _columns(table: NDArray[Any], path: Path) -> PlyCloud:
    names = {name.lower(): name for name in table.dtype.names or ()}
    missing = [axis for axis in "xyz" if axis not in names]
    if missing:
        raise InputError(f"{path}: vertices have no property '{missing[0]}'; export the cloud with x, y and z.")
    points = np.stack([table[names[axis]] for axis in "xyz"], axis=1).astype(np.float32)
    bad = ~np.isfinite(points).all(axis=1)
    if bad.any():
        raise InputError(
            f"{path}: point {int(bad.argmax())} is {points[bad.argmax()].tolist()} ({int(bad.sum())} of {len(points)} "
            "points are not finite); remove these points."
        )
    rgb = next((trio for trio in _COLOUR_NAMES if all(name in names for name in trio)), None)
    intensity = next((names[name] for name in _INTENSITY_NAMES if name in names), None)
    label = next((names[name] for name in _LABEL_NAMES if name in names), None)
    return PlyCloud(
        points,
        None if rgb is None else _colours(np.stack([table[names[name]] for name in rgb], axis=1)),
        None if intensity is None else table[intensity].astype(np.float32),
        None if label is None else _labels(table[label], label, path),
    )


def _colours(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype.kind == "f" and values.max() <= 1:
        return np.rint(np.nan_to_num(values).clip(0, 1) * 255).astype(np.uint8)
    if values.max() > 255:
        return (values / 257).clip(0, 255).astype(np.uint8)
    return values.clip(0, 255).astype(np.uint8)


def _labels(values: NDArray[Any], name: str, path: Path) -> NDArray[np.uint8]:
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), -1, values)
    labels = np.where(values == -1, IGNORE_LABEL, values)
    wrong = (labels < 0) | (labels > 255) | (labels != np.floor(labels))
    if wrong.any():
        raise InputError(
            f"{path}: property '{name}' holds {labels[wrong.argmax()]}, but labels are 0..254, "
            "and 255 or -1 for ignored; map them to your classes or rename the property."
        )
    return labels.astype(np.uint8)
