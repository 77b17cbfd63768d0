"""What a drive through the street consists of: the rig, and what its sensors saw at each key frame.

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
    """[3, 3] pixels of a picture of `size`."""
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
    """[N] beam, 0 the lowest."""
    classes: NDArray[np.uint8]
    """[N] index into the classes of `nuscenes16`, 255 = none of them."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of one camera, taken at its own time."""

    camera: RigCamera
    timestamp_us: int
    ego_to_global: NDArray[np.float64]
    """[4, 4] at the picture's time."""
    image: NDArray[np.uint8]
    """[H, W, 3] RGB."""
    classes: NDArray[np.uint8]
    """[H, W] index into the classes of `nuscenes16`, 255 = none of them (sky)."""
    instances: NDArray[np.int32]
    """[H, W] which object, 0 = none (sky)."""


@dataclass(frozen=True, eq=False)
class KeyFrame:
    """What all sensors saw around one moment."""

    sweep: Sweep
    pictures: tuple[Picture, ...]
    """One per camera of the rig, in its order."""
    later_sweeps: tuple[Sweep, ...] = ()
    """Turns of the LiDAR between this key frame and the next."""


class Drive(Protocol):
    """A short drive; its key frames are made when asked for, the same on every machine."""

    @property
    def name(self) -> str:
        """Such as street-0007."""

    @property
    def rig(self) -> Rig:
        """The vehicle."""

    def __len__(self) -> int:
        """Return how many key frames there are."""

    def __iter__(self) -> Iterator[KeyFrame]:
        """Yield the key frames in order."""
