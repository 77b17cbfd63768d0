"""Read and write point clouds in LAS and LAZ files with laspy and lazrs, which the extra `points` installs."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from labelfree.data.las_header import AGAIN, LasFacts, check_las, check_layers
from labelfree.data.point_cloud import COLOURS, PointCloud, cloud_of_columns, short
from labelfree.errors import DataWarning, InputError
from labelfree.files.atomic import atomic_file
from labelfree.files.documents import open_file
from labelfree.vocabulary import IGNORE_LABEL

FIRST_CLASS = 64
"""Classification of label 0: codes from 64 are user-defined; those below have a meaning in the standard (2: ground)."""
UNCLASSIFIED = 1
MOST_CLASSES = 256 - FIRST_CLASS
LONGEST_NAME = 15
"""Bytes of a class name in the lookup table of a LAS file."""
SCALES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Metres per stored step, the finest first that 32 bits allow for the extent of the cloud."""
EXACT_ENOUGH = 1e-3
"""Largest step in metres that needs no warning."""
RESULTS = ("label", "score", "seen", "segment", "support")
"""Extra dimensions, with the names of the properties of PLY files."""
PIECE_BYTES = 1 << 26
"""Bytes of decoded points that are read at once; counts in headers may be wrong."""
_NEEDED = (*COLOURS, "intensity")
_DAMAGE = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError),
    *(ValueError, struct.error),
)
"""What laspy raises for damaged files, besides its own errors."""
SCAN_ANGLE = 0.006
"""Degrees per step of the scan angle in formats from 6 on; earlier ones store degrees."""
_UPGRADES = {0: 6, 1: 6, 2: 7, 3: 7, 4: 9, 5: 10}
"""Formats whose classification has 8 bits, for those where it has 5."""


def read_las(path: str | Path, labels: bool = True) -> PointCloud:
    """Read a LAS or LAZ cloud: coordinates in float64, colours, intensity and, with `labels`, what `write_las` writes.

    Labels are those of the extra dimension `label`, else the user-defined codes of the classification, from 64 on;
    standard codes such as 2 (ground) are not labels of a vocabulary.
    Raises an `InputError` if laspy is missing, or if the file is missing, truncated or not a LAS.
    """
    path = Path(path)
    laspy = require_laspy()
    with open_file(path, "check the path of the point cloud") as file:
        facts = _checked(path, file, laspy)
        with _decoding(path, laspy):
            columns = _columns(laspy, file, facts, labels)
    found = len(columns["x"])
    if found < facts.count:
        raise InputError(f"{path}: cut off after {found} of {facts.count} points; {AGAIN}.")
    for group in (COLOURS, ("intensity",)):  # a format has these dimensions even if nothing was recorded
        if not any(columns[name].any() for name in group if name in columns):
            columns = {name: values for name, values in columns.items() if name not in group}
    classes = columns.pop("classification", None)
    if labels and "label" not in columns and classes is not None and (classes >= FIRST_CLASS).any():
        shifted = classes.astype(np.int64) - FIRST_CLASS
        columns["label"] = np.where(classes >= FIRST_CLASS, shifted, IGNORE_LABEL)
    return cloud_of_columns(columns, path, labels)


def write_las(path: str | Path, cloud: PointCloud, names: Sequence[str] = (), like: str | Path | None = None) -> int:
    """Write a LAS 1.4 cloud, or a LAZ if the path ends in `.laz`; return the number of points left out.

    Label L has classification 64 + L, whose names are in the lookup table, and 255 has 1 (unclassified). Labels,
    scores, segments, seen and support are extra dimensions. Coordinates are stored in steps of 0.1 mm, or coarser ones
    beyond an extent of 400 km, with a DataWarning from 1 cm on. Points that are not finite are left out, because LAS
    cannot store them. `like` is a LAS or LAZ file with the same points, whose coordinates, coordinate system and other
    dimensions are kept.
    """
    path, laspy = Path(path), require_laspy()
    if cloud.labels is not None and len(names) > MOST_CLASSES:
        raise InputError(f"{path}: LAS has {MOST_CLASSES} user-defined classes, not {len(names)}; write PLY or PCD.")
    finite = np.isfinite(cloud.points).all(axis=1)
    if like is not None:
        las = _source(laspy, Path(like), len(finite))
        finite = np.ones_like(finite)
    else:
        las = _new(laspy, cloud, finite, path)
    _add_results(laspy, las, cloud, finite)
    if names:
        las.header.vlrs.extract("ClassificationLookupVlr")
        table = laspy.vlrs.known.ClassificationLookupVlr()
        table.lookups = {UNCLASSIFIED: "unclassified"} | {
            FIRST_CLASS + label: _ascii_name(name) for label, name in enumerate(names)
        }
        las.header.vlrs.append(table)
    las.header.generating_software = "labelfree"
    with atomic_file(path) as file:
        las.write(file, do_compress=path.suffix.lower() == ".laz")
    return int(len(finite) - finite.sum())


def require_laspy() -> ModuleType:
    """Return laspy. Raises an `InputError` with the install command if it or lazrs is missing."""
    try:
        import_module("lazrs")
        return import_module("laspy")
    except ImportError as error:
        raise InputError(
            f"LAS and LAZ files need laspy and lazrs, and {error.name or 'laspy'} is missing: install them with "
            "pip install 'labelfree[points]'."
        ) from error


def _checked(path: Path, file: BinaryIO, laspy: ModuleType) -> LasFacts:
    """Check the header and, in a LAZ file, the chunks; return the facts, with the file at its beginning."""
    facts = check_las(path, file)
    if facts.packing is not None:
        lazrs = import_module("lazrs")
        with _decoding(path, laspy):
            file.seek(facts.start)
            chunks = [size for _, size in lazrs.read_chunk_table(file, lazrs.LazVlr(facts.packing))]
        check_layers(path, file, facts, chunks)
    file.seek(0)
    return facts


