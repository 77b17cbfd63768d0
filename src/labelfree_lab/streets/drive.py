"""The parts of a drive through a street: the rig and the readings of its sensors at each key frame.

Frames follow nuScenes: ego x forward, y left, z up, origin on the ground below the rear axle; LiDAR x right, y forward,
z up; cameras OpenCV axes. Metres; timestamps in microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class RigCamera:
    """One camera of the vehicle."""

    channel: str
    """nuScenes' name, such as CAM_FRONT."""
    camera_to_ego: NDArray[np.float64]
    """[4, 4] rigid."""
    intrinsics: NDArray[np.float64]
    """[3, 3] in pixels of an image of `size`."""
    size: tuple[int, int]
    """(height, width)."""


@dataclass(frozen=True, eq=False)
class Rig:
    """The vehicle's sensors."""

    lidar_to_ego: NDArray[np.float64]
    """[4, 4] rigid."""
    cameras: tuple[RigCamera, ...]


@dataclass(frozen=True, eq=False)
class Sweep:
    """One turn of the LiDAR."""

    timestamp_us: int
    ego_to_global: NDArray[np.float64]
    """[4, 4] at the sweep's time."""
    points: NDArray[np.float32]
    """[N, 3] in the LiDAR's frame."""
    intensity: NDArray[np.float32]
    """[N] 0 to 255."""
    ring: NDArray[np.uint8]
    """[N] index of the beam, 0 the lowest."""
    classes: NDArray[np.uint8]
    """[N] index into the classes of `nuscenes16`, 255 = ignored."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One image of one camera, with its own time."""

    camera: RigCamera
    timestamp_us: int
    ego_to_global: NDArray[np.float64]
    """[4, 4] at the image's time."""
    image: NDArray[np.uint8]
    """[H, W, 3] RGB."""
    classes: NDArray[np.uint8]
    """[H, W] index into the classes of `nuscenes16`, 255 = ignored (sky)."""
    instances: NDArray[np.int32]
    """[H, W] id of the object, 0 = none (sky)."""


@dataclass(frozen=True, eq=False)
class KeyFrame:
    """The readings of all sensors around one moment."""

    sweep: Sweep
    pictures: tuple[Picture, ...]
    """One per camera of the rig, in its order."""
    later_sweeps: tuple[Sweep, ...] = ()
    """Turns of the LiDAR between this key frame and the next."""


class Drive(Protocol):
    """A short drive; its key frames are built on access, the same on every machine."""

    @property
    def name(self) -> str:
        """Return the drive's name, such as `street-0007`."""

    @property
    def rig(self) -> Rig:
        """Return the vehicle's sensors."""

    def __len__(self) -> int:
        """Return the number of key frames."""

    def __iter__(self) -> Iterator[KeyFrame]:
        """Yield the key frames in order."""
