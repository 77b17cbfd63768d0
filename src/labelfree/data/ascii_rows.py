"""Read the rows of numbers of ascii point clouds (PLY, PCD), whose headers may state wrong counts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from labelfree.data.point_cloud import short
from labelfree.errors import InputError

_ROUNDING = 1e-4
"""Largest accepted rounding of a float in an ascii file to the type in its header: 0.1 mm."""


def read_ascii_rows(
    file: BinaryIO,
    fields: Sequence[tuple[str, str]],  # names and numpy types, without byte order
    count: int,
    path: Path,
    entry: str,
) -> dict[str, NDArray[Any]]:  # name -> [count]
    """Return the columns of `count` rows; `entry` names a row in errors, such as 'vertex'.

    Raises an `InputError` if there are fewer rows or other numbers of values than the header states.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # loadtxt warns about empty data; the count is checked below
            most = min(count, most_rows(file, len(fields)))
            rows = np.loadtxt(file, dtype=np.float64, comments=None, max_rows=most, ndmin=2)
    except ValueError as error:
        raise InputError(
            f"{path}: a {entry} line does not consist of numbers ({short(str(error))}); export the cloud again."
        ) from error
    if len(rows) and rows.shape[1] != len(fields):
        raise InputError(
            f"{path}: {entry} lines have {rows.shape[1]} values but the header names {len(fields)} properties; export "
            "the cloud again."
        )
    if len(rows) < count:
        raise cut_off(path, entry, len(rows), count)
    return {name: _as_declared(rows[:, column], kind) for column, (name, kind) in enumerate(fields)}


def most_rows(file: BinaryIO, width: int) -> int:
    """Return how many rows of `width` values the rest of the file can hold, because declared counts may be wrong."""
    left = os.fstat(file.fileno()).st_size - file.tell()
    return (left + 1) // max(2 * width, 1)  # a digit and a separator for each value, which the very last one may lack


def cut_off(path: Path, entry: str, found: int, stated: int) -> InputError:
    """Return the error about a file that is shorter than its header states."""
    return InputError(f"{path}: cut off after {found} of {stated} entries of '{entry}'; copy or export it again.")


def _as_declared(values: NDArray[np.float64], kind: str) -> NDArray[Any]:
    """Return values in the type of the header, or unchanged if that type cannot hold them."""
    declared = np.dtype(kind)
    if declared.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = values.astype(declared)
            return values if (np.abs(rounded - values) > _ROUNDING).any() else rounded
    limits = np.iinfo(declared)
    fits = bool(((values >= limits.min) & (values <= limits.max)).all())  # false for NaN
    return values.astype(declared) if fits else values
