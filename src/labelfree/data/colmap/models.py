"""Read the cameras, images and points of a COLMAP model, binary or text.

Source: colmap.github.io/format.html. Poses are world_to_camera with OpenCV axes; the centre of the first pixel is at
(0.5, 0.5). Only registered images are in a model.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.data.numbers import LARGEST_SIDE
from labelfree.data.poses import pinhole, quaternion_rotation
from labelfree.errors import InputError, shown
from labelfree.files.documents import open_file
from labelfree.files.names import require_safe_name

PARTS = ("cameras", "images", "points3D")
FIX = "copy the model again, or write it again with colmap model_converter"
UNDISTORT = "undistort the images with 'colmap image_undistorter' and give its output folder"
MODELS = {
    **{0: ("SIMPLE_PINHOLE", 3), 1: ("PINHOLE", 4), 2: ("SIMPLE_RADIAL", 4), 3: ("RADIAL", 5), 4: ("OPENCV", 8)},
    **{5: ("OPENCV_FISHEYE", 8), 6: ("FULL_OPENCV", 12), 7: ("FOV", 5), 8: ("SIMPLE_RADIAL_FISHEYE", 4)},
    **{9: ("RADIAL_FISHEYE", 5), 10: ("THIN_PRISM_FISHEYE", 12), 11: ("RAD_TAN_THIN_PRISM_FISHEYE", 16)},
    **{12: ("SIMPLE_DIVISION", 4), 13: ("DIVISION", 5), 14: ("SIMPLE_FISHEYE", 3), 15: ("FISHEYE", 4)},
    **{16: ("EUCM", 6), 17: ("EQUIRECTANGULAR", 2)},
}
"""Name and number of parameters of each camera model, by its id in binary files."""
FOCAL_LENGTHS = {"SIMPLE_PINHOLE": 1, "PINHOLE": 2, "SIMPLE_RADIAL": 1, "RADIAL": 1, "OPENCV": 2, "FULL_OPENCV": 2}
"""Number of focal lengths of the models that are a pinhole camera with lens distortion; cx and cy follow them."""
_PARAMETERS = dict(MODELS.values())
_POINT, _TRACK_ENTRY, _PIXEL = struct.Struct("<Q3d3BdQ"), 8, 24
_LONGEST_NAME, _LONGEST_LINE = 4096, 1 << 28


@dataclass(frozen=True)
class ColmapCamera:
    """One camera of a model."""

    model: str
    size: tuple[int, int]
    """(height, width) of the images to which the parameters belong."""
    parameters: tuple[float, ...]

    @property
    def intrinsics(self) -> NDArray[np.float64]:  # [3, 3]
        """Return the pinhole matrix in pixels, without lens distortion."""
        count = FOCAL_LENGTHS[self.model]
        return pinhole(self.parameters[0], self.parameters[count - 1], *self.parameters[count : count + 2])

    @property
    def distortion(self) -> float:
        """Return the largest distortion coefficient, 0 for a pinhole camera."""
        return max(map(abs, self.parameters[FOCAL_LENGTHS[self.model] + 2 :]), default=0.0)


@dataclass(frozen=True, eq=False)
class ColmapImage:
    """One registered image of a model."""

    name: str
    """Path of the file in the folder of images."""
    camera: int
    world_to_camera: NDArray[np.float64]
    """[4, 4], translation in units of the model."""


@dataclass(frozen=True, eq=False)
class ColmapPoints:
    """The sparse points of a model."""

    points: NDArray[np.float64]
    """[N, 3] in units of the model."""
    colours: NDArray[np.uint8]
    """[N, 3] RGB."""


def has_model(folder: Path) -> bool:
    """Return whether a folder has the cameras and the images of a model, binary or text."""
    return any(all((folder / f"{part}{end}").is_file() for part in PARTS[:2]) for end in (".bin", ".txt"))


def part_of(folder: Path, part: str) -> Path:
    """Return the file of a part of the model; binary files are preferred, and all parts have one format."""
    binary = all((folder / f"{name}.bin").is_file() for name in PARTS[:2])
    return folder / f"{part}{'.bin' if binary else '.txt'}"


def read_cameras(folder: Path) -> dict[int, ColmapCamera]:
    """Return the cameras by id. Raises an `InputError` if the file is damaged or a camera is no pinhole camera."""
    path = part_of(folder, "cameras")
    rows = _binary_cameras(path) if path.suffix == ".bin" else _text_cameras(path)
    cameras = {row[0]: _checked_camera(path, *row) for row in rows}
    if not cameras:
        raise InputError(f"{path}: holds no camera; {FIX}.")
    return cameras


def read_images(folder: Path) -> tuple[ColmapImage, ...]:
    """Return the registered images. Raises an `InputError` if the file is damaged or a name leads out of its folder."""
    path = part_of(folder, "images")
    found: dict[str, ColmapImage] = {}
    for name, camera, pose in _binary_images(path) if path.suffix == ".bin" else _text_images(path):
        require_safe_name(name, f"{path}: the name of an image")
        if name in found:
            raise InputError(f"{path}: image '{name}' appears twice; {FIX}.")
        found[name] = ColmapImage(name, camera, _world_to_camera(path, name, pose))
    if not found:
        raise InputError(f"{path}: holds no registered image; give another model of the reconstruction.")
    return tuple(found.values())


def read_points(folder: Path) -> ColmapPoints:
    """Return the sparse points; none if the model has no file of points. Raises an `InputError` if it is damaged."""
    path = part_of(folder, "points3D")
    if not path.is_file():
        return ColmapPoints(np.empty((0, 3)), np.empty((0, 3), np.uint8))
    rows = _binary_points(path) if path.suffix == ".bin" else _text_points(path)
    table = np.fromiter(chain.from_iterable(rows), np.float64).reshape(-1, 6)
    if not np.isin(table[:, 3:], np.arange(256)).all():
        raise InputError(f"{path}: a colour is no whole number from 0 to 255; {FIX}.")
    return ColmapPoints(np.ascontiguousarray(table[:, :3]), table[:, 3:].astype(np.uint8))


def _checked_camera(path: Path, number: int, model: str, size: tuple[int, int], values: list[float]) -> ColmapCamera:
    if model not in _PARAMETERS:
        raise InputError(f"{path}: camera {number} has the unknown model {shown(model)}; {UNDISTORT}.")
    if model not in FOCAL_LENGTHS:
        raise InputError(f"{path}: camera {number} has model {model}, which is no pinhole camera; {UNDISTORT}.")
    if len(values) != _PARAMETERS[model] or not np.isfinite(values).all():
        raise InputError(f"{path}: camera {number} needs {_PARAMETERS[model]} finite parameters ({model}); {FIX}.")
    if not all(1 <= side <= LARGEST_SIDE for side in size):
        raise InputError(f"{path}: camera {number} states {size[1]}x{size[0]} pixels; {FIX}.")
    return ColmapCamera(model, size, tuple(values))


def _world_to_camera(path: Path, name: str, pose: tuple[float, ...]) -> NDArray[np.float64]:
    values = np.array(pose)
    length = float(np.linalg.norm(values[:4]))
    if not np.isfinite(values).all() or abs(length - 1) > 0.05:
        raise InputError(f"{path}: the pose of image '{name}' is {shown(pose)}, expected a quaternion first; {FIX}.")
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = quaternion_rotation(values[:4]), values[4:]
    return matrix


class _Cursor:
    """A position in a mapped binary file; reading past its end is an `InputError`."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self.data, self.path, self.place = data, path, 0

    def take(self, layout: struct.Struct) -> tuple[int | float, ...]:
        """Return the next values."""
        start = self.place
        self.skip(layout.size)
        return layout.unpack_from(self.data, start)

    def whole(self) -> int:
        """Return the next unsigned integer of 64 bits."""
        return int(self.take(_COUNT)[0])

    def skip(self, size: int) -> None:
        """Move on by a number of bytes."""
        if size > len(self.data) - self.place:
            raise InputError(f"{self.path}: is cut off after {len(self.data)} bytes; {FIX}.")
        self.place += size

    def text(self) -> str:
        """Return the next text that a zero byte ends."""
        end = self.data.find(b"\0", self.place, self.place + _LONGEST_NAME)
        if end < 0:
            raise InputError(f"{self.path}: the name of an image does not end after {_LONGEST_NAME} bytes; {FIX}.")
        start, self.place = self.place, end + 1
        try:
            return self.data[start:end].decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{self.path}: the name of an image is not UTF-8 text; rename the image.") from error


