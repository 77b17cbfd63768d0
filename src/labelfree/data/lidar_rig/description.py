"""Read the YAML file that describes a folder of LiDAR sweeps and images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from labelfree.data.description import (
    Incomplete,
    Pinhole,
    choice_value,
    count_value,
    pinhole_value,
    refuse_unknown,
    size_value,
    text_value,
)
from labelfree.data.patterns import Pattern
from labelfree.errors import InputError, shown
from labelfree.files.documents import LARGEST_YAML, open_file, read_yaml
from labelfree.files.metrics import is_number
from labelfree.files.names import require_safe_name

LAYOUT = "lidar"
COLUMNS = ("x", "y", "z", "intensity")
"""Names of the columns that are used; other columns may have any name."""
HIGHEST_RAW_ID = 0xFFFF
"""Highest raw label id, which has 16 bits."""


class QuaternionOrder(StrEnum):
    """Order of the four values of a stored quaternion; w is its real part."""

    WXYZ = "wxyz"
    XYZW = "xyzw"


@dataclass(frozen=True)
class FromFile:
    """A matrix in a file: the whole file, one or more keys of it, or a rotation and a translation under two keys."""

    file: str
    """File name, or a pattern if each sweep has its own file."""
    keys: tuple[str, ...] = ()
    """Keys of the matrix, nested keys joined by '/'; several matrices are multiplied, the last one is applied first."""
    rotation: str | None = None
    """Key of the rotation, if rotation and translation have separate keys."""
    translation: str | None = None
    """Key of the translation, in metres."""
    quaternion: QuaternionOrder | None = None
    """Order of the four values of a rotation given as quaternion."""

    def of_sweep(self, sweep: str) -> FromFile:
        """Return the same matrix with the file name of one sweep."""
        return replace(self, file=Pattern(self.file).fill(sweep))


Transform = tuple[float, ...] | tuple[FromFile, ...]
"""12 or 16 values row by row, or files whose matrices are multiplied; the last one is applied first."""


@dataclass(frozen=True)
class RigCamera:
    """One camera: its images, intrinsics and extrinsics."""

    name: str
    images: str
    """Pattern of the images; `*` stands for the sweep's name."""
    intrinsics: Pinhole | FromFile
    """Focal lengths and centre in pixels, or a file with fx fy cx cy, a 3x3 matrix or KITTI's 3x4 projection."""
    lidar_to_camera: Transform | None = None
    """Transform of LiDAR points to the camera's frame: 12 or 16 values row by row, or files."""
    camera_to_lidar: Transform | None = None
    """The camera's pose in the LiDAR's frame; exactly one of the two transforms is given."""
    intrinsics_size: tuple[int, int] | None = None
    """(height, width) of the image that the intrinsics belong to, if it differs from the camera's images."""
    labels: str | None = None
    """Pattern of ground truth label maps of raw ids; for evaluation only."""

    def calibration(self) -> tuple[FromFile, ...]:
        """Return the files from which the camera's matrices are read."""
        stated = (self.intrinsics, *(self.lidar_to_camera or ()), *(self.camera_to_lidar or ()))
        return tuple(value for value in stated if isinstance(value, FromFile))

    def of_sweep(self, sweep: str) -> RigCamera:
        """Return the camera with the calibration files of one sweep; an equal one if all sweeps share them."""

        def own(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(own, value))
            return value.of_sweep(sweep) if isinstance(value, FromFile) else value

        return replace(
            self,
            intrinsics=own(self.intrinsics),
            lidar_to_camera=own(self.lidar_to_camera),
            camera_to_lidar=own(self.camera_to_lidar),
        )


@dataclass(frozen=True)
class RigDescription:
    """The layout of a folder of sweeps: points, images, calibration and, for evaluation, labels."""

    points: str
    """Pattern of the sweeps: .bin (float32), .npy, .ply, .las, .laz or .pcd."""
    cameras: tuple[RigCamera, ...]
    columns: tuple[str, ...] = COLUMNS
    """Names of the float32 values of a point in .bin and .npy files."""
    point_labels: str | None = None
    """Pattern of the points' labels: .label (uint32, lower 16 bits, as SemanticKITTI) or .npy; for evaluation only."""
    classes: Mapping[int, str] | None = None
    """Class names of raw label ids; ids with the same name are merged."""
    ignored: tuple[int, ...] = ()
    """Raw label ids that are ignored in the evaluation."""
    root: str | None = None
    """Folder of the data, relative to the description; `--root` overrides it."""
    intensity_scale: float = 1.0
    """Factor of the intensity: 255 where it is stored in 0..1, which gives nuScenes' range."""
    every: int = 1
    """Take every n-th sweep."""
    incomplete: Incomplete = Incomplete.ERROR
    """Choice for missing images, calibration or labels: `error` names the file, `skip` leaves the part out."""
    max_range_m: float = 200.0
    """Range in metres; points farther away, at the origin or not finite are dropped."""

    def names(self) -> tuple[str, ...] | None:
        """Return the class names, in the order of their first raw id."""
        return None if self.classes is None else tuple(dict.fromkeys(self.classes.values()))


KEYS = tuple(field.name for field in fields(RigDescription))
CAMERA_KEYS = tuple(field.name for field in fields(RigCamera) if field.name != "name")
FILE_KEYS = ("file", "key", "rotation", "translation", "quaternion")


def is_rig(path: Path) -> bool:
    """Return whether a file contains the line `layout: lidar`."""
    return says_layout(path, LAYOUT)


