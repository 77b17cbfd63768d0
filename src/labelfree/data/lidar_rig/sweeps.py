"""Read one LiDAR sweep and the labels of its points."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.data.lidar_rig.description import RigDescription
from labelfree.data.point_files import is_point_file, read_points
from labelfree.errors import InputError
from labelfree.files.documents import LARGEST_SWEEP, open_file, read_array
from labelfree.vocabulary import IGNORE_LABEL

LOWER_16 = 0xFFFF
"""Mask of the class in a SemanticKITTI label, whose upper 16 bits are the instance."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """The valid returns of a sweep."""

    points: NDArray[np.float32]  # [N, 3] metres, LiDAR's frame
    intensity: NDArray[np.float32] | None  # [N]
    kept: NDArray[np.bool_]  # [M] which of the stored points these are


def read_sweep(path: Path, description: RigDescription) -> Sweep:
    """Return the points of a sweep without returns at the origin, beyond the range or not finite.

    Raises an `InputError` if the file has another size than its columns imply or no valid return.
    """
    if is_point_file(path):
        cloud = read_points(path, labels=False)
        with np.errstate(over="ignore"):
            points, intensity = cloud.points.astype(np.float32), cloud.intensity
    else:
        values = _values(path, description.columns)
        place = {name: index for index, name in enumerate(description.columns)}
        points = np.ascontiguousarray(values[:, [place["x"], place["y"], place["z"]]], dtype=np.float32)
        intensity = values[:, place["intensity"]].astype(np.float32) if "intensity" in place else None
    with np.errstate(over="ignore", invalid="ignore"):
        distance = np.sqrt((points.astype(np.float64) ** 2).sum(axis=1))
    kept = (distance > 0) & (distance <= description.max_range_m)  # false for NaN
    if not kept.any():
        raise InputError(f"{path}: none of its {len(points)} points is a return within {description.max_range_m:g} m.")
    if intensity is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = intensity[kept] * np.float32(description.intensity_scale)
        intensity = np.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0)
    return Sweep(points[kept], intensity, kept)


def _values(path: Path, columns: tuple[str, ...]) -> NDArray[np.floating]:
    width = len(columns)
    if path.suffix == ".npy":
        values = read_array(path)
        if values.ndim != 2 or values.shape[1] != width:
            raise InputError(f"{path}: has shape {list(values.shape)}, columns names {width}: fix key 'columns'.")
        return np.asarray(values)
    with open_file(path, "copy the file again", LARGEST_SWEEP) as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise InputError(f"{path}: is empty; copy the file again.")
        if size % (4 * width):
            raise InputError(
                f"{path}: {size} bytes are not a whole number of points of {width} float32 ({' '.join(columns)}); "
                "fix key 'columns', or copy the file again."
            )
        return np.fromfile(file, dtype=np.float32).reshape(-1, width)


def read_point_labels(path: Path, sweep: Sweep, table: NDArray[np.int64]) -> NDArray[np.uint8]:  # [N]
    """Return the class of each valid return.

    Raises an `InputError` if the number of labels is wrong or a raw id is unknown.
    """
    if path.suffix == ".npy":
        raw = read_array(path).ravel().astype(np.int64)
    else:
        with open_file(path, "copy the file again", LARGEST_SWEEP) as file:
            size = os.fstat(file.fileno()).st_size
            if size % 4:
                raise InputError(f"{path}: {size} bytes are not a whole number of uint32 labels; copy the file again.")
            raw = (np.fromfile(file, dtype=np.uint32) & LOWER_16).astype(np.int64)
    if len(raw) != len(sweep.kept):
        raise InputError(f"{path}: holds {len(raw)} labels for {len(sweep.kept)} points; copy the file again.")
    return classes_of(raw, table, str(path))[sweep.kept]


UNKNOWN = -1


def class_table(
    classes: Mapping[int, str] | None, ignored: Sequence[int]
) -> NDArray[np.int64]:  # [65536] raw id -> class, 255 ignored, -1 unknown
    """Return the class of each raw id; without `classes` the ids are the classes."""
    if classes is None:
        table = np.arange(LOWER_16 + 1)
        table[IGNORE_LABEL:] = IGNORE_LABEL
    else:
        names = tuple(dict.fromkeys(classes.values()))
        table = np.full(LOWER_16 + 1, UNKNOWN, np.int64)
        for raw, name in classes.items():
            table[raw] = names.index(name)
    table[list(ignored)] = IGNORE_LABEL
    return table


def raw_ids(description: RigDescription) -> NDArray[np.uint32]:  # [256] class -> raw id, 0 for 255
    """Return the first raw id of each class, for writing labels; without `classes` the classes are the ids."""
    table = np.arange(256, dtype=np.uint32)
    table[IGNORE_LABEL] = 0
    names = description.names()
    if names is not None and description.classes is not None:
        first = {name: raw for raw, name in reversed(tuple(description.classes.items()))}
        table[: len(names)] = [first[name] for name in names]
    return table


def classes_of(raw: NDArray[np.int64], table: NDArray[np.int64], where: str) -> NDArray[np.uint8]:
    """Return the classes of raw ids; raises an `InputError` that names the first unknown id."""
    outside = (raw < 0) | (raw > LOWER_16)
    found = table[np.where(outside, 0, raw)]
    wrong = outside | (found == UNKNOWN)
    if wrong.any():
        raise InputError(f"{where}: label {int(raw[wrong][0])} is neither among 'classes' nor among 'ignored'.")
    return found.astype(np.uint8)
