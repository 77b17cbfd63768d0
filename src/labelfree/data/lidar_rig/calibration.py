"""Read calibration files: plain numbers, KITTI's lines with keys, YAML or JSON with a quaternion or a matrix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.data.description import Pinhole, nearest
from labelfree.data.lidar_rig.description import FromFile, QuaternionOrder, RigCamera
from labelfree.data.poses import pinhole, pose_matrix, quaternion_rotation, read_intrinsics
from labelfree.errors import InputError, shown
from labelfree.files.documents import parse_json, parse_yaml, read_text

Matrix = NDArray[np.float64]

UNIT_TOLERANCE = 0.05
"""Largest deviation of a stored quaternion's length from 1."""
SHOWN_KEYS, LONGEST_LIST, DEEPER_KEYS = 4, 120, 2


def camera_matrices(camera: RigCamera, base: Path) -> tuple[Matrix, Matrix]:  # [3, 3], [4, 4]
    """Return a camera's intrinsics in pixels and the transform from LiDAR to camera, in metres.

    A 3x4 projection K [1 | t], as KITTI gives for each rectified camera, moves the camera by t. `Frame` checks that
    the transform is rigid. Raises an `InputError` if a file, a key or a value is missing or wrong.
    """
    shift = np.eye(4)
    if isinstance(camera.intrinsics, Pinhole):
        intrinsics = pinhole(camera.intrinsics.fx, camera.intrinsics.fy, camera.intrinsics.cx, camera.intrinsics.cy)
    elif not camera.intrinsics.keys:
        intrinsics = read_intrinsics(base / camera.intrinsics.file)
    elif len(camera.intrinsics.keys) == 1:
        values, where = _entry(base, camera.intrinsics.file, camera.intrinsics.keys[0])
        intrinsics, shift[:3, 3] = _projection(values, where)
    else:
        raise InputError(
            f"{base / camera.intrinsics.file}: intrinsics of camera '{camera.name}' must be under one key."
        )
    return intrinsics, shift @ _lidar_to_camera(camera, base)


def _lidar_to_camera(camera: RigCamera, base: Path) -> Matrix:
    stated = camera.lidar_to_camera if camera.lidar_to_camera is not None else camera.camera_to_lidar
    files = [step for step in stated or () if isinstance(step, FromFile)]
    if files:
        matrix = np.eye(4)
        for step in files:
            matrix = matrix @ _step(step, base)
    else:
        matrix = pose_matrix([value for value in stated or () if isinstance(value, float)], f"camera '{camera.name}'")
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-6:
        raise InputError(
            f"camera '{camera.name}': its extrinsics are not an invertible transform; fix the calibration."
        )
    return matrix if camera.lidar_to_camera is not None else np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _step(step: FromFile, base: Path) -> Matrix:
    """Return the transform in a file: a rotation and a translation, or the product of the matrices of all keys."""
    if step.rotation is not None and step.translation is not None:
        matrix = np.eye(4)
        matrix[:3, :3] = _rotation(*_entry(base, step.file, step.rotation), step.quaternion)
        matrix[:3, 3] = _translation(*_entry(base, step.file, step.translation))
        return matrix
    matrix = np.eye(4)
    for key in step.keys or (None,):
        matrix = matrix @ _rigid(*_entry(base, step.file, key), step.quaternion)
    return matrix


def _projection(values: Any, where: str) -> tuple[Matrix, NDArray[np.float64]]:
    flat = _numbers(values, where)
    match len(flat):
        case 4:
            return pinhole(*flat), np.zeros(3)
        case 9:
            return np.array(flat).reshape(3, 3), np.zeros(3)
        case 12:
            projection = np.array(flat).reshape(3, 4)
            return projection[:, :3], np.linalg.solve(projection[:, :3], projection[:, 3])
        case count:
            raise InputError(f"{where}: {count} values; intrinsics are fx fy cx cy, 3x3 or a 3x4 projection.")


def _rigid(values: Any, where: str, order: QuaternionOrder | None) -> Matrix:
    """Return the transform of 12 or 16 numbers, 9 of a rotation alone, or a rotation and translation by usual name."""
    matrix = np.eye(4)
    if isinstance(values, dict):
        rotation = next((values[key] for key in ("q", "rotation", "quaternion", "orientation") if key in values), None)
        translation = next((values[key] for key in ("t", "translation", "position") if key in values), None)
        if rotation is None or translation is None:
            raise InputError(f"{where}: {_holds_keys(values)}; give 'key', or 'rotation' and 'translation'.")
        matrix[:3, :3] = _rotation(rotation, where, order)
        matrix[:3, 3] = _translation(translation, where)
        return matrix
    flat = _numbers(values, where)
    if len(flat) != 9:
        return pose_matrix(flat, where)
    matrix[:3, :3] = np.reshape(flat, (3, 3))
    return matrix