def says_layout(path: Path, layout: str) -> bool:
    """Return whether a description file contains the line `layout:` with this name."""
    if path.suffix.lower() not in {".yaml", ".yml"} or not path.is_file():
        return False
    with open_file(path) as file:
        lines = file.read(LARGEST_YAML).decode("utf-8", "replace").splitlines()
    return any(line.split("#")[0].replace(" ", "").strip() == f"layout:{layout}" for line in lines)


def read_rig(path: Path) -> RigDescription:
    """Read a description file; raises an `InputError` for an unknown or missing key or a wrong value."""
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected keys such as 'points' and 'cameras', found {type(data).__name__}.")
    data.pop("layout", None)
    refuse_unknown(data, KEYS, str(path))
    if "points" not in data:
        raise InputError(f"{path}: lacks 'points', the pattern of the sweeps, such as velodyne/*.bin.")
    cameras = data.get("cameras") or {}
    if not isinstance(cameras, dict):
        raise InputError(f"{path}: cameras is {shown(cameras)}, expected a name and keys for each camera.")
    values = {key: _value(key, value, f"{path}: {key}") for key, value in data.items() if key != "cameras"}
    return RigDescription(**values, cameras=tuple(_camera(path, str(name), keys) for name, keys in cameras.items()))


def _camera(path: Path, name: str, keys: Any) -> RigCamera:
    where = f"{path}: camera '{name}'"
    require_safe_name(name, f"{path}: the name of a camera")
    if not isinstance(keys, dict):
        raise InputError(f"{where} is {shown(keys)}, expected keys such as images, intrinsics, lidar_to_camera.")
    refuse_unknown(keys, CAMERA_KEYS, where)
    for key in ("images", "intrinsics"):
        if key not in keys:
            raise InputError(f"{where} lacks '{key}'.")
    if ("lidar_to_camera" in keys) == ("camera_to_lidar" in keys):
        raise InputError(f"{where} needs either lidar_to_camera or camera_to_lidar.")
    size = keys.get("intrinsics_size")
    return RigCamera(
        name,
        text_value(keys["images"], f"{where}: images"),
        _intrinsics(keys["intrinsics"], f"{where}: intrinsics"),
        _transform(keys.get("lidar_to_camera"), f"{where}: lidar_to_camera"),
        _transform(keys.get("camera_to_lidar"), f"{where}: camera_to_lidar"),
        None if size is None else size_value(size, f"{where}: intrinsics_size"),
        None if keys.get("labels") is None else text_value(keys["labels"], f"{where}: labels"),
    )


def _intrinsics(value: Any, where: str) -> Pinhole | FromFile:
    if isinstance(value, dict) and "file" not in value:
        return pinhole_value(value, where)
    return _from_file(value, where, ("file", "key"))


def _transform(value: Any, where: str) -> Transform | None:
    if value is None:
        return None
    if isinstance(value, list) and any(isinstance(step, (dict, str)) for step in value):
        return tuple(_from_file(step, f"{where}[{place}]") for place, step in enumerate(value))
    if isinstance(value, list):
        flat = [number for row in value for number in (row if isinstance(row, list) else [row])]
        if len(flat) not in (12, 16) or not all(map(is_number, flat)):
            raise InputError(f"{where} has {len(flat)} values, expected 12 or 16 numbers row by row.")
        return tuple(float(number) for number in flat)
    return (_from_file(value, where),)


def _from_file(value: Any, where: str, known: tuple[str, ...] = FILE_KEYS) -> FromFile:
    if not isinstance(value, dict):
        return FromFile(text_value(value, where))
    refuse_unknown(value, known, where)
    stated = value.get("key")
    keys = [] if stated is None else stated if isinstance(stated, list) else [stated]
    rotation, translation = (
        None if value.get(name) is None else str(value[name]) for name in ("rotation", "translation")
    )
    if (rotation is None) != (translation is None) or (keys and rotation is not None):
        raise InputError(f"{where} needs either 'key', or both 'rotation' and 'translation'.")
    order = value.get("quaternion")
    return FromFile(
        text_value(value.get("file"), f"{where}.file"),
        tuple(map(str, keys)),
        rotation,
        translation,
        None if order is None else choice_value(QuaternionOrder, order, f"{where}.quaternion"),
    )


def _value(key: str, value: Any, where: str) -> Any:
    match key:
        case "points":
            return text_value(value, where)
        case "point_labels" | "root":
            return None if value is None else text_value(value, where)
        case "incomplete":
            return choice_value(Incomplete, value, where)
        case "columns":
            if not isinstance(value, list) or not {"x", "y", "z"} <= set(map(str, value)):
                raise InputError(f"{where} is {shown(value)}, expected a list of names with x, y and z among them.")
            return tuple(map(str, value))
        case "classes":
            return raw_classes(value, where)
        case "ignored":
            return raw_ignored(value, where)
        case "every":
            return count_value(value, where)
        case _:
            if not is_number(value) or value <= 0:
                raise InputError(f"{where} is {shown(value)}, expected a positive number.")
            return float(value)


def raw_classes(value: Any, where: str) -> dict[int, str]:
    """Return the class name of each raw label id; raises an `InputError` for other values."""
    if not isinstance(value, dict) or not all(_is_raw_id(raw) for raw in value):
        raise InputError(f"{where} is {shown(value)}, expected a name for each raw label id.")
    return {int(raw): str(name) for raw, name in value.items()}


def raw_ignored(value: Any, where: str) -> tuple[int, ...]:
    """Return the ignored raw label ids; raises an `InputError` for other values."""
    if not isinstance(value, list) or not all(_is_raw_id(raw) for raw in value):
        raise InputError(f"{where} is {shown(value)}, expected a list of raw label ids.")
    return tuple(value)


def _is_raw_id(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value <= HIGHEST_RAW_ID
