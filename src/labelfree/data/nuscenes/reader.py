"""Read nuScenes' key frames as scenes: one LiDAR sweep and six camera images, each taken at its own time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.data.integrity import check_image
from labelfree.data.nuscenes.index import NuScenesIndex
from labelfree.data.nuscenes.lidarseg import HIGHEST_RAW_ID, read_lidarseg
from labelfree.errors import InputError
from labelfree.files.atomic import atomic_file, write_text
from labelfree.files.documents import LARGEST_SWEEP, open_file
from labelfree.raster import ImageFile
from labelfree.scene import Frame, Scene
from labelfree.vocabulary import IGNORE_LABEL

VALUES = 5
"""float32 values of a LiDAR point: x, y, z, intensity, ring."""

USED = {"use_camera": True, "use_lidar": True, "use_radar": False, "use_map": False, "use_external": True}
"""Declaration required in a submission: training uses cameras, and CLIP and SAM use external data."""


@dataclass(frozen=True, eq=False)
class PointLabels:
    """The folder of the key frames' point labels and the table of their ids."""

    folder: Path
    table: NDArray[np.uint8]  # [256] raw id -> class
    highest: int = HIGHEST_RAW_ID

    def file(self, token: str) -> Path:
        """Return the label file of a LiDAR reading."""
        return self.folder / f"{token}_lidarseg.bin"


@dataclass(frozen=True, eq=False)
class KeyFrameSource:
    """One key frame on disk; files are read only on request.

    The scene's points are in the vehicle's frame at the LiDAR's time: metres, x forward, y left, z up, road near z = 0.
    """

    index: NuScenesIndex
    sample: int
    labels: PointLabels | None = None

    @property
    def name(self) -> str:
        """Return the scene name, such as `scene-0061-007`: the drive and the key frame's number in it."""
        return self.index.sample_name(self.sample)

    def build(self) -> Scene:
        """Return the points with intensity, labels if lidarseg is unpacked, and one frame per camera."""
        lidar = self.index.reading(self.sample, self.index.lidar)
        readings = read_sweep(self.index.file(lidar))
        to_ego = self.index.sensor_to_ego(lidar)
        points = readings[:, :3] @ to_ego[:3, :3].T + to_ego[:3, 3]
        labels = None
        if self.labels is not None:
            path = self.labels.file(self.index.token(lidar))
            labels = read_lidarseg(path, len(points), self.labels.table, self.labels.highest)
        frames = tuple(self._frame(channel, lidar) for channel in self.index.cameras)
        earlier, intensity = EarlierSweeps(self.index, self.sample), readings[:, 3].copy()
        return Scene(self.name, points.astype(np.float32), frames, None, intensity, labels, sweeps=earlier, z_up=True)

    def submission_file(self, folder: Path, split: str | None) -> Path:
        """Return the path `lidarseg/SPLIT/TOKEN_lidarseg.bin`; raises an `InputError` without a split."""
        if split is None:
            raise InputError(f"{folder}: nuScenes' benchmark takes labels of a split; name it with --split.")
        token = self.index.token(self.index.reading(self.sample, self.index.lidar))
        return folder / "lidarseg" / split / f"{token}_lidarseg.bin"

    def submit(self, labels: NDArray[np.uint8], folder: Path, split: str | None) -> Path:
        """Write `lidarseg/SPLIT/TOKEN_lidarseg.bin` with ids 1..16, and `SPLIT/submission.json`; return the former."""
        path = self.submission_file(folder, split)
        with atomic_file(path) as file:
            file.write(np.where(labels == IGNORE_LABEL, 0, labels + np.uint8(1)).astype(np.uint8).tobytes())
        stated = folder / str(split) / "submission.json"
        if not stated.is_file():
            write_text(stated, json.dumps({"meta": USED}) + "\n")
        return path

    def faults(self, thorough: bool = False) -> tuple[str, ...]:
        """Return which files are missing, truncated or of another size than in the tables, one sentence each."""
        try:
            return tuple(self._faults(thorough))
        except InputError as error:
            return (str(error),)

    def _faults(self, thorough: bool) -> Iterator[str]:
        lidar = self.index.reading(self.sample, self.index.lidar)
        path = self.index.file(lidar)
        size = path.stat().st_size if path.is_file() else -1
        if size < 0:
            yield f"{path}: the LiDAR's file of {self.name} is missing; unpack its archive again."
        elif size == 0 or size % (4 * VALUES):
            yield str(_wrong_size(path, size))
        elif self.labels is not None:
            labels = self.labels.file(self.index.token(lidar))
            found = labels.stat().st_size if labels.is_file() else -1
            if found < 0:
                yield f"{labels}: lidarseg's labels of {self.name} are missing; unpack lidarseg again."
            elif found != size // (4 * VALUES):
                yield f"{labels}: holds {found} labels for {size // (4 * VALUES)} points; unpack lidarseg again."
        for channel in self.index.cameras:
            row = self.index.reading(self.sample, channel)
            picture, stated = self.index.file(row), self._size(row)
            if not picture.is_file():
                yield f"{picture}: the image of {self.name} is missing; unpack its archive again."
                continue
            try:
                real = check_image(picture, thorough, "unpack its archive again")
            except InputError as error:
                yield str(error)
                continue
            if real != stated:
                yield (
                    f"{picture}: is {real[1]}x{real[0]} pixels, sample_data.json says {stated[1]}x{stated[0]}; keep "
                    "the original images, they are resized when read."
                )

    def _size(self, row: int) -> tuple[int, int]:
        height, width = self.index.arrays.data_size[row]
        return int(height), int(width)

    def _frame(self, channel: int, lidar: int) -> Frame:
        """Return the frame of a camera, posed in the vehicle's frame at the LiDAR's time.

        The pose chains vehicle at the LiDAR's time, world, vehicle at the camera's time and camera.
        """
        row = self.index.reading(self.sample, channel)
        camera_to_global = self.index.ego_to_global(row) @ self.index.sensor_to_ego(row)
        ego_to_camera = np.linalg.inv(camera_to_global) @ self.index.ego_to_global(lidar)
        intrinsics = self.index.arrays.intrinsics[self.index.arrays.data_calibration[row]]
        name = self.index.channels[channel].lower()
        picture = self.index.file(row)
        try:
            return Frame(name, ImageFile(picture), np.array(intrinsics), ego_to_camera, self._size(row))
        except InputError as error:
            raise InputError(f"{picture}: {error}") from error


