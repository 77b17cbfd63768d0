"""Read the rows of the nuScenes tables as arrays, a chunk at a time; errors name the invalid row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.data.numbers import finite_array, finite_number
from labelfree.data.nuscenes.metadata import Record, field, table_rows
from labelfree.data.nuscenes.tokens import pack
from labelfree.errors import InputError, shown
from labelfree.files.documents import one_line

ROWS_AT_ONCE = 100_000
FARTHEST_M = 1e9
"""Coordinates beyond this are damage: the Earth's own are below 1e7."""


def pose_of(path: Path, row: Record) -> list[float]:
    """Return translation and quaternion of a row. Raises an `InputError` if they are invalid."""
    stated = field(path, row, "translation"), field(path, row, "rotation")
    try:
        pose = [finite_number(value) for values in stated for value in values]
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path}: row {row['token']} has no pose in numbers ({one_line(error)}); the table is damaged, unpack it "
            "again."
        ) from error
    if len(pose) != 7 or max(map(abs, pose)) > FARTHEST_M or abs(np.dot(pose[3:], pose[3:]) - 1) > 1e-2:
        raise InputError(
            f"{path}: row {row['token']} has the pose {shown(pose)}, expected 3 metres and a unit quaternion; the "
            "table is damaged, unpack it again."
        )
    return pose


def intrinsics_of(path: Path, row: Record) -> NDArray[np.float64]:
    """Return the 3x3 intrinsics of a calibration, zeros where it has none."""
    stated: Any = row.get("camera_intrinsic")
    try:
        matrix = np.zeros((3, 3)) if stated is None or stated == [] else finite_array(stated)
    except ValueError as error:
        raise InputError(
            f"{path}: row {row['token']} has intrinsics that are no 3 x 3 numbers ({one_line(error)}); the table is "
            "damaged, unpack it again."
        ) from error
    if matrix.shape != (3, 3):
        raise InputError(f"{path}: row {row['token']} has intrinsics of shape {list(matrix.shape)}: expected 3 x 3.")
    return matrix


def read_poses(path: Path) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Return the tokens [E, 2] and the poses [E, 7] of a table."""
    tokens, poses = [np.zeros((0, 2), np.uint64)], [np.zeros((0, 7))]
    for rows in table_rows(path):
        tokens.append(pack([row["token"] for row in rows], path))
        poses.append(_many_poses(path, rows))
    return np.concatenate(tokens), np.concatenate(poses)


def _many_poses(path: Path, rows: list[Record]) -> NDArray[np.float64]:
    try:
        poses = np.array([row["translation"] + row["rotation"] for row in rows], dtype=np.float64)
        if (
            poses.shape == (len(rows), 7)
            and (abs(poses) <= FARTHEST_M).all()
            and (abs((poses[:, 3:] ** 2).sum(axis=1) - 1) <= 1e-2).all()
        ):
            return poses
    except (KeyError, TypeError, ValueError, OverflowError):
        pass
    return np.array([pose_of(path, row) for row in rows])  # says which one is wrong


@dataclass(frozen=True, eq=False)
class Readings:
    """The rows of sample_data.json."""

    tokens: NDArray[np.uint64]
    samples: NDArray[np.uint64]
    poses: NDArray[np.uint64]
    calibrations: NDArray[np.uint64]
    times: NDArray[np.int64]
    sizes: NDArray[np.uint16]
    is_key: NDArray[np.bool_]
    file_starts: NDArray[np.int64]
    file_names: NDArray[np.uint8]

    def ordered(self, order: NDArray[np.int64]) -> Readings:
        """Return the rows in another order."""
        lengths = np.diff(self.file_starts)[order]
        names = np.empty_like(self.file_names)
        starts = np.r_[0, np.cumsum(lengths)]
        for first in range(0, len(order), ROWS_AT_ONCE):
            some = slice(first, first + ROWS_AT_ONCE)
            inside = np.arange(lengths[some].sum()) - np.repeat(starts[:-1][some] - starts[first], lengths[some])
            begin, end = starts[first], starts[min(first + ROWS_AT_ONCE, len(order))]
            names[begin:end] = self.file_names[np.repeat(self.file_starts[order[some]], lengths[some]) + inside]
        others = {
            each.name: getattr(self, each.name)[order]
            for each in fields(Readings)
            if each.name not in ("file_starts", "file_names")
        }
        return Readings(**others, file_starts=starts, file_names=names)


def read_readings(path: Path) -> Readings:
    """Return the rows of sample_data.json as arrays."""
    parts = list(_parts(path))
    if not parts:
        raise InputError(f"{path}: holds no rows; unpack the metadata archive again.")
    lengths = np.concatenate([part.file_starts for part in parts])
    joined = {
        each.name: np.concatenate([getattr(part, each.name) for part in parts])
        for each in fields(Readings)
        if each.name != "file_starts"
    }
    return Readings(**joined, file_starts=np.r_[0, np.cumsum(lengths)])


def _parts(path: Path) -> Iterator[Readings]:
    """Yield the rows as arrays; `file_starts` holds the lengths of the names."""
    for rows in table_rows(path):
        try:
            names = [row["filename"].encode() for row in rows]
            yield Readings(
                tokens=pack([row["token"] for row in rows], path),
                samples=pack([row["sample_token"] for row in rows], path),
                poses=pack([row["ego_pose_token"] for row in rows], path),
                calibrations=pack([row["calibrated_sensor_token"] for row in rows], path),
                times=_column([row["timestamp"] for row in rows], "timestamp", np.int64),
                sizes=_column([(row["height"] or 0, row["width"] or 0) for row in rows], "height, width", np.uint16),
                is_key=_column([row["is_key_frame"] for row in rows], "is_key_frame", np.bool_),
                file_starts=np.array([len(name) for name in names], np.int64),
                file_names=np.frombuffer(b"".join(names), np.uint8),
            )
        except InputError:
            raise
        except (KeyError, TypeError, AttributeError, OverflowError, ValueError) as error:
            raise InputError(
                f"{path}: a row lacks a valid value: {one_line(error)}; unpack the metadata archive again."
            ) from error


def _column(values: list[Any], name: str, kind: type[np.integer[Any] | np.bool_]) -> NDArray[Any]:
    """Return a column of whole numbers or truth values; raise a `TypeError` for another type, such as 0.5 or text."""
    found = np.array(values)
    if issubclass(kind, np.integer):
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        if found.dtype.kind not in "iu" or found.min() < low or found.max() > high:
            raise TypeError(f"'{name}', expected whole numbers from {low} to {high}")
    elif found.dtype != np.bool_:
        raise TypeError(f"'{name}', expected true or false")
    return found.astype(kind)
