"""Read the YAML file that describes a capture in another layout, so that no file has to be moved."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from labelfree.data.poses import CameraAxes, PoseConvention, PoseIs
from labelfree.errors import InputError, shown
from labelfree.files.documents import read_yaml
from labelfree.files.metrics import is_number
from labelfree.files.names import require_safe_name

Choice = TypeVar("Choice", bound=StrEnum)

_LONGEST_QUOTE, _KEYS_COMPARED = 80, 1000


class Incomplete(StrEnum):
    """Choices for a frame without an image, a depth map or a finite pose."""

    ERROR = "error"
    SKIP = "skip"


@dataclass(frozen=True)
class Pinhole:
    """Pinhole intrinsics in pixels, written into the description."""

    fx: float
    fy: float
    cx: float
    cy: float


@dataclass(frozen=True)
class Description:
    """The layout of a capture; the defaults are the default layout. In patterns `*` stands for the frame's name."""

    name: str | None = None
    """Name of the scene; the name of its folder if not given."""
    root: str | None = None
    """Folder of the capture, relative to the description; `--root` overrides it."""
    images: str = "color/*.{png,jpg,jpeg}"
    """Pattern of the colour images."""
    depth: str | None = "depth/*.png"
    """Pattern of the depth maps, z-depth with 0 where missing; null for none."""
    poses: str = "pose/*.txt"
    """One file per frame, or one text file with a row per frame in the natural order of the frames' names."""
    pose_is: PoseIs = PoseIs.CAMERA_TO_WORLD
    """Direction of the transforms."""
    camera_axes: CameraAxes = CameraAxes.OPENCV
    """Axes of the camera frames."""
    intrinsics: str | Pinhole = "intrinsic.txt"
    """File (a pattern if each frame has its own) or fx, fy, cx, cy; they apply to the depth map where there is one."""
    intrinsics_size: tuple[int, int] | None = None
    """(height, width) of the image that the intrinsics belong to, if it differs from the frame's size."""
    depth_scale: float = 1000.0
    """Stored depth units per metre: 1000 for millimetres, 5000 for TUM, 6553.5 for Replica."""
    cloud: str | None = "cloud.ply"
    """Point cloud file (.ply, .las, .laz, .pcd), world coordinates in metres; without it the depth maps are
    fused. If it is not given, `cloud` may have any of these formats."""
    labels: str | None = "label/*.png"
    """Pattern of the ground truth label maps, 255 = ignored; for evaluation only."""
    classes: str | tuple[str, ...] | None = "classes.txt"
    """Class names: a file with one name per line, or a list."""
    every: int = 1
    """Take every n-th frame."""
    incomplete: Incomplete = Incomplete.ERROR
    """Frames without an image, a depth map or a finite pose: `error` names the first one, `skip` leaves them out."""
    voxel_m: float = 0.02
    """Side in metres of the voxels in which depth maps are fused."""
    max_depth_m: float = 10.0
    """Depth beyond this, in metres, is not fused."""
    stated: frozenset[str] = frozenset()
    """Keys that the file gives: what they name must exist, what a default names may be missing."""

    @property
    def convention(self) -> PoseConvention:
        """Return the convention of the stored poses."""
        return PoseConvention(self.pose_is, self.camera_axes)


KEYS = tuple(field.name for field in fields(Description) if field.name != "stated")


def read_description(path: Path) -> Description:
    """Read a description file; raises an `InputError` for an unknown key or a wrong value."""
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected keys such as 'images' and 'poses', found {type(data).__name__}.")
    return description_from_dict(data, str(path))


def description_from_dict(data: Mapping[Any, Any], source: str) -> Description:
    """Build a description from plain data; `source` names the data in errors."""
    refuse_unknown(data, KEYS, source)
    given = {key: data[key] for key in KEYS if key in data}
    values: dict[str, Any] = {}
    for key, value in given.items():
        values[key] = _value(key, value, f"{source}: {key}")
    return Description(**values, stated=frozenset(given))


def _value(key: str, value: Any, where: str) -> Any:
    match key:
        case "images" | "poses":
            return text_value(value, where)
        case "name":
            return None if value is None else require_safe_name(text_value(value, where), where)
        case "root" | "depth" | "cloud" | "labels":
            return None if value is None else text_value(value, where)
        case "pose_is":
            return choice_value(PoseIs, value, where)
        case "camera_axes":
            return choice_value(CameraAxes, value, where)
        case "incomplete":
            return choice_value(Incomplete, value, where)
        case "depth_scale" | "voxel_m" | "max_depth_m":
            return _positive(value, where)
        case "every":
            return count_value(value, where)
        case "intrinsics":
            return pinhole_value(value, where) if isinstance(value, dict) else text_value(value, where)
        case "intrinsics_size":
            return None if value is None else size_value(value, where)
        case _:
            return _classes(value, where)


def refuse_unknown(data: Mapping[Any, Any], known: tuple[str, ...], source: str) -> None:
    """Raise an `InputError` for an unknown key; the message suggests the nearest known one."""
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"keys are {', '.join(known)}."
            raise InputError(f"{source}: unknown key '{key}'; {hint}")


def nearest(key: str, known: Iterable[str], count: int = 3) -> str:
    """Return the known keys most similar to `key`, or the first few keys, as part of an error message."""
    names = list(islice(known, _KEYS_COMPARED))
    found = difflib.get_close_matches(key, names, count, 0.5)
    if found:
        return "did you mean " + " or ".join(f"'{name[:_LONGEST_QUOTE]}'" for name in found) + "?"
    more = ", ..." if len(names) > count else ""
    return "there are " + ", ".join(f"'{name[:_LONGEST_QUOTE]}'" for name in names[:count]) + more


def text_value(value: Any, where: str) -> str:
    """Return a file name or pattern; raises an `InputError` if the value is not text."""
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where} is {shown(value)}, expected a file name or pattern.")
    return value.strip().removeprefix("./")


def choice_value(choices: type[Choice], value: Any, where: str) -> Choice:
    """Return the choice of that name; raises an `InputError` if there is none."""
    if value not in list(choices):
        raise InputError(f"{where} is {shown(value)}, expected {' or '.join(choices)}.")
    return choices(value)


def _positive(value: Any, where: str) -> float:
    if not is_number(value) or value <= 0:
        raise InputError(f"{where} is {shown(value)}, expected a positive number.")
    return float(value)


def count_value(value: Any, where: str) -> int:
    """Return a whole number of at least 1; raises an `InputError` for other values."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{where} is {shown(value)}, expected a whole number from 1.")
    return value


def size_value(value: Any, where: str) -> tuple[int, int]:
    """Return (height, width) of a list of two; raises an `InputError` for other values."""
    if not isinstance(value, list) or len(value) != 2:
        raise InputError(f"{where} is {shown(value)}, expected [height, width].")
    return count_value(value[0], where), count_value(value[1], where)


def pinhole_value(value: Mapping[Any, Any], where: str) -> Pinhole:
    """Return the intrinsics of the keys fx, fy, cx and cy; raises an `InputError` if one is missing or wrong."""
    names = tuple(field.name for field in fields(Pinhole))
    refuse_unknown(value, names, where)
    missing = [name for name in names if name not in value]
    if missing:
        raise InputError(f"{where} lacks '{missing[0]}': give fx, fy, cx and cy in pixels.")
    fx, fy, cx, cy = (_positive(value[name], f"{where}.{name}") for name in names)
    return Pinhole(fx, fy, cx, cy)


def _classes(value: Any, where: str) -> str | tuple[str, ...] | None:
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InputError(f"{where} is {shown(value)}, expected a list of names or the name of a file.")
    return tuple(value)
