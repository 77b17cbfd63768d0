"""Read the frames of a scan from folders: `scannet_frames_25k`, and the exports of ScanNet's readers of `.sens`.

ScanNet's Python reader writes `color/0.jpg`, `depth/0.png`, `pose/0.txt` and `intrinsic/`. Its C++ reader writes
`frame-000000.color.jpg`, `.depth.pgm` (or .png), `.pose.txt` and `_info.txt`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.data.calibrations import DEPTH_INTRINSICS, Calibration, StatedIntrinsics, doubts
from labelfree.data.numbers import LARGEST_SIDE, whole_number
from labelfree.data.patterns import natural_order
from labelfree.data.poses import pinhole, read_intrinsics, scaled_intrinsics
from labelfree.errors import InputError
from labelfree.files.decoding import picture_size
from labelfree.files.documents import read_text

COLOUR_INTRINSICS = tuple(name.replace("depth", "color") for name in DEPTH_INTRINSICS)
INFO = "_info.txt"
ENDINGS = {"color": (".jpg", ".jpeg", ".png"), "depth": (".png", ".pgm"), "pose": (".txt",), "label": (".png",)}
PREFIX = "frame-"
INFO_KEYS = ("m_depthWidth", "m_depthHeight", "m_calibrationDepthIntrinsic")
DEPTH_SHIFT, MILLIMETRES = "m_depthShift", 1000.0
SCAN_KEYS = ("depthWidth", "depthHeight", "fx_depth", "fy_depth", "mx_depth", "my_depth")


@dataclass(frozen=True)
class ExportedFrames:
    """A folder of exported frames."""

    folder: Path
    scan_info: Path
    """The scan's `.txt`, which may state its calibration and may be missing."""
    flat: bool = False
    """Whether all files lie in one folder, as the C++ reader writes them, or in one folder per kind."""

    def file(self, kind: str, name: str) -> Path:
        """Return a frame's file of a kind; if it is missing, the expected path."""
        stem = f"{PREFIX}{name}.{kind}" if self.flat else f"{kind}/{name}"
        expected = [self.folder / f"{stem}{ending}" for ending in ENDINGS[kind]]
        return next((path for path in expected if path.is_file()), expected[0])

    def names(self) -> list[str]:
        """Return the names of the frames in the order of their numbers.

        Raises an `InputError` if there are no images.
        """
        folder, ending = (self.folder, ".color") if self.flat else (self.folder / "color", "")
        stems = {path.stem for path in folder.iterdir() if path.suffix.lower() in ENDINGS["color"]}
        if self.flat:
            stems = {stem for stem in stems if stem.startswith(PREFIX) and stem.endswith(ending)}
        names = natural_order(stem.removeprefix(PREFIX).removesuffix(ending) if self.flat else stem for stem in stems)
        if not names:
            raise InputError(
                f"{folder}: has no images ({', '.join(ENDINGS['color'])}); unpack the scan's frames again."
            )
        return names

    def calibrated(self) -> bool:
        """Return whether there is a file that may state the intrinsics."""
        return any((self.folder / name).is_file() for name in (*DEPTH_INTRINSICS, *COLOUR_INTRINSICS, INFO))

    def intrinsics(self, picture: Path, depth_size: tuple[int, int]) -> NDArray[np.float64]:  # [3, 3]
        """Return the intrinsics in pixels of the depth maps.

        Those of the depth camera are used if stated, else those of the colour camera, scaled from the image's size.
        Raises an `InputError` if none are stated or they do not fit the size of the depth maps.
        """
        matrix = self.stated(picture, depth_size)[0].matrix
        centre = matrix[0, 2] / depth_size[1], matrix[1, 2] / depth_size[0]
        if not (0.2 < centre[0] < 0.8 and 0.2 < centre[1] < 0.8):
            raise InputError(
                f"{self.folder}: depth maps are {depth_size[1]}x{depth_size[0]} but the camera's centre lies at "
                f"{matrix[0, 2]:.0f}, {matrix[1, 2]:.0f}; keep the depth maps' own size, or describe the folder with "
                "intrinsics_size (docs/own-data.md)."
            )
        return matrix

    def depth_scale(self) -> float:
        """Return the stored depth units per metre: the value in `_info.txt`, else 1000."""
        path = self.folder / INFO
        lines = _lines(path)
        if DEPTH_SHIFT not in lines:
            return MILLIMETRES
        scale, *_ = [*_numbers(path, lines, DEPTH_SHIFT), 0.0]
        if not 0 < scale < math.inf:
            raise InputError(
                f"{path}: '{DEPTH_SHIFT} = {lines[DEPTH_SHIFT]}' is not a positive number; restore the file."
            )
        return scale

    def stated(self, picture: Path, depth_size: tuple[int, int]) -> list[StatedIntrinsics]:
        """Return all stated intrinsics on the grid of the depth maps; the first one is used.

        Files of the colour camera are ignored if the export has one of the depth camera.
        """
        found: list[StatedIntrinsics] = []

        def take(path: Path, read: Callable[[], StatedIntrinsics]) -> None:
            try:
                found.append(read())
            except InputError:
                if not found:  # this one would be used
                    raise

        files = [self.folder / name for name in DEPTH_INTRINSICS if (self.folder / name).is_file()]
        for path in files:
            take(path, partial(_of_depth, path))
        for path, keys in ((self.folder / INFO, INFO_KEYS), (self.scan_info, SCAN_KEYS)):
            if keys[0] in _lines(path):
                take(path, partial(stated_in_lines, path, keys, depth_size))
        colour = [self.folder / name for name in COLOUR_INTRINSICS if (self.folder / name).is_file()]
        for path in [] if files else colour:
            take(path, partial(_of_colour, path, picture, depth_size))
        if not found:
            raise InputError(f"{self.folder / DEPTH_INTRINSICS[0]}: is missing; unpack the scan's frames again.")
        return found

    def calibration(self, name: str) -> Calibration:
        """Return the source of the intrinsics, read at the frame `name`, and other sources that disagree."""
        depth = self.file("depth", name)
        used, *others = self.stated(self.file("color", name), picture_size(depth))
        kind = used.where.removeprefix(f"{self.folder}/")
        if used.where.startswith(str(self.scan_info)):
            kind = f"the scan's own .txt{used.where.removeprefix(str(self.scan_info))}"
        return Calibration(used.where, kind, (*doubts(used, others), *self._unread(used)))

    def _unread(self, used: StatedIntrinsics) -> Iterator[str]:
        """Yield a sentence for each file that looks like intrinsics but has an unknown name."""
        known = {self.folder / file for file in (*DEPTH_INTRINSICS, *COLOUR_INTRINSICS)}
        for path in sorted({*self.folder.glob("*intrinsic*"), *self.folder.glob("*intrinsic*/*")}):
            if path.is_file() and path not in known and "extrinsic" not in path.name:
                yield f"{path} is not read, the intrinsics are those of {used.where}; rename it, or remove one of them."


