"""Frames of a scan in folders: `scannet_frames_25k`, and what ScanNet's own readers export of a `.sens` file.

The reader in Python writes `color/0.jpg`, `depth/0.png`, `pose/0.txt` and `intrinsic/`; the one in C++ writes
`frame-000000.color.jpg`, `.depth.pgm` (or .png), `.pose.txt` and `_info.txt`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.data.patterns import natural_order
from labelfree.data.poses import pinhole, read_intrinsics, scaled_intrinsics
from labelfree.decoding import picture_size
from labelfree.documents import read_text
from labelfree.errors import InputError

DEPTH_INTRINSICS = ("intrinsics_depth.txt", "intrinsic/intrinsic_depth.txt", "intrinsic_depth.txt")
COLOUR_INTRINSICS = tuple(name.replace("depth", "color") for name in DEPTH_INTRINSICS)
INFO = "_info.txt"
ENDINGS = {"color": (".jpg", ".jpeg", ".png"), "depth": (".png", ".pgm"), "pose": (".txt",), "label": (".png",)}
PREFIX = "frame-"
INFO_KEYS = ("m_depthWidth", "m_depthHeight", "m_calibrationDepthIntrinsic")
SCAN_KEYS = ("depthWidth", "depthHeight", "fx_depth", "fy_depth", "mx_depth", "my_depth")


@dataclass(frozen=True)
class ExportedFrames:
    """A folder of frames."""

    folder: Path
    scan_info: Path
    """The scan's `.txt`, which may state its calibration and may be absent."""
    flat: bool = False
    """Whether a frame's files lie side by side, as the reader in C++ leaves them, or in a folder of each kind."""

    def file(self, kind: str, name: str) -> Path:
        """Return a frame's file of a kind; where there is none, the one that is expected."""
        stem = f"{PREFIX}{name}.{kind}" if self.flat else f"{kind}/{name}"
        expected = [self.folder / f"{stem}{ending}" for ending in ENDINGS[kind]]
        return next((path for path in expected if path.is_file()), expected[0])

    def names(self) -> list[str]:
        """Return the frames' names by their numbers."""
        folder, ending = (self.folder, ".color") if self.flat else (self.folder / "color", "")
        stems = {path.stem for path in folder.iterdir() if path.suffix.lower() in ENDINGS["color"]}
        if self.flat:
            stems = {stem for stem in stems if stem.startswith(PREFIX) and stem.endswith(ending)}
        names = natural_order(stem.removeprefix(PREFIX).removesuffix(ending) if self.flat else stem for stem in stems)
        if not names:
            raise InputError(
                f"{folder}: has no pictures ({', '.join(ENDINGS['color'])}); unpack the scan's frames again."
            )
        return names

    def calibrated(self) -> bool:
        """Whether there is a file that could state the intrinsics."""
        return any((self.folder / name).is_file() for name in (*DEPTH_INTRINSICS, *COLOUR_INTRINSICS, INFO))

    def intrinsics(self, picture: Path, depth_size: tuple[int, int]) -> NDArray[np.float64]:  # [3, 3]
        """Return the intrinsics on the grid of the depth maps.

        Those of the depth camera if they are stated; else those of the colour camera, scaled from the picture's size.
        """
        matrix = self._stated(picture, depth_size)
        centre = matrix[0, 2] / depth_size[1], matrix[1, 2] / depth_size[0]
        if not (0.2 < centre[0] < 0.8 and 0.2 < centre[1] < 0.8):
            raise InputError(
                f"{self.folder}: depth maps are {depth_size[1]}x{depth_size[0]} but the camera's centre lies at "
                f"{matrix[0, 2]:.0f}, {matrix[1, 2]:.0f}; keep the depth maps' own size, or describe the folder with "
                "intrinsics_size (docs/own-data.md)."
            )
        return matrix

    def _stated(self, picture: Path, depth_size: tuple[int, int]) -> NDArray[np.float64]:
        for name in DEPTH_INTRINSICS:
            if (self.folder / name).is_file():
                return read_intrinsics(self.folder / name)
        for path, stated in ((self.folder / INFO, INFO_KEYS), (self.scan_info, SCAN_KEYS)):
            lines = _lines(path)
            if stated[0] in lines:
                width, height, *values = (_numbers(path, lines, key) for key in stated)
                return scaled_intrinsics(_matrix(values), (int(height[0]), int(width[0])), depth_size)
        for name in COLOUR_INTRINSICS:
            if (self.folder / name).is_file():
                return scaled_intrinsics(read_intrinsics(self.folder / name), picture_size(picture), depth_size)
        raise InputError(f"{self.folder / DEPTH_INTRINSICS[0]}: is missing; unpack the scan's frames again.")


def find_frames(scan: Path, name: str) -> ExportedFrames | None:
    """Return a scan's frames in its own folder, or in the one that an export was written to inside it."""
    info = scan / f"{name}.txt"
    for place in (scan, *sorted(child for child in scan.iterdir() if child.is_dir())):
        if (place / "color").is_dir():
            return ExportedFrames(place, info)
        if any((place / f"{PREFIX}{0:06d}.color{ending}").is_file() for ending in ENDINGS["color"]):
            return ExportedFrames(place, info, flat=True)
    return None


def _lines(path: Path) -> dict[str, str]:
    """Return the lines `key = value` of a text file; none if there is no such file."""
    text = read_text(path, strict=False) if path.is_file() else ""
    pairs = (line.split("=", 1) for line in text.splitlines())
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}


def _numbers(path: Path, lines: dict[str, str], key: str) -> list[float]:
    try:
        return [float(word) for word in lines[key].split()]
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: '{key} = {lines.get(key, '')}' is no number; restore the file.") from error


def _matrix(values: list[list[float]]) -> NDArray[np.float64]:
    """Return 3x3 of the sixteen values of a 4x4 matrix, or of fx, fy, cx, cy in lines of their own."""
    flat = [number for line in values for number in line]
    return np.array(flat).reshape(4, 4)[:3, :3] if len(flat) == 16 else pinhole(*flat[:4])
