"""Poses of cameras and LiDARs in the world over time, from a topic of poses and the transforms of tf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.data.bags.reading import Bag, Message
from labelfree.data.bags.topics import ODOMETRY, POSE, TF, ChosenTopics
from labelfree.data.bags.tracks import PoseTrack, TimeLimits
from labelfree.data.bags.transforms import PoseList, TransformRecorder, TransformTree, plain_frame
from labelfree.errors import InputError, shown

FROM_ROS_AXES = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""Pose of an optical frame (z forward) in a frame with ROS axes (x forward, y left, z up)."""


@dataclass(frozen=True, eq=False)
class SensorPoses:
    """The poses of sensors: those of a body from a topic, or those of tf in its world."""

    tree: TransformTree
    limits: TimeLimits
    track: PoseTrack | None = None
    """Poses of the body; None if tf gives all poses."""
    body: str = ""
    """Frame of the body."""
    world: str | None = None
    """Frame of the world in tf; used without a track."""

    def at(self, frame: str, time: int) -> NDArray[np.float64] | None:  # [4, 4]
        """Return the pose of a sensor's frame in the world; None without poses near the time."""
        if self.track is None:
            return self.tree.pose(frame, self.world or self.tree.root(frame), time, self.limits)
        world_from_body = self.track.at(time, self.limits)
        if world_from_body is None or self.body == frame:
            return world_from_body
        mounted = self.tree.pose(frame, self.body, time, self.limits)
        return None if mounted is None else np.asarray(world_from_body @ mounted, dtype=np.float64)


def read_poses(bag: Bag, chosen: ChosenTopics, sensors: tuple[str, ...], limits: TimeLimits) -> SensorPoses:
    """Read all poses and transforms of a bag; `sensors` are the frames that they must reach.

    Poses of messages that name no body, such as PoseStamped, are those of the first sensor. Raises an `InputError` if
    no pose is valid, or tf does not connect a sensor to the body or the world.
    """
    recorder, poses, body = TransformRecorder(), PoseList(), ""
    names = {topic.name for topic in bag.of_type(*TF)} | ({chosen.poses.name} if chosen.poses else set())
    for message in bag.messages(names):
        if message.topic == chosen.poses:
            body = body or _body(message)
            poses.add(message.time, *_values(_pose(message)))
        else:
            fixed = message.topic.name.endswith("tf_static")
            for transform in message.content.transforms:
                pair = str(transform.header.frame_id), str(transform.child_frame_id)
                stamp = transform.header.stamp
                time = int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
                recorder.add(pair, time, *_values(transform.transform), fixed)
    tree = recorder.tree()
    if chosen.poses is not None:
        track = poses.track()
        if not len(track):
            raise InputError(f"{bag.where}: no pose of {chosen.poses.name} is valid; name another --pose-topic.")
        return _of_body(bag, chosen.poses.name, SensorPoses(tree, limits, track, body or sensors[0]), sensors)
    return _of_tree(bag, SensorPoses(tree, limits, world=chosen.world), sensors, still=chosen.cloud is not None)


def _of_body(bag: Bag, topic: str, poses: SensorPoses, sensors: tuple[str, ...]) -> SensorPoses:
    for frame in sensors:
        if frame != poses.body and not poses.tree.connects(frame, poses.body):
            raise InputError(
                f"{bag.where}: {topic} gives poses of frame {shown(poses.body)}, and tf has no path from it to "
                f"{shown(frame)}; record /tf_static, or give --camera-frame {poses.body} if the poses are the camera's."
            )
    return poses


def _of_tree(bag: Bag, poses: SensorPoses, sensors: tuple[str, ...], still: bool) -> SensorPoses:
    """Check that tf connects the sensors; a LiDAR that is not known to move only needs its cameras."""
    tree, frames = poses.tree, ", ".join(map(shown, poses.tree.frames[:12]))
    for frame in sensors:
        world = poses.world or tree.root(sensors[0])
        if (frame == world and not still) or not tree.connects(frame, world):
            raise InputError(
                f"{bag.where}: tf has no path from {shown(world)} to the sensor's frame {shown(frame)} (its frames: "
                f"{frames or 'none'}); name another --tf-frame, --camera-frame or --pose-topic."
            )
    return poses


def _body(message: Message) -> str:
    """Return the frame whose pose a message gives; empty where it does not say."""
    return plain_frame(str(message.content.child_frame_id)) if message.topic.type == ODOMETRY else ""


def _pose(message: Message) -> Any:
    return message.content.pose if message.topic.type == POSE else message.content.pose.pose


def _values(pose: Any) -> tuple[tuple[float, float, float], tuple[float, ...]]:
    """Return position and quaternion w x y z of a Pose or a Transform."""
    place = pose.position if hasattr(pose, "position") else pose.translation
    turn = pose.orientation if hasattr(pose, "orientation") else pose.rotation
    return (place.x, place.y, place.z), (turn.w, turn.x, turn.y, turn.z)