@contextmanager
def _decoding(path: Path, laspy: ModuleType) -> Iterator[None]:
    """Convert what laspy and lazrs raise for damaged files to an `InputError`; lazrs also panics."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, InputError):
        raise
    except BaseException as error:
        known = isinstance(error, (laspy.errors.LaspyException, *_DAMAGE)) or type(error).__name__ == "PanicException"
        if not known:
            raise
        told = short(" ".join(str(error).split())) or type(error).__name__
        raise InputError(f"{path}: the LAS points cannot be decoded ({told}); {AGAIN}.") from error


def _columns(laspy: ModuleType, file: Any, facts: LasFacts, labels: bool) -> dict[str, NDArray[Any]]:
    """Return the columns that this library uses, read in pieces whose size does not depend on stated counts."""
    pieces: dict[str, list[NDArray[Any]]] = {}
    backend = laspy.LazBackend.Lazrs  # the parallel one allocates stated chunk sizes, which ends the process
    with laspy.open(file, closefd=False, read_evlrs=False, laz_backend=backend) as reader:
        own = set(reader.header.point_format.dimension_names)
        wanted = [*_NEEDED, *(("classification", *RESULTS) if labels else ())]
        wanted = [name for name in wanted if name in own]
        for points in reader.chunk_iterator(max(1, PIECE_BYTES // facts.record_bytes)):
            if not len(points):
                break
            for name in ("x", "y", "z"):
                pieces.setdefault(name, []).append(np.array(points[name], dtype=np.float64))
            for name in wanted:
                pieces.setdefault(name, []).append(np.array(points[name]))
    return {name: np.concatenate(parts) for name, parts in pieces.items()} or {"x": np.zeros(0)}


def _new(laspy: ModuleType, cloud: PointCloud, finite: NDArray[np.bool_], path: Path) -> Any:
    """Return a new LAS of the finite points, with their colours and intensity."""
    points = cloud.points[finite].astype(np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    header = laspy.LasHeader(version="1.4", point_format=6 if cloud.colours is None else 7)
    header.offsets = np.floor((low + high) / 2)
    reach = float(np.abs(points - header.offsets).max())
    scale = next((scale for scale in SCALES if reach / scale < np.iinfo(np.int32).max), None)
    if scale is None:
        raise InputError(f"{path}: LAS cannot store points up to {reach:g} m from their middle; remove stray points.")
    if scale > EXACT_ENOUGH:
        warnings.warn(
            f"{path}: points lie up to {reach / 1000:,.0f} km from their middle, so LAS stores them in steps of "
            f"{scale:g} m; remove stray points",
            DataWarning,
            stacklevel=3,
        )
    header.scales = np.full(3, scale)
    las = laspy.LasData(header)
    las.x, las.y, las.z = points.T
    if cloud.colours is not None:
        las.red, las.green, las.blue = cloud.colours[finite].T.astype(np.uint16) * 257
    if cloud.intensity is not None:
        las.intensity = np.nan_to_num(cloud.intensity[finite], nan=0).clip(0, 65535).astype(np.uint16)
    return las


def _source(laspy: ModuleType, path: Path, count: int) -> Any:
    """Return the LAS of a file in a format whose classification has 8 bits, without results of earlier commands."""
    with open_file(path) as file:
        _checked(path, file, laspy)
        with _decoding(path, laspy):
            las = laspy.read(file, closefd=False, laz_backend=laspy.LazBackend.Lazrs)
            old = las.header.point_format.id
            if old in _UPGRADES:
                degrees = np.array(las.scan_angle_rank, dtype=np.float64)
                las = laspy.convert(las, point_format_id=_UPGRADES[old], file_version="1.4")
                las.scan_angle = np.rint(degrees / SCAN_ANGLE).astype(np.int16)
            las.remove_extra_dims([name for name in RESULTS if name in las.point_format.extra_dimension_names])
    if len(las.points) != count:
        raise InputError(f"{path}: has {len(las.points)} points, and {count} were labelled; run the command again.")
    return las


def _add_results(laspy: ModuleType, las: Any, cloud: PointCloud, finite: NDArray[np.bool_]) -> None:
    results = (
        ("label", np.uint8, cloud.labels, f"class, {IGNORE_LABEL}: none"),
        ("score", np.float32, cloud.scores, "confidence 0..1"),
        ("seen", np.uint8, cloud.seen, "1: labelled from an image"),
        ("segment", np.int32, cloud.segments, "segment, -1: none"),
        ("support", np.int32, cloud.support, "number of images"),
    )
    given = [(name, kind, values, text) for name, kind, values, text in results if values is not None]
    if given:
        las.add_extra_dims([laspy.ExtraBytesParams(name, kind, text) for name, kind, _, text in given])
    for name, kind, values, _ in given:
        las[name] = values[finite].astype(kind)
    if cloud.labels is not None:
        las.classification = classification(cloud.labels)[finite]


def classification(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:  # [N] -> [N]
    """Return the LAS classification of labels: 64 + label, and 1 for 255."""
    codes = np.where(labels == IGNORE_LABEL, UNCLASSIFIED, labels.astype(np.int64) + FIRST_CLASS)
    return codes.clip(0, 255).astype(np.uint8)


def _ascii_name(name: str) -> str:
    """Return a class name as the lookup table stores it: at most 15 ASCII letters."""
    return name.encode("ascii", "replace").decode("ascii")[:LONGEST_NAME]
