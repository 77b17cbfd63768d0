"""nuScenes' key frames as scenes: one turn of the LiDAR and the six pictures around it, each at its own time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
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
"""What a submission has to declare: cameras in training, and CLIP and SAM, which saw other data."""


@dataclass(frozen=True, eq=False)
class PointLabels:
    """Where the labels of the key frames' points are."""

    folder: Path
    table: NDArray[np.uint8]  # [256] raw id -> class
    highest: int = HIGHEST_RAW_ID

    def file(self, token: str) -> Path:
        """Return the file of a LiDAR reading."""
        return self.folder / f"{token}_lidarseg.bin"


@dataclass(frozen=True, eq=False)
class KeyFrameSource:
    """One key frame; nothing is read before it is asked for.

    The scene's points lie in the vehicle's frame at the LiDAR's time: metres, x forward, y left, z up, the road near 0.
    """

    index: NuScenesIndex
    sample: int
    labels: PointLabels | None = None

    @property
    def name(self) -> str:
        """The drive and the key frame's number in it."""
        return self.index.sample_name(self.sample)

    def build(self) -> Scene:
        """Return points with intensity, labels where lidarseg is there, and the six cameras."""
        lidar = self.index.reading(self.sample, self.index.lidar)
        readings = read_sweep(self.index.file(lidar))
        to_ego = self.index.sensor_to_ego(lidar)
        points = readings[:, :3] @ to_ego[:3, :3].T + to_ego[:3, 3]
        labels = None
        if self.labels is not None:
            path = self.labels.file(self.index.token(lidar))
            labels = read_lidarseg(path, len(points), self.labels.table, self.labels.highest)
        frames = tuple(self._frame(channel, lidar) for channel in self.index.cameras)
        return Scene(self.name, points.astype(np.float32), frames, None, readings[:, 3].copy(), labels)

    def submission_file(self, folder: Path, split: str | None) -> Path:
        """Return `lidarseg/SPLIT/TOKEN_lidarseg.bin`."""
        if split is None:
            raise InputError(f"{folder}: nuScenes' benchmark takes labels of a split; name it with --split.")
        token = self.index.token(self.index.reading(self.sample, self.index.lidar))
        return folder / "lidarseg" / split / f"{token}_lidarseg.bin"

    def submit(self, labels: NDArray[np.uint8], folder: Path, split: str | None) -> Path:
        """Write `lidarseg/SPLIT/TOKEN_lidarseg.bin`, 1..16 for each point, and `SPLIT/submission.json` beside it."""
        path = self.submission_file(folder, split)
        with atomic_file(path) as file:
            file.write(np.where(labels == IGNORE_LABEL, 0, labels + np.uint8(1)).astype(np.uint8).tobytes())
        stated = folder / str(split) / "submission.json"
        if not stated.is_file():
            write_text(stated, json.dumps({"meta": USED}) + "\n")
        return path

    def faults(self, thorough: bool = False) -> tuple[str, ...]:
        """Return which files are missing, truncated or of another size than the tables say."""
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
                yield f"{picture}: the picture of {self.name} is missing; unpack its archive again."
                continue
            try:
                real = check_image(picture, thorough, "unpack its archive again")
            except InputError as error:
                yield str(error)
                continue
            if real != stated:
                yield (
                    f"{picture}: is {real[1]}x{real[0]} pixels, sample_data.json says {stated[1]}x{stated[0]}; keep "
                    "the original pictures, they are resized when read."
                )

    def _size(self, row: int) -> tuple[int, int]:
        height, width = self.index.arrays.data_size[row]
        return int(height), int(width)

    def _frame(self, channel: int, lidar: int) -> Frame:
        """Chain the vehicle at the LiDAR's time, the world, the vehicle at the camera's time and the camera."""
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
    """Return a turn of the LiDAR in its own frame; a file of another shape is named."""
    with open_file(path, "unpack the archive of the LiDAR's file again", LARGEST_SWEEP) as file:
        size = os.fstat(file.fileno()).st_size
        if not size or size % (4 * VALUES):
            raise _wrong_size(path, size)
        return np.fromfile(file, dtype=np.float32).reshape(-1, VALUES)


def _wrong_size(path: Path, size: int) -> InputError:
    if not size:
        return InputError(f"{path}: is empty; unpack its archive again.")
    return InputError(
        f"{path}: {size} bytes are no whole number of points of {VALUES} float32 (x y z intensity ring); it is "
        "truncated or of another dataset."
    )


def sweep_points(index: NuScenesIndex, sample: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the LiDAR's turns since the previous key frame, in the vehicle's frame at the key frame's time.

    Each comes with its row in the tables; the last one is the key frame itself. Motion of the vehicle is undone, that
    of other road users is not.
    """
    key = index.reading(sample, index.lidar)
    to_key = np.linalg.inv(index.ego_to_global(key))
    for row in index.sweeps(sample, index.lidar).tolist():
        readings = read_sweep(index.file(row))
        transform = to_key @ index.ego_to_global(row) @ index.sensor_to_ego(row)
        points = readings[:, :3] @ transform[:3, :3].T + transform[:3, 3]
        yield row, np.concatenate([points, readings[:, 3:]], axis=1).astype(np.float32)
