"""Read camera poses and intrinsics from the usual file formats; convert poses to OpenCV `world_to_camera`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.data.numbers import finite_array
from labelfree.errors import InputError
from labelfree.files.documents import read_json, read_text

_LONGEST_LINE = 1000


class PoseIs(StrEnum):
    """Direction of the stored transforms."""

    CAMERA_TO_WORLD = "camera_to_world"
    WORLD_TO_CAMERA = "world_to_camera"


class CameraAxes(StrEnum):
    """Axes of the stored camera frames: OpenCV x right, y down, z forward; OpenGL x right, y up, z backward."""

    OPENCV = "opencv"
    OPENGL = "opengl"


@dataclass(frozen=True)
class PoseConvention:
    """The direction and the camera axes of stored poses."""

    pose_is: PoseIs = PoseIs.CAMERA_TO_WORLD
    camera_axes: CameraAxes = CameraAxes.OPENCV

    def decode(
        self,
        stored: NDArray[np.float64],  # [4, 4]
    ) -> NDArray[np.float64]:  # [4, 4]
        """Return the stored pose as OpenCV world_to_camera.

        Raises an `InputError` if the matrix cannot be inverted.
        """
        try:
            world_to_camera = np.linalg.inv(stored) if self.pose_is is PoseIs.CAMERA_TO_WORLD else stored
        except np.linalg.LinAlgError as error:
            raise InputError("the pose is a matrix that cannot be inverted; remove the frame.") from error
        return np.asarray(self._axes() @ world_to_camera, dtype=np.float64)

    def encode(
        self,
        world_to_camera: NDArray[np.float64],  # [4, 4] OpenCV
    ) -> NDArray[np.float64]:  # [4, 4]
        """Return the pose as this convention stores it."""
        own = self._axes() @ world_to_camera
        return np.asarray(np.linalg.inv(own) if self.pose_is is PoseIs.CAMERA_TO_WORLD else own, dtype=np.float64)

    def _axes(self) -> NDArray[np.float64]:
        return np.diag([1.0, 1, 1, 1] if self.camera_axes is CameraAxes.OPENCV else [1.0, -1, -1, 1])


@dataclass(frozen=True)
class StoredPose:
    """One pose as written in a file."""

    matrix: NDArray[np.float64]
    """[4, 4]; may contain NaN or infinity, which many trackers write for lost frames."""
    where: str
    """File and row, for errors."""
    time: float | None = None
    """Timestamp of a TUM row."""


def read_pose_file(path: Path) -> StoredPose:
    """Read one pose: 16 or 12 values row by row, or 7 or 8 values as in a TUM row, on any number of lines."""
    values = [value for _, row in number_rows(path) for value in row]
    matrix = pose_matrix(values, str(path))
    return StoredPose(matrix, str(path), values[0] if len(values) == 8 else None)


def read_pose_rows(path: Path) -> list[StoredPose]:
    """Read all poses of a file with one pose per frame.

    A pose is a line of 16 or 12 values row by row, a TUM line `timestamp tx ty tz qx qy qz qw`, or four lines of a 4x4
    matrix. A line of three integers may precede the matrix, as in Redwood's and Open3D's `trajectory.log`.
    Raises an `InputError` with the line if a value is missing or not a number.
    """
    rows = number_rows(path)
    if not rows:
        raise InputError(f"{path}: no poses in this file; it needs one row per image.")
    width = len(rows[0][1])
    if width == 4 or (width == 3 and len(rows) > 1 and len(rows[1][1]) == 4):
        return _matrix_blocks(path, rows, width == 3)
    poses = []
    for line, row in rows:
        where = f"{path}, line {line}"
        if len(row) != width:
            raise InputError(f"{where}: {len(row)} values, but earlier rows have {width}; fix the row.")
        poses.append(StoredPose(pose_matrix(row, where), where, row[0] if width == 8 else None))
    return poses


def _matrix_blocks(path: Path, rows: list[tuple[int, list[float]]], header: bool) -> list[StoredPose]:
    """Return the poses of 4x4 matrices of four lines each; with `header`, three integers precede each matrix."""
    shape = [3, 4, 4, 4, 4] if header else [4, 4, 4, 4]
    poses = []
    for start in range(0, len(rows), len(shape)):
        block = rows[start : start + len(shape)]
        where = f"{path}, line {block[0][0]}"
        if [len(row) for _, row in block] != shape:
            before = "a line of three integers and then " if header else ""
            raise InputError(f"{where}: expected {before}a 4x4 matrix in four lines; copy or export the file again.")
        values = [value for _, row in block[-4:] for value in row]
        poses.append(StoredPose(pose_matrix(values, where), where))
    return poses


def is_trajectory_log(path: Path) -> bool:
    """Return whether a file begins like a `trajectory.log`: three integers, then a row of four numbers."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            words = [file.readline(_LONGEST_LINE).split() for _ in range(2)]
        integers, row = [int(word) for word in words[0]], [float(word) for word in words[1]]
    except (OSError, ValueError):
        return False
    return len(integers) == 3 and len(row) == 4