def read_sweep(path: Path) -> NDArray[np.float32]:  # [N, 5] x, y, z in metres, intensity 0..255, ring
    """Return a LiDAR sweep in the sensor's frame; raises an `InputError` if the file's size is wrong."""
    with open_file(path, "unpack the archive of the LiDAR's file again", LARGEST_SWEEP) as file:
        size = os.fstat(file.fileno()).st_size
        if not size or size % (4 * VALUES):
            raise _wrong_size(path, size)
        return np.fromfile(file, dtype=np.float32).reshape(-1, VALUES)


def _wrong_size(path: Path, size: int) -> InputError:
    if not size:
        return InputError(f"{path}: is empty; unpack its archive again.")
    return InputError(
        f"{path}: {size} bytes are not a whole number of points of {VALUES} float32 (x y z intensity ring); it is "
        "truncated or of another dataset; unpack its archive again."
    )


@dataclass(frozen=True, eq=False)
class EarlierSweeps:
    """The LiDAR sweeps between a key frame and the previous one."""

    index: NuScenesIndex
    sample: int

    def load(self, count: int) -> tuple[NDArray[np.float32], ...]:  # each [M, 4]
        """Return up to `count` sweeps, evenly spaced in time, in the vehicle's frame at the key frame's time."""
        earlier = self.index.sweeps(self.sample, self.index.lidar)[:-1]
        places = np.unique(np.linspace(0, len(earlier) - 1, min(count, len(earlier))).round().astype(int))
        sweeps = (points for _, points in sweep_points(self.index, self.sample, earlier[places].tolist()))
        return tuple(points[np.isfinite(points[:, :3]).all(axis=1), :4] for points in sweeps)


def sweep_points(
    index: NuScenesIndex, sample: int, rows: Sequence[int] | None = None
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (row, points) of the LiDAR sweeps since the previous key frame; the last one is the key frame's own.

    `rows` selects some of the sweeps. Points [N, 5] are in the vehicle's frame at the key frame's time, in metres. The
    vehicle's motion is compensated, the motion of other road users is not.
    """
    key = index.reading(sample, index.lidar)
    to_key = np.linalg.inv(index.ego_to_global(key))
    for row in index.sweeps(sample, index.lidar).tolist() if rows is None else rows:
        readings = read_sweep(index.file(row))
        transform = to_key @ index.ego_to_global(row) @ index.sensor_to_ego(row)
        points = readings[:, :3] @ transform[:3, :3].T + transform[:3, 3]
        yield row, np.concatenate([points, readings[:, 3:]], axis=1).astype(np.float32)
