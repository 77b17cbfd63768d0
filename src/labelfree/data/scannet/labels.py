"""Map ScanNet's raw categories and NYU40 ids to the benchmark's 20 classes."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.data.archives import LARGEST_MEMBER, read_member
from labelfree.data.integrity import check_bytes, check_image
from labelfree.data.ply import read_ply
from labelfree.errors import InputError, shown
from labelfree.files.decoding import decode_values
from labelfree.files.documents import read_bytes, read_json, read_text
from labelfree.vocabulary import IGNORE_LABEL

NYU40_OF_BENCHMARK = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39)
"""NYU40 ids of the 20 classes, in the benchmark's order."""
HIGHEST_NYU40 = 40
HIGHEST_SEGMENT = (1 << 24) - 1
"""Ids of over-segments are those of vertices; the largest meshes have some millions."""
TSV = "scannetv2-labels.combined.tsv"
UNKNOWN = -1

Table = NDArray[np.int64]  # [65536] raw id -> class, 255 ignored, -1 unknown


def nyu40_table() -> Table:
    """Return the table from NYU40 ids to classes; id 0 is unannotated and ignored."""
    table = np.full(1 << 16, UNKNOWN, np.int64)
    table[: HIGHEST_NYU40 + 1] = IGNORE_LABEL
    for number, nyu40 in enumerate(NYU40_OF_BENCHMARK):
        table[nyu40] = number
    return table


@dataclass(frozen=True, eq=False)
class Categories:
    """Classes of ScanNet's raw ids and category names, from its label file."""

    path: Path
    of_id: Table
    of_name: dict[str, int]
    """Class of each raw category."""


def read_categories(path: Path) -> Categories:
    """Read `scannetv2-labels.combined.tsv`; raises an `InputError` if a row is invalid."""
    nyu40 = nyu40_table()
    of_id, of_name = np.full(1 << 16, UNKNOWN, np.int64), dict[str, int]()
    of_id[0] = IGNORE_LABEL
    text = read_text(path, fix="download it again")
    try:
        for row in csv.DictReader(io.StringIO(text, newline=""), delimiter="\t"):
            number = nyu40[int(row["nyu40id"] or 0)]
            of_id[int(row["id"])] = number
            of_name[row["raw_category"]] = int(number)
    except (KeyError, ValueError, TypeError, IndexError, csv.Error) as error:
        raise InputError(f"{path}: is not ScanNet's label file ({error}); download it again.") from error
    return Categories(path, of_id, of_name)


def classes_of(raw: NDArray[Any], table: Table, where: str) -> NDArray[np.uint8]:
    """Return the classes of raw ids; raises an `InputError` that names the first unknown id."""
    found = table[raw.astype(np.int64)]
    if (found == UNKNOWN).any():
        wrong = int(raw[found == UNKNOWN][0])
        raise InputError(f"{where}: label {wrong} is not a ScanNet id; use the label file of this dataset.")
    return found.astype(np.uint8)


@dataclass(frozen=True)
class LabelPicture:
    """A label map of raw or NYU40 ids, in a file or a zip archive, read as benchmark classes."""

    path: Path
    table: Table = field(repr=False, compare=False)
    member: str | None = None
    """The member's name if `path` is a zip archive."""

    def load(self) -> NDArray[Any]:
        """Return the classes, uint8 [H, W], at the labels' own resolution."""
        raw = decode_values(self._bytes(), self.describe())
        if raw.ndim != 2 or raw.dtype.kind not in "iu" or raw.min() < 0 or raw.max() >= len(self.table):
            raise InputError(f"{self.describe()}: expected label ids [H, W], found {raw.dtype} {list(raw.shape)}.")
        return classes_of(raw, self.table, self.describe())

    def digest(self) -> str:
        """Return the SHA-256 of the file's bytes."""
        return hashlib.sha256(self._bytes()).hexdigest()

    def describe(self) -> str:
        """Return the path and, in an archive, the member."""
        return str(self.path) if self.member is None else f"{self.path}, {self.member}"

    def check(self, thorough: bool) -> None:
        """Raise an `InputError` if the stored image is damaged; members of archives are read only with `thorough`."""
        if self.member is None:
            check_image(self.path, thorough)
        elif thorough:
            check_bytes(self._bytes(), self.describe(), thorough)

    def _bytes(self) -> bytes:
        if self.member is None:
            return read_bytes(self.path, LARGEST_MEMBER, "download it again")
        return read_member(self.path, self.member)


def vertex_labels(path: Path, vertices: int) -> NDArray[np.uint8]:  # [N]
    """Return the classes of the vertices in `_vh_clean_2.labels.ply`, which stores NYU40 ids.

    Raises an `InputError` if the file has no labels or another number of vertices than the mesh.
    """
    cloud = read_ply(path)
    if cloud.labels is None:
        raise InputError(f"{path}: its vertices have no 'label'; download the scan again.")
    if len(cloud.labels) != vertices:
        raise InputError(f"{path}: has {len(cloud.labels)} vertices, the mesh {vertices}; download the scan again.")
    return classes_of(np.where(cloud.labels == IGNORE_LABEL, 0, cloud.labels), nyu40_table(), str(path))


def segment_labels(
    segments: Path, aggregation: Path, categories: Categories, vertices: int
) -> NDArray[np.uint8]:  # [N]
    """Return the classes of vertices from annotated objects, which are groups of over-segments.

    Raises an `InputError` if a file is invalid, a category unknown or the number of vertices wrong.
    """
    try:
        of_vertex = _segments(_json(segments)["segIndices"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{segments}: segIndices is missing or invalid ({error}); download the scan again.") from error
    try:
        groups = [(str(group["label"]), _segments(group["segments"])) for group in _json(aggregation)["segGroups"]]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{aggregation}: a key is missing or invalid ({error}); download the scan again.") from error
    if len(of_vertex) != vertices:
        raise InputError(f"{segments}: has {len(of_vertex)} vertices, the mesh {vertices}; download it again.")
    of_segment = np.full(int(of_vertex.max(initial=0)) + 1, IGNORE_LABEL, np.uint8)
    for name, members in groups:
        if name not in categories.of_name:
            raise InputError(f"{aggregation}: object label '{name}' is not in {categories.path}; use its own version.")
        of_segment[members[members < len(of_segment)]] = categories.of_name[name]
    return of_segment[of_vertex]


def _segments(values: Any) -> NDArray[np.int64]:
    """Return ids of segments, which ScanNet numbers by vertices; raise an error of Python's for anything else."""
    found = np.array(values)
    if found.size and (found.dtype.kind not in "iu" or found.min() < 0 or found.max() > HIGHEST_SEGMENT):
        raise ValueError(f"{shown(values)} holds what is no whole number from 0 to {HIGHEST_SEGMENT}")
    return found.astype(np.int64)


def _json(path: Path) -> dict[str, Any]:
    data = read_json(path, fix="download the scan again")
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected an object, found {type(data).__name__}; download the scan again.")
    return data