def _rotation(values: Any, where: str, order: QuaternionOrder | None) -> Matrix:  # [3, 3]
    """Return the rotation of a 3x3 matrix, 9 values, or a quaternion by name or in the stated order."""
    by_name = isinstance(values, dict)
    flat = _numbers([values[name] for name in "wxyz" if name in values] if by_name else values, where)
    if len(flat) == 9:
        return np.reshape(flat, (3, 3))
    if len(flat) != 4 or not np.isfinite(flat).all() or abs(np.linalg.norm(flat) - 1) > UNIT_TOLERANCE:
        raise InputError(f"{where}: holds {shown(values)}; a rotation is a 3x3 matrix or a quaternion of length 1.")
    if not by_name and order is None:
        raise InputError(f"{where}: state the order of the quaternion's values: quaternion: wxyz, or xyzw.")
    real_first = by_name or order is QuaternionOrder.WXYZ
    return quaternion_rotation(np.array(flat if real_first else np.roll(flat, 1)))


def _translation(values: Any, where: str) -> Matrix:  # [3]
    by_name = isinstance(values, dict)
    flat = _numbers([values[name] for name in "xyz" if name in values] if by_name else values, where)
    if len(flat) != 3:
        raise InputError(f"{where}: holds {shown(values)}; a translation is three numbers in metres.")
    return np.array(flat)


def _numbers(values: Any, where: str) -> list[float]:
    if isinstance(values, dict):
        raise InputError(f"{where}: {_holds_keys(values)}; name one of them with 'key' (nested: a/b).")
    flat = np.array(values, dtype=object).ravel()
    try:
        return [float(value) for value in flat]
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{where}: expected numbers, found {shown(values)}.") from error


def _holds_keys(values: dict[Any, Any]) -> str:
    names = ", ".join(f"'{name}'" for name in list(values)[:SHOWN_KEYS])
    return f"holds the keys {names[:LONGEST_LIST]}" + (", ..." if len(values) > SHOWN_KEYS else "")


def _entry(base: Path, file: str, nested: str | None) -> tuple[Any, str]:
    """Return the value of a file under a key, and its name for messages."""
    path = base / file
    text = read_text(path, strict=False)
    data: Any = parse_json(text, str(path)) if path.suffix == ".json" else _keyed(text) or parse_yaml(text, str(path))
    if nested is not None:
        found = dict(_entries(data, nested.count("/")))
        if nested not in found:
            advice = nearest(nested, _nearby(nested, found, data)) if found else "it has no keys: leave 'key' out"
            raise InputError(f"{path}: has no '{nested}'; {advice}")
        data = found[nested]
    return data.split() if isinstance(data, str) else data, str(path) if nested is None else f"{path}, {nested}"


def _entries(data: Any, depth: int, before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield entries down to a depth with their nested keys joined by '/'; indices of lists are keys too."""
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in children:
        yield f"{before}{key}", value
        if depth:
            yield from _entries(value, depth - 1, f"{before}{key}/")


def _nearby(nested: str, found: dict[str, Any], data: Any) -> Iterator[str]:
    """Yield candidate keys for a wrong one: those down to its depth, then deeper ones with the same last part."""
    yield from found
    own = nested.rsplit("/", 1)[-1]
    deeper = (key for key, _ in _entries(data, nested.count("/") + DEEPER_KEYS) if key not in found)
    yield from (key for key in deeper if key.rsplit("/", 1)[-1] == own)


def _keyed(text: str) -> dict[str, list[str]] | None:
    """Return the lines `KEY: numbers` of a KITTI calibration; None for any other text."""
    lines = [line for line in text.splitlines() if line.strip()]
    pairs = [line.split(":", 1) for line in lines]
    if not all(
        len(pair) == 2 and len(pair[1].split()) > 1 and not line[0].isspace() for pair, line in zip(pairs, lines)
    ):
        return None
    return {name.strip(): numbers.split() for name, numbers in pairs}