def stated_in_lines(path: Path, keys: tuple[str, ...], depth_size: tuple[int, int]) -> StatedIntrinsics:
    """Return the intrinsics in the lines `key = value` of a text file, for depth maps of (height, width) pixels."""
    lines = _lines(path)
    width, height, *values = (_numbers(path, lines, key) for key in keys)
    try:
        size = whole_number(height[0], 1, LARGEST_SIDE), whole_number(width[0], 1, LARGEST_SIDE)
    except (IndexError, ValueError) as error:
        raise InputError(f"{path}: '{keys[0]}' and '{keys[1]}' are no image size; restore the file.") from error
    matrix = scaled_intrinsics(_matrix(path, values), size, depth_size)
    return StatedIntrinsics(f"{path} ({keys[2]}...)" if len(keys) > 3 else f"{path} ({keys[2]})", matrix)


def _of_depth(path: Path) -> StatedIntrinsics:
    return StatedIntrinsics(str(path), read_intrinsics(path))


def _of_colour(path: Path, picture: Path, depth_size: tuple[int, int]) -> StatedIntrinsics:
    size = picture_size(picture)
    matrix = scaled_intrinsics(read_intrinsics(path), size, depth_size)
    return StatedIntrinsics(f"{path} (colour camera, scaled from {size[1]}x{size[0]})", matrix)


def find_frames(scan: Path, name: str) -> ExportedFrames | None:
    """Return a scan's frames in its own folder or in a subfolder that an export was written to; None if none."""
    info = scan / f"{name}.txt"
    for place in (scan, *sorted(child for child in scan.iterdir() if child.is_dir())):
        if (place / "color").is_dir():
            return ExportedFrames(place, info)
        if any((place / f"{PREFIX}{0:06d}.color{ending}").is_file() for ending in ENDINGS["color"]):
            return ExportedFrames(place, info, flat=True)
    return None


def _lines(path: Path) -> dict[str, str]:
    """Return the lines `key = value` of a text file; empty if the file is missing."""
    text = read_text(path, strict=False) if path.is_file() else ""
    pairs = (line.split("=", 1) for line in text.splitlines())
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}


def _numbers(path: Path, lines: dict[str, str], key: str) -> list[float]:
    try:
        return [float(word) for word in lines[key].split()]
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: '{key} = {lines.get(key, '')}' is not a number; restore the file.") from error


def _matrix(path: Path, values: list[list[float]]) -> NDArray[np.float64]:
    """Return the 3x3 matrix of the 16 values of a 4x4 matrix, or of fx, fy, cx, cy in lines of their own."""
    flat = [number for line in values for number in line]
    if len(flat) not in (4, 16) or not np.isfinite(flat).all():
        raise InputError(f"{path}: its depth intrinsics have {len(flat)} values, expected 4 or 16; restore the file.")
    return np.array(flat).reshape(4, 4)[:3, :3] if len(flat) == 16 else pinhole(*flat[:4])
