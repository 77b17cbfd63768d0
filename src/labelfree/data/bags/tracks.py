"""Interpolate poses in time: positions linearly, rotations along the shortest arc (slerp)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelfree.data.poses import quaternion_rotation

NEARLY_EQUAL = 0.9999995
"""Cosine of half the angle from which a rotation is interpolated linearly; slerp divides by its sine."""
UNIT_TOLERANCE = 0.05
"""Largest deviation of a quaternion's length from 1; trackers write zeros where they are lost."""


@dataclass(frozen=True)
class TimeLimits:
    """How far in time values may lie from the image that they are used for, in nanoseconds."""

    tolerance: int
    """Largest difference to the nearest message."""
    gap: int
    """Largest time between two poses for an interpolation between them."""


@dataclass(frozen=True, eq=False)
class PoseTrack:
    """Poses of one frame in another over time."""

    times: NDArray[np.int64]
    """[M] nanoseconds, ascending."""
    positions: NDArray[np.float64]
    """[M, 3] metres."""
    rotations: NDArray[np.float64]
    """[M, 4] unit quaternions w x y z."""

    @classmethod
    def of(
        cls,
        times: NDArray[np.int64],  # [M] nanoseconds
        positions: NDArray[np.float64],  # [M, 3]
        rotations: NDArray[np.float64],  # [M, 4] w x y z
    ) -> PoseTrack:
        """Return the valid poses in order of time; of several poses at one time the first one is kept."""
        lengths = np.linalg.norm(rotations, axis=1)
        valid = np.isfinite(positions).all(axis=1) & (np.abs(lengths - 1) <= UNIT_TOLERANCE)  # false for NaN
        times, order = np.unique(times[valid], return_index=True)
        return cls(times, positions[valid][order], (rotations[valid] / lengths[valid, None])[order])

    def __len__(self) -> int:
        return len(self.times)

    @property
    def constant(self) -> bool:
        """Return whether all poses are equal."""
        moved = (self.positions != self.positions[:1]).any() or (self.rotations != self.rotations[:1]).any()
        return len(self) > 0 and not moved

    def at(self, time: int, limits: TimeLimits) -> NDArray[np.float64] | None:  # [4, 4]
        """Return the pose at a time, or None if no poses are near enough.

        A pose of exactly this time is returned as it is. Between two poses at most `gap` apart it is interpolated.
        Else the nearest pose is taken if it is within the tolerance.
        """
        after = int(np.searchsorted(self.times, time))
        if after < len(self) and self.times[after] == time:
            return self._matrix(self.positions[after], self.rotations[after])
        if 0 < after < len(self) and self.times[after] - self.times[after - 1] <= limits.gap:
            return self._matrix(*self._between(after, time))
        near = [index for index in (after - 1, after) if 0 <= index < len(self)]
        nearest = min(near, key=lambda index: abs(int(self.times[index]) - time), default=None)
        if nearest is None or abs(int(self.times[nearest]) - time) > limits.tolerance:
            return None
        return self._matrix(self.positions[nearest], self.rotations[nearest])

    def _between(self, after: int, time: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        start, end = int(self.times[after - 1]), int(self.times[after])
        share = (time - start) / (end - start)
        position = (1 - share) * self.positions[after - 1] + share * self.positions[after]
        return position, slerp(self.rotations[after - 1], self.rotations[after], share)

    @staticmethod
    def _matrix(position: NDArray[np.float64], rotation: NDArray[np.float64]) -> NDArray[np.float64]:
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = quaternion_rotation(rotation), position
        return matrix


def slerp(
    first: NDArray[np.float64],  # [4] unit quaternion w x y z
    second: NDArray[np.float64],  # [4]
    share: float,
) -> NDArray[np.float64]:  # [4]
    """Return the rotation at a share 0..1 of the shortest arc from the first to the second."""
    cosine = float(first @ second)
    if cosine < 0:  # the negated quaternion is the same rotation
        second, cosine = -second, -cosine
    if cosine > NEARLY_EQUAL:
        mixed = (1 - share) * first + share * second
        return np.asarray(mixed / np.linalg.norm(mixed), dtype=np.float64)
    angle = np.arccos(cosine)
    mixed = np.sin((1 - share) * angle) * first + np.sin(share * angle) * second
    return np.asarray(mixed / np.sin(angle), dtype=np.float64)
