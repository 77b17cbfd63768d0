"""Collect the transforms of `tf` and compose them along the tree of frames."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labelfree.data.bags.tracks import PoseTrack, TimeLimits

LONGEST_CHAIN = 1000
"""Frames in a chain; a longer one is a cycle."""
ALWAYS = TimeLimits(1 << 62, 0)
"""Limits of a transform that is valid at all times."""


class PoseList:
    """Poses in the order in which they are read, 64 bytes each."""

    def __init__(self) -> None:
        self._times, self._values = array("q"), array("d")

    def add(self, time: int, position: tuple[float, float, float], rotation: tuple[float, ...]) -> None:
        """Add a pose; the rotation is a quaternion w x y z."""
        self._times.append(time)
        self._values.extend((*position, *rotation))

    def track(self) -> PoseTrack:
        """Return the valid poses in order of time."""
        values = np.array(self._values, dtype=np.float64).reshape(-1, 7)
        return PoseTrack.of(np.array(self._times, dtype=np.int64), values[:, :3], values[:, 3:])


@dataclass(frozen=True, eq=False)
class Link:
    """The pose of a frame in its parent."""

    parent: str
    track: PoseTrack
    fixed: bool
    """Whether the pose is valid at all times."""


@dataclass(frozen=True, eq=False)
class TransformTree:
    """The frames of `tf` with the pose of each in its parent."""

    links: dict[str, Link] = field(default_factory=dict)

    @property
    def frames(self) -> tuple[str, ...]:
        """Return the names of all frames."""
        parents = (link.parent for link in self.links.values())
        return tuple(sorted({*self.links, *parents}))

    def root(self, frame: str) -> str:
        """Return the topmost frame above a frame; the frame itself if it has no parent."""
        return self._chain(frame)[-1]

    def connects(self, frame: str, other: str) -> bool:
        """Return whether there is a path between two frames."""
        return self.root(frame) == self.root(other)

    def pose(self, frame: str, other: str, time: int, limits: TimeLimits) -> NDArray[np.float64] | None:  # [4, 4]
        """Return the pose of a frame in another one; None without a path or without transforms near the time."""
        one, two = self._chain(frame), self._chain(other)
        if one[-1] != two[-1]:
            return None
        while len(one) > 1 and len(two) > 1 and one[-2] == two[-2]:  # links above both are not needed
            one, two = one[:-1], two[:-1]
        up, down = self._product(one[:-1], time, limits), self._product(two[:-1], time, limits)
        if up is None or down is None:
            return None
        return up if len(two) == 1 else np.asarray(np.linalg.inv(down) @ up, dtype=np.float64)

    def _chain(self, frame: str) -> list[str]:
        chain = [frame]
        while chain[-1] in self.links and len(chain) < LONGEST_CHAIN:
            chain.append(self.links[chain[-1]].parent)
        return chain

    def _product(self, frames: list[str], time: int, limits: TimeLimits) -> NDArray[np.float64] | None:
        matrix = np.eye(4)
        for name in frames:
            link = self.links[name]
            step = link.track.at(time, ALWAYS if link.fixed else limits)
            if step is None:
                return None
            matrix = step @ matrix
        return matrix


class TransformRecorder:
    """The transforms read so far."""

    def __init__(self) -> None:
        self._poses: dict[tuple[str, bool], PoseList] = {}
        self._parents: dict[str, str] = {}

    def add(
        self,
        names: tuple[str, str],  # parent, child
        time: int,
        position: tuple[float, float, float],
        rotation: tuple[float, ...],  # w x y z
        fixed: bool,
    ) -> None:
        """Add the pose of a child in its parent; of several parents the first one is kept."""
        parent, child = map(plain_frame, names)
        if parent != child and self._parents.setdefault(child, parent) == parent:
            self._poses.setdefault((child, fixed), PoseList()).add(time, position, rotation)

    def tree(self) -> TransformTree:
        """Return the tree. A frame that never moves is fixed, as those of ROS 1's static publishers."""
        links: dict[str, Link] = {}
        for (child, fixed), poses in sorted(self._poses.items(), key=lambda item: item[0]):  # fixed ones last
            track = poses.track()
            if len(track):
                links[child] = Link(self._parents[child], track, fixed or track.constant)
        return TransformTree(links)


def plain_frame(name: str) -> str:
    """Return a frame's name without the leading slash of ROS 1."""
    return name.lstrip("/")
