"""Drives through streets from seeds; a seed gives the same readings on every machine.

Each purpose has its own range of street seeds: the teachers' corpus starts at 1_000_000, tuning at 2_000_000, and
experiments at 3_000_000, with a thousand streets each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError
from labelfree_lab.rooms.cameras import Camera
from labelfree_lab.streets.drive import Drive, KeyFrame, Picture, Rig, RigCamera, Sweep
from labelfree_lab.streets.rig import lidar_rays, vehicle_rig
from labelfree_lab.streets.sensing import see, turn
from labelfree_lab.streets.street import Street, build_street

TEACHER_STREETS = 1_000_000
TUNING_STREETS = 2_000_000
EXPERIMENT_STREETS = 3_000_000
STREETS_PER_EXPERIMENT = 1000
KEY_FRAME_US = 500_000
CAMERA_LEAD_US = 50_000
"""Duration of one turn of the LiDAR; each camera is triggered when the beam passes its direction."""


@dataclass(frozen=True)
class DriveSize:
    """The length of a drive and the resolution of its sensors."""

    key_frames: int = 8
    """Number of key frames."""
    image_size: tuple[int, int] = (112, 208)
    """(height, width) of the images."""
    azimuths: int = 360
    """Directions of one turn of the LiDAR; each has 32 beams."""
    sweeps_between: int = 1
    """Turns of the LiDAR between two key frames; nuScenes has nine."""
    key_frame_us: int = KEY_FRAME_US
    """Time between key frames in microseconds; half a second as in nuScenes, or more so that they differ."""


def street_seed(seed: int, index: int) -> int:
    """Return the street seed of the index-th of 1000 streets of an experiment; other purposes have other ranges.

    Raises an `InputError` if the seed is negative or the index is out of range.
    """
    if seed < 0 or not 0 <= index < STREETS_PER_EXPERIMENT:
        raise InputError(
            f"Experiment seed {seed} must be 0 or more, street index {index} in 0..{STREETS_PER_EXPERIMENT - 1}."
        )
    return EXPERIMENT_STREETS + seed * STREETS_PER_EXPERIMENT + index


def street_drive(seed: int, index: int, size: DriveSize | None = None) -> Drive:
    """Return the drive through an experiment's street."""
    return drive_through(street_seed(seed, index), f"street-{index:04d}", size or DriveSize())


def drive_through(seed: int, name: str, size: DriveSize) -> StreetDrive:
    """Return the drive through the street of a seed."""
    return StreetDrive(name, vehicle_rig(size.image_size), build_street(seed), size)


@dataclass(frozen=True, eq=False)
class StreetDrive:
    """A drive along a street; key frames are built on access."""

    name: str
    rig: Rig
    street: Street
    size: DriveSize
    _path: _Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_path", _Path.draw(self.street))

    @property
    def start_us(self) -> int:
        """Return the time of the first key frame in microseconds."""
        return self._path.start_us

    def __len__(self) -> int:
        return self.size.key_frames

    def __iter__(self) -> Iterator[KeyFrame]:
        for index in range(len(self)):
            yield self.key_frame(index)

    def key_frame(self, index: int) -> KeyFrame:
        """Return one key frame: a turn of the LiDAR, six images taken shortly before its end, and later turns."""
        step_us = self.size.key_frame_us
        time = self._path.start_us + index * step_us
        steps = self.size.sweeps_between + 1
        between = [time + step_us * step // steps for step in range(1, steps)] if index + 1 < len(self) else []
        count = len(self.rig.cameras)
        pictures = tuple(
            self.picture(camera, time - CAMERA_LEAD_US * (count - place) // count)
            for place, camera in enumerate(self.rig.cameras)
        )
        return KeyFrame(self._sweep(time), pictures, tuple(self._sweep(each) for each in between))

    def _sweep(self, time: int) -> Sweep:
        seconds = self._path.seconds(time)
        to_street = self._path.ego_to_street(seconds) @ self.rig.lidar_to_ego
        rays, ring = lidar_rays(self.size.azimuths)
        turned = rays @ to_street[:3, :3].T.astype(np.float32)
        found = turn(self.street, to_street[:3, 3], turned, seconds, self._rng(time, 0))
        back = np.linalg.inv(to_street)
        points = found.points @ back[:3, :3].T + back[:3, 3]
        return Sweep(
            time,
            self._path.ego_to_global(seconds),
            points.astype(np.float32),
            found.intensity,
            ring[found.ray],
            found.classes,
        )

    def picture(self, camera: RigCamera, time: int) -> Picture:
        """Return the image of a camera at a time in microseconds; the drive begins at `start_us`."""
        seconds = self._path.seconds(time)
        street_to_camera = np.asarray(
            np.linalg.inv(self._path.ego_to_street(seconds) @ camera.camera_to_ego), dtype=np.float64
        )
        seen = see(self.street, Camera(camera.intrinsics, street_to_camera, camera.size), seconds, self._rng(time, 1))
        return Picture(camera, time, self._path.ego_to_global(seconds), seen.image, seen.classes, seen.instances)

    def _rng(self, time: int, purpose: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.street.seed, time, purpose]))


@dataclass(frozen=True, eq=False)
class _Path:
    """The vehicle's motion: along its lane with a slow sway, at constant speed."""

    start_us: int
    speed_m_s: float
    sway_m: float
    wave_m: float
    lane_y: float
    street_to_global: NDArray[np.float64]

    @classmethod
    def draw(cls, street: Street) -> _Path:
        rng = np.random.Generator(np.random.PCG64([street.seed, 17]))
        yaw = rng.uniform(0, 2 * math.pi)
        street_to_global = np.eye(4)
        street_to_global[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
        street_to_global[:2, 3] = rng.uniform(300.0, 1500.0, 2)
        return cls(
            1_530_000_000_000_000 + (street.seed % 100_000) * 60_000_000,
            float(rng.uniform(2.0, 9.0)),
            float(rng.uniform(0.05, 0.25)),
            float(rng.uniform(25.0, 45.0)),
            street.lane_y,
            street_to_global,
        )

    def seconds(self, time_us: int) -> float:
        return (time_us - self.start_us) / 1e6

    def ego_to_street(self, seconds: float) -> NDArray[np.float64]:
        x = self.speed_m_s * seconds
        phase = 2 * math.pi * x / self.wave_m
        yaw = math.atan(self.sway_m * 2 * math.pi / self.wave_m * math.cos(phase))
        pose = np.eye(4)
        pose[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
        pose[:2, 3] = (x, self.lane_y + self.sway_m * math.sin(phase))
        return pose

    def ego_to_global(self, seconds: float) -> NDArray[np.float64]:
        return np.asarray(self.street_to_global @ self.ego_to_street(seconds), dtype=np.float64)
