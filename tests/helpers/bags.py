"""Bags written by rosbags' own writers: ROS 1, ROS 2 with sqlite3, ROS 2 with MCAP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

START = 1_700_000_000 * 10**9
STEP = 100_000_000
"""Nanoseconds between two frames."""


@cache
def types_of(kind: str) -> Any:
    """Return the message types of ROS 1 or 2."""
    typesys = pytest.importorskip("rosbags.typesys")
    return typesys.get_typestore(typesys.Stores.ROS1_NOETIC if kind == "ros1" else typesys.Stores.ROS2_HUMBLE)


@dataclass
class BagWriter:
    """Messages by time of recording, in one of the formats."""

    path: Path
    kind: str = "mcap"
    """ros1, sqlite3 or mcap."""
    rows: list[tuple[int, str, str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = types_of(self.kind)

    def make(self, name: str, *values: Any, **named: Any) -> Any:
        """Make a message of a type."""
        return self.store.types[name](*values, **named)

    def header(self, time: int, frame: str) -> Any:
        stamp = self.make("builtin_interfaces/msg/Time", sec=time // 10**9, nanosec=time % 10**9)
        sequence = {"seq": 0} if self.kind == "ros1" else {}
        return self.make("std_msgs/msg/Header", stamp=stamp, frame_id=frame, **sequence)

    def add(self, time: int, topic: str, message: Any) -> None:
        self.rows.append((time, topic, message.__msgtype__, message))

    def image(self, time: int, topic: str, pixels: NDArray[Any], encoding: str, frame: str = "camera") -> None:
        """Add a sensor_msgs/Image; its rows are padded by four bytes."""
        height, width = pixels.shape[:2]
        rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(height, -1)
        padded = np.pad(rows, ((0, 0), (0, 4)))
        self.add(
            time,
            topic,
            self.make(
                "sensor_msgs/msg/Image", self.header(time, frame), height, width, encoding, 0, padded.shape[1],
                padded.ravel(),
            ),
        )  # fmt: skip

    def compressed(self, time: int, topic: str, data: bytes, form: str, frame: str = "camera") -> None:
        message = self.make(
            "sensor_msgs/msg/CompressedImage", self.header(time, frame), form, np.frombuffer(data, np.uint8)
        )
        self.add(time, topic, message)

    def info(self, time: int, topic: str, matrix: NDArray[Any], size: tuple[int, int], frame: str = "camera") -> None:
        projection = np.hstack([matrix, np.zeros((3, 1))]).ravel()
        names = ("D", "K", "R", "P") if self.kind == "ros1" else ("d", "k", "r", "p")
        values = (np.zeros(5), matrix.ravel().astype(np.float64), np.eye(3).ravel(), projection.astype(np.float64))
        roi = self.make("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
        message = self.make(
            "sensor_msgs/msg/CameraInfo", header=self.header(time, frame), height=size[0], width=size[1],
            distortion_model="plumb_bob", binning_x=0, binning_y=0, roi=roi, **dict(zip(names, values)),
        )  # fmt: skip
        self.add(time, topic, message)

    def pose(self, matrix: NDArray[np.float64]) -> Any:
        place = self.make("geometry_msgs/msg/Point", *map(float, matrix[:3, 3]))
        w, x, y, z = quaternion_of(matrix[:3, :3])
        return self.make("geometry_msgs/msg/Pose", place, self.make("geometry_msgs/msg/Quaternion", x, y, z, w))

    def pose_stamped(self, time: int, topic: str, matrix: NDArray[np.float64]) -> None:
        self.add(time, topic, self.make("geometry_msgs/msg/PoseStamped", self.header(time, "map"), self.pose(matrix)))

    def odometry(self, time: int, topic: str, matrix: NDArray[np.float64], body: str) -> None:
        zero = self.make("geometry_msgs/msg/Vector3", 0.0, 0.0, 0.0)
        twist = self.make("geometry_msgs/msg/Twist", zero, zero)
        message = self.make(
            "nav_msgs/msg/Odometry",
            self.header(time, "odom"),
            body,
            self.make("geometry_msgs/msg/PoseWithCovariance", self.pose(matrix), np.zeros(36)),
            self.make("geometry_msgs/msg/TwistWithCovariance", twist, np.zeros(36)),
        )
        self.add(time, topic, message)

    def transform(self, time: int, topic: str, parent: str, child: str, matrix: NDArray[np.float64]) -> None:
        place = self.make("geometry_msgs/msg/Vector3", *map(float, matrix[:3, 3]))
        w, x, y, z = quaternion_of(matrix[:3, :3])
        turn = self.make("geometry_msgs/msg/Quaternion", x, y, z, w)
        pose = self.make("geometry_msgs/msg/Transform", place, turn)
        stamped = self.make("geometry_msgs/msg/TransformStamped", self.header(time, parent), child, pose)
        self.add(time, topic, self.make("tf2_msgs/msg/TFMessage", [stamped]))

    def cloud(self, time: int, topic: str, values: NDArray[np.float32], frame: str = "lidar") -> None:
        """Add a cloud of x y z intensity with a field of 16 bits between them."""
        kinds = {"x": "<f4", "y": "<f4", "z": "<f4", "ring": "<u2", "intensity": "<f4"}
        offsets = dict(zip(kinds, (0, 4, 8, 12, 14)))
        layout = np.dtype(list(kinds.items()))
        table = np.zeros(len(values), layout)
        for name, column in zip(("x", "y", "z", "intensity"), values.T):
            table[name] = column
        fields = [
            self.make("sensor_msgs/msg/PointField", name, offsets[name], 4 if name == "ring" else 7, 1)
            for name in kinds
        ]
        data = np.frombuffer(table.tobytes(), np.uint8)
        message = self.make(
            "sensor_msgs/msg/PointCloud2", self.header(time, frame), 1, len(values), fields, False, layout.itemsize,
            len(data), data, True,
        )  # fmt: skip
        self.add(time, topic, message)

    def write(self) -> Path:
        """Write the bag and return the path to give to the import."""
        if self.kind == "ros1":
            from rosbags.rosbag1 import Writer as Writer1

            with Writer1(self.path.with_suffix(".bag")) as writer:
                self._fill(writer, self.store.serialize_ros1)
            return self.path.with_suffix(".bag")
        from rosbags.rosbag2 import StoragePlugin, Writer

        plugin = StoragePlugin.MCAP if self.kind == "mcap" else StoragePlugin.SQLITE3
        with Writer(self.path, version=9, storage_plugin=plugin) as writer:
            self._fill(writer, self.store.serialize_cdr)
        return self.path

    def _fill(self, writer: Any, serialize: Any) -> None:
        connections: dict[str, Any] = {}
        for time, topic, kind, message in sorted(self.rows, key=lambda row: row[0]):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=self.store)
            writer.write(connections[topic], time, bytes(serialize(message, kind)))


def quaternion_of(rotation: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Return w x y z of a rotation, from the eigenvector of Bar-Itzhack's matrix."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    matrix = np.array(
        [
            [a - e - i, b + d, c + g, h - f],
            [b + d, e - a - i, f + h, c - g],
            [c + g, f + h, i - a - e, d - b],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    x, y, z, w = np.linalg.eigh(matrix / 3)[1][:, -1]
    return float(w), float(x), float(y), float(z)


def write_rgbd(
    writer: BagWriter,
    images: Sequence[NDArray[np.uint8]],
    depths: Iterable[NDArray[np.uint16]],
    poses: Sequence[NDArray[np.float64]],  # camera_to_world
    intrinsics: NDArray[Any],
) -> Path:
    """Write a recording of an RGB-D camera whose poses are messages of /pose."""
    for number, (image, depth, pose) in enumerate(zip(images, depths, poses)):
        time = START + number * STEP
        writer.info(time, "/camera/color/camera_info", intrinsics, image.shape[:2])
        writer.image(time, "/camera/color/image_raw", image, "rgb8")
        writer.image(time + 1_000_000, "/camera/aligned_depth_to_color/image_raw", depth, "16UC1")
        writer.pose_stamped(time, "/pose", pose)
    return writer.write()