_COUNT, _CAMERA, _IMAGE = struct.Struct("<Q"), struct.Struct("<IiQQ"), struct.Struct("<I7dI")


@contextmanager
def _mapped(path: Path) -> Iterator[_Cursor]:
    with open_file(path, FIX) as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise InputError(f"{path}: is empty; {FIX}.") from error
        with data:
            yield _Cursor(data, path)


def _binary_cameras(path: Path) -> Iterator[tuple[int, str, tuple[int, int], list[float]]]:
    with _mapped(path) as cursor:
        for _ in range(cursor.whole()):
            number, kind, width, height = map(int, cursor.take(_CAMERA))
            model, count = MODELS.get(kind, (str(kind), 0))
            values = cursor.take(struct.Struct(f"<{count}d"))
            yield number, model, (height, width), list(values)


def _binary_images(path: Path) -> Iterator[tuple[str, int, tuple[float, ...]]]:
    with _mapped(path) as cursor:
        for _ in range(cursor.whole()):
            _, *pose, camera = cursor.take(_IMAGE)
            name = cursor.text()
            cursor.skip(_PIXEL * cursor.whole())
            yield name, int(camera), tuple(pose)


def _binary_points(path: Path) -> Iterator[tuple[float, ...]]:
    with _mapped(path) as cursor:
        for _ in range(cursor.whole()):
            _, *values, _, length = cursor.take(_POINT)
            cursor.skip(_TRACK_ENTRY * int(length))
            yield tuple(values)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (place, text) of each line; the place names file and line in errors."""
    with open_file(path, FIX) as file:
        number = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            yield f"{path}, line {number}", line.decode("utf-8", "replace").strip()


def _rows(path: Path, words: int) -> Iterator[tuple[str, list[str]]]:
    """Yield (place, words) of each line that is neither empty nor a comment."""
    for place, text in _lines(path):
        if text and not text.startswith("#"):
            yield place, _words(place, text, words)


def _words(place: str, text: str, count: int) -> list[str]:
    found = text.split(maxsplit=count)
    if len(found) < count:
        raise InputError(f"{place}: {len(found)} values, expected {count} or more; {FIX}.")
    return found


def _numbers(place: str, words: list[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise InputError(f"{place}: {str(error).split(': ')[-1]} is not a number; {FIX}.") from error


def _integers(place: str, words: list[str]) -> list[int]:
    values = _numbers(place, words)
    if not all(value.is_integer() for value in values):
        raise InputError(f"{place}: expected whole numbers, found {shown(' '.join(words))}; {FIX}.")
    return [int(value) for value in values]


def _text_cameras(path: Path) -> Iterator[tuple[int, str, tuple[int, int], list[float]]]:
    for place, words in _rows(path, 4):
        number, width, height = _integers(place, [words[0], *words[2:4]])
        yield number, words[1], (height, width), _numbers(place, words[4].split() if len(words) > 4 else [])


def _text_images(path: Path) -> Iterator[tuple[str, int, tuple[float, ...]]]:
    """Yield the images; each is followed by a line of its pixels, which may be empty."""
    lines = _lines(path)
    for place, text in lines:
        if text and not text.startswith("#"):
            words = text.split(maxsplit=9)
            if len(words) < 10:
                raise InputError(f"{place}: {len(words)} values, expected 10 (IMAGE_ID, pose, CAMERA_ID, NAME); {FIX}.")
            _, camera = _integers(place, [words[0], words[8]])
            yield words[9], camera, tuple(_numbers(place, words[1:8]))
            next(lines, None)


def _text_points(path: Path) -> Iterator[tuple[float, ...]]:
    for place, words in _rows(path, 7):
        yield tuple(_numbers(place, words[1:7]))