def read_intrinsics(path: Path) -> NDArray[np.float64]:  # [3, 3]
    """Read pinhole intrinsics in pixels: a 3x3, 3x4 or 4x4 matrix, fx fy cx cy, or Open3D's camera in JSON.

    Raises an `InputError` if the file has another number of values or no valid pinhole matrix.
    """
    if path.suffix.lower() == ".json":
        values = _open3d_intrinsics(path)
    else:
        values = np.array([value for _, row in number_rows(path) for value in row])
    match len(values):
        case 4:
            matrix = pinhole(*values)
        case 9:
            matrix = values.reshape(3, 3)
        case 12 | 16:
            matrix = values.reshape(-1, 4)[:3, :3]
        case count:
            raise InputError(f"{path}: {count} values; intrinsics are a 3x3 or 4x4 matrix, or fx fy cx cy.")
    if not np.isfinite(matrix).all() or min(matrix[0, 0], matrix[1, 1]) <= 0:
        raise InputError(f"{path}: focal lengths {matrix[0, 0]:g} and {matrix[1, 1]:g} must be positive; fix the file.")
    if not np.allclose(matrix[2], (0, 0, 1)):
        raise InputError(f"{path}: the third row of the intrinsics is {matrix[2].tolist()}, expected 0 0 1.")
    return matrix


def _open3d_intrinsics(path: Path) -> NDArray[np.float64]:  # [9]
    """Return the matrix of Open3D's PinholeCameraIntrinsic row by row; the file stores it column by column."""
    try:
        values = finite_array(read_json(path)["intrinsic_matrix"]).ravel()
        return values.reshape(3, 3).T.ravel()
    except InputError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: has no 'intrinsic_matrix' of nine numbers, as Open3D writes it; write fx fy cx cy into a .txt "
            "file instead."
        ) from error


def pinhole(fx: float, fy: float, cx: float, cy: float) -> NDArray[np.float64]:  # [3, 3]
    """Return the matrix of a pinhole camera from focal lengths and centre in pixels."""
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64)


def number_rows(path: Path) -> list[tuple[int, list[float]]]:
    """Return (line number, values) of each line with numbers in a text file; `#` starts a comment."""
    rows = []
    for line, text in enumerate(read_text(path, strict=False).splitlines(), start=1):
        words = text.split("#")[0].replace(",", " ").split()
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            raise InputError(
                f"{path}, line {line}: {str(error).split(': ')[-1]} is not a number; fix the line."
            ) from error
        if row:
            rows.append((line, row))
    return rows


def pose_matrix(values: list[float], where: str) -> NDArray[np.float64]:
    """Return the 4x4 transform of 16 or 12 values row by row, or of the 7 or 8 values of a TUM row.

    Raises an `InputError` for another number of values or a wrong last row; `where` names the source.
    """
    match len(values):
        case 16:
            matrix = np.array(values).reshape(4, 4)
        case 12:
            matrix = np.vstack([np.array(values).reshape(3, 4), [0, 0, 0, 1]])
        case 7 | 8:
            matrix = _from_quaternion(np.array(values[-7:]), where)
        case count:
            raise InputError(
                f"{where}: {count} values, but a pose has 16 (4x4), 12 (3x4) or 8 (timestamp tx ty tz qx qy qz qw)."
            )
    if np.isfinite(matrix).all() and not np.allclose(matrix[3], (0, 0, 0, 1), atol=1e-6):
        column_major = np.allclose(matrix[:, 3], (0, 0, 0, 1), atol=1e-6)
        raise InputError(
            f"{where}: the last row of the pose is {matrix[3].tolist()}, expected 0 0 0 1"
            + ("; the pose looks column-major: transpose it." if column_major else "; write 4x4 matrices row by row.")
        )
    return matrix


def _from_quaternion(
    values: NDArray[np.float64],  # [7] tx ty tz qx qy qz qw
    where: str,
) -> NDArray[np.float64]:
    norm = float(np.linalg.norm(values[3:]))
    if abs(norm - 1) > 0.05:
        raise InputError(f"{where}: the quaternion has length {norm:.3g}, expected 1; order is tx ty tz qx qy qz qw.")
    matrix = np.eye(4)
    matrix[:3, :3] = quaternion_rotation(np.roll(values[3:], 1))
    matrix[:3, 3] = values[:3]
    return matrix


def quaternion_rotation(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:  # [4] w x y z -> [3, 3]
    """Return the rotation matrix of a quaternion, which is normalised first."""
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotation_quaternion(rotation: NDArray[np.float64]) -> NDArray[np.float64]:  # [3, 3] -> [4] w x y z
    """Return the unit quaternion of a rotation, computed from its largest component, with w >= 0."""
    m = rotation
    squares = np.array(
        [
            1 + m[0, 0] + m[1, 1] + m[2, 2],
            1 + m[0, 0] - m[1, 1] - m[2, 2],
            1 - m[0, 0] + m[1, 1] - m[2, 2],
            1 - m[0, 0] - m[1, 1] + m[2, 2],
        ]
    )
    largest = int(squares.argmax())
    products = np.array(
        [
            [squares[0], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], squares[1], m[1, 0] + m[0, 1], m[0, 2] + m[2, 0]],
            [m[0, 2] - m[2, 0], m[1, 0] + m[0, 1], squares[2], m[2, 1] + m[1, 2]],
            [m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[2, 1] + m[1, 2], squares[3]],
        ]
    )[largest]
    unit: NDArray[np.float64] = products / np.linalg.norm(products)
    return unit if unit[0] >= 0 else -unit


def scaled_intrinsics(
    matrix: NDArray[np.float64],  # [3, 3]
    own: tuple[int, int],  # (height, width) of the image it belongs to
    size: tuple[int, int],  # (height, width)
) -> NDArray[np.float64]:  # [3, 3]
    """Return the intrinsics of the same view at another image size."""
    return np.asarray(np.diag([size[1] / own[1], size[0] / own[0], 1.0]) @ matrix, dtype=np.float64)
