"""Reading calibration as it lies on disk: numbers, KITTI's keyed lines, YAML or JSON with a quaternion or a matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.data.description import Pinhole
from labelfree.data.lidar_rig.description import FromFile, RigCamera
from labelfree.data.poses import pinhole, pose_matrix, quaternion_rotation, read_intrinsics
from labelfree.documents import parse_json, parse_yaml, read_text, shown
from labelfree.errors import InputError

Matrix = NDArray[np.float64]


def camera_matrices(camera: RigCamera, base: Path) -> tuple[Matrix, Matrix]:  # [3, 3], [4, 4]
    """Return a camera's intrinsics and the transform from LiDAR to camera; what is not rigid is left to `Frame`.

    A 3x4 projection K [1 | t], as KITTI gives for each of its rectified cameras, moves the camera by t.
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
        raise InputError(f"{base / camera.intrinsics.file}: intrinsics of camera '{camera.name}' are under one key.")
    return intrinsics, shift @ _lidar_to_camera(camera, base)


def _lidar_to_camera(camera: RigCamera, base: Path) -> Matrix:
    stated = camera.lidar_to_camera if camera.lidar_to_camera is not None else camera.camera_to_lidar
    if isinstance(stated, FromFile):
        matrix = np.eye(4)
        for key in stated.keys or (None,):
            matrix = matrix @ _rigid(*_entry(base, stated.file, key))
    else:
        matrix = pose_matrix(list(stated or ()), f"camera '{camera.name}'")
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-6:
        raise InputError(f"camera '{camera.name}': its extrinsics are no invertible transform; mend the calibration.")
    return matrix if camera.lidar_to_camera is not None else np.asarray(np.linalg.inv(matrix), dtype=np.float64)


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


def _rigid(values: Any, where: str) -> Matrix:
    """Read 12 or 16 numbers, 9 of a rotation alone, or a quaternion with a translation under their usual names."""
    if not isinstance(values, dict):
        flat = _numbers(values, where)
        matrix = np.eye(4)
        if len(flat) == 9:
            matrix[:3, :3] = np.reshape(flat, (3, 3))
            return matrix
        return pose_matrix(flat, where)
    rotation = next((values[key] for key in ("q", "rotation", "quaternion", "orientation") if key in values), None)
    translation = next((values[key] for key in ("t", "translation", "position") if key in values), None)
    if rotation is None or translation is None:
        raise InputError(f"{where}: expected a rotation and a translation, found {', '.join(map(str, values))}.")
    matrix = np.eye(4)
    matrix[:3, 3] = _numbers(_components(translation, "xyz"), where)
    turn = _numbers(_components(rotation, "wxyz"), where)
    if len(turn) == 9:
        matrix[:3, :3] = np.reshape(turn, (3, 3))
    elif len(turn) == 4 and isinstance(rotation, dict):
        matrix[:3, :3] = quaternion_rotation(np.array(turn))
    else:
        raise InputError(f"{where}: write the quaternion as w, x, y and z by name, or the rotation as a 3x3 matrix.")
    return matrix


def _components(value: Any, names: str) -> Any:
    return [value[name] for name in names if name in value] if isinstance(value, dict) else value


def _numbers(values: Any, where: str) -> list[float]:
    flat = np.array(values, dtype=object).ravel()
    try:
        return [float(value) for value in flat]
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: expected numbers, found {shown(values)}.") from error


def _entry(base: Path, file: str, nested: str | None) -> tuple[Any, str]:
    """Return what a file holds under a key, and the words for it."""
    path = base / file
    text = read_text(path, strict=False)
    data: Any = parse_json(text, str(path)) if path.suffix == ".json" else _keyed(text) or parse_yaml(text, str(path))
    where = str(path)
    for key in [] if nested is None else nested.split("/"):
        if not isinstance(data, dict) or key not in data:
            there = ", ".join(map(str, data)) if isinstance(data, dict) else "no keys"
            raise InputError(f"{where}: has no '{key}'; there are {there}.")
        data, where = data[key], f"{where}, {key}"
    if isinstance(data, str):
        data = data.split()
    return data, where


def _keyed(text: str) -> dict[str, list[str]] | None:
    """Return the lines `KEY: numbers` of a KITTI calibration; None for anything else."""
    lines = [line for line in text.splitlines() if line.strip()]
    pairs = [line.split(":", 1) for line in lines]
    if not all(
        len(pair) == 2 and len(pair[1].split()) > 1 and not line[0].isspace() for pair, line in zip(pairs, lines)
    ):
        return None
    return {name.strip(): numbers.split() for name, numbers in pairs}
