"""Import a recording: one pass over the poses, then one over the images, matched by time and written frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from labelfree.data.bags.camera_poses import FROM_ROS_AXES, SensorPoses, read_poses
from labelfree.data.bags.clouds import cloud_values
from labelfree.data.bags.folder import ImportFolder
from labelfree.data.bags.matching import Match, NearestInTime, Stamped
from labelfree.data.bags.pixels import colours_of, depth_mm
from labelfree.data.bags.reading import SECOND, Bag, Message
from labelfree.data.bags.topics import Camera, ChosenTopics
from labelfree.data.bags.tracks import TimeLimits
from labelfree.data.integrity import ASPECT_TOLERANCE
from labelfree.data.nerfstudio.layout import SMALL_DISTORTION
from labelfree.data.poses import scaled_intrinsics
from labelfree.errors import InputError

DESCRIPTION = "lidar.yaml"


@dataclass(frozen=True)
class ImportOptions:
    """Settings of an import."""

    every: int = 1
    """Take every n-th image or sweep."""
    max_frames: int | None = None
    """Import at most this many frames."""
    tolerance_s: float = 0.02
    """Largest difference in time between messages of one frame."""
    pose_gap_s: float = 0.5
    """Largest time between two poses that are interpolated."""
    ros_axes: bool = False
    """Whether the camera's frame has ROS axes (x forward) instead of optical ones (z forward)."""

    @property
    def limits(self) -> TimeLimits:
        """Return the limits in nanoseconds."""
        return TimeLimits(round(self.tolerance_s * SECOND), round(self.pose_gap_s * SECOND))


@dataclass
class Outcome:
    """The counts of an import."""

    frames: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    """Number of images or sweeps left out, by what they lack."""
    notes: list[str] = field(default_factory=list)

    def lose(self, lacks: str) -> None:
        """Count a frame that is left out."""
        self.lost[lacks] = self.lost.get(lacks, 0) + 1


def source_of(paths: list[Path], chosen: ChosenTopics, options: ImportOptions) -> dict[str, Any]:
    """Return what identifies an import: files with their sizes, topics and settings."""
    files = sorted(file for path in paths for file in (path.iterdir() if path.is_dir() else [path]))
    sizes = [[file.name, file.stat().st_size] for file in files if file.is_file()]
    return {"files": sizes, "topics": chosen.describe(), "world": chosen.world, "options": asdict(options)}


def import_bag(
    bag: Bag, chosen: ChosenTopics, folder: ImportFolder, options: ImportOptions, advance: Callable[[], None]
) -> Outcome:
    """Import a recording; files that an earlier run wrote are kept. `advance` is called for each frame looked at.

    Raises an `InputError` if nothing can be imported, or a message is damaged.
    """
    sensors = tuple(camera.frame for camera in chosen.cameras)
    if chosen.cloud is not None:
        sensors = (bag.first([chosen.cloud.name])[chosen.cloud.name].frame, *sensors)
    poses = read_poses(bag, chosen, sensors, options.limits)
    infos = bag.first([camera.info.name for camera in chosen.cameras])
    outcome = Outcome(notes=[note for camera in chosen.cameras for note in _distortion(camera, infos)])
    work = _Work(bag, chosen, folder, options, poses, infos, sensors)
    for match in _matches(bag, chosen, options):
        lacks = work.write(match)
        outcome.frames += lacks is None
        if lacks is not None:
            outcome.lose(lacks)
        advance()
        if outcome.frames == options.max_frames:
            break
    if not outcome.frames:
        raise InputError(_nothing(bag, chosen, outcome, poses, options))
    work.end()
    return outcome


def _matches(bag: Bag, chosen: ChosenTopics, options: ImportOptions) -> Iterator[Match[Message]]:
    """Yield the selected messages of the main topic in order of time, with the nearest ones of the others."""
    if chosen.cloud is not None:
        order = [chosen.cloud, *(camera.image for camera in chosen.cameras)]
    else:
        order = [chosen.cameras[0].image, *([] if chosen.depth is None else [chosen.depth])]
    numbers = {topic.name: number for number, topic in enumerate(order)}
    matcher = NearestInTime[Message](len(order) - 1, options.limits.tolerance)
    latest, count = -1, 0
    for message in bag.messages(numbers):
        number = numbers[message.topic.name]
        if number == 0:
            if message.time <= latest:  # recorded twice, or a clock that jumped back
                continue
            latest, count = message.time, count + 1
            if (count - 1) % options.every:
                continue
        yield from matcher.add(number, Stamped(message.time, message))
    yield from matcher.end()


@dataclass
class _Work:
    """Writes the frames of one import."""

    bag: Bag
    chosen: ChosenTopics
    folder: ImportFolder
    options: ImportOptions
    poses: SensorPoses
    infos: dict[str, Message]
    sensors: tuple[str, ...]
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
    """(height, width) of each camera's images."""

    def write(self, match: Match[Message]) -> str | None:
        """Write a frame unless it is there already; return what it lacks, or None."""
        return self._sweep(match) if self.chosen.cloud is not None else self._frame(match)

    def _frame(self, match: Match[Message]) -> str | None:
        image, others = match.main.item, match.others
        if others and others[0] is None:
            return "a depth map"
        pose = self._camera_pose(self.sensors[0], match.main.time)
        if pose is None:
            return "a pose"
        name = frame_name(match.main.time)
        if self.folder.has(f"pose/{name}.txt") and self.sizes:
            return None
        colours = colours_of(image.content, image.topic.type, self._where(image))
        depth = None
        if others and others[0] is not None:
            depth = depth_mm(others[0].item.content, others[0].item.topic.type, self._where(others[0].item))
        if not self.sizes:
            self.sizes[0] = colours.size if depth is None else (depth.shape[0], depth.shape[1])
            self.folder.write_matrix("intrinsic.txt", self._intrinsics(0))
        if not self.folder.has(f"pose/{name}.txt"):
            self.folder.write_image(f"color/{name}", colours)
            if depth is not None:
                self.folder.write_map(f"depth/{name}", depth)
            self.folder.write_matrix(f"pose/{name}.txt", pose)  # the last file: it marks the frame as complete
        return None

    def _sweep(self, match: Match[Message]) -> str | None:
        if all(other is None for other in match.others):
            return "an image"
        lidar = self.poses.at(self.sensors[0], match.main.time)
        cameras = {
            number: (other.item, self._camera_pose(self.sensors[number + 1], other.time))
            for number, other in enumerate(match.others)
            if other is not None
        }
        if lidar is None or any(pose is None for _, pose in cameras.values()):
            return "a pose"
        name = frame_name(match.main.time)
        there = self.folder.has(f"points/{name}.bin")
        for number, (image, pose) in cameras.items():
            if pose is None or (there and number in self.sizes):
                continue
            colours = colours_of(image.content, image.topic.type, self._where(image))
            self.sizes.setdefault(number, colours.size)
            if not there:
                self.folder.write_image(f"camera_{number}/{name}", colours)
                self.folder.write_matrix(f"lidar_to_camera/camera_{number}/{name}.txt", np.linalg.inv(pose) @ lidar)
        if not there:
            values = cloud_values(match.main.item.content, self._where(match.main.item))
            self.folder.write_bytes(f"points/{name}.bin", values.astype("<f4").tobytes())
        return None

    def end(self) -> None:
        """Write the description of LiDAR sweeps."""
        if self.chosen.cloud is None:
            return
        cameras = {}
        for number in sorted(self.sizes):
            matrix, name = self._intrinsics(number), f"camera_{number}"
            values = {"fx": (0, 0), "fy": (1, 1), "cx": (0, 2), "cy": (1, 2)}
            cameras[name] = {
                "images": f"{name}/*.{{png,jpg}}",
                "intrinsics": {key: float(matrix[place]) for key, place in values.items()},
                "lidar_to_camera": {"file": f"lidar_to_camera/{name}/*.txt"},
            }
        content = {"layout": "lidar", "points": "points/*.bin", "incomplete": "skip", "cameras": cameras}
        self.folder.write_bytes(DESCRIPTION, yaml.safe_dump(content, sort_keys=False).encode())

    def _camera_pose(self, frame: str, time: int) -> NDArray[np.float64] | None:
        pose = self.poses.at(frame, time)
        return pose @ FROM_ROS_AXES if pose is not None and self.options.ros_axes else pose

    def _intrinsics(self, number: int) -> NDArray[np.float64]:  # [3, 3]
        camera, size = self.chosen.cameras[number], self.sizes[number]
        return camera_matrix(self.infos[camera.info.name], camera, size, self._where(self.infos[camera.info.name]))

    def _where(self, message: Message) -> str:
        return f"{self.bag.where}: {message.topic.name} at {frame_name(message.time)} s"


def frame_name(time: int) -> str:
    """Return the name of a frame: its time in seconds with nine decimals."""
    return f"{time // SECOND}.{time % SECOND:09d}"


def camera_matrix(
    info: Message, camera: Camera, size: tuple[int, int], where: str
) -> NDArray[np.float64]:  # (height, width) -> [3, 3]
    """Return the intrinsics for images of a size: K, or the left part of P for rectified images."""
    own = int(info.content.height) or size[0], int(info.content.width) or size[1]
    key = "P" if "rect" in camera.image.name and any(_array(info, "P")) else "K"
    values = _array(info, key)
    matrix = values.reshape(3, -1)[:, :3].astype(np.float64)
    if not np.isfinite(matrix).all() or min(matrix[0, 0], matrix[1, 1]) <= 0:
        raise InputError(f"{where}: holds no intrinsics (matrix {key}); calibrate the camera or name an --info-topic.")
    if abs(own[1] * size[0] / (own[0] * size[1]) - 1) > ASPECT_TOLERANCE:
        raise InputError(
            f"{where}: states {own[1]}x{own[0]} pixels, the images have {size[1]}x{size[0]}, another shape; name the "
            "--info-topic of these images."
        )
    return scaled_intrinsics(matrix, own, size)


def _array(info: Message, key: str) -> NDArray[np.float64]:
    """Return a matrix of CameraInfo, whose name is upper case in ROS 1 and lower case in ROS 2."""
    found = getattr(info.content, key, None)
    return np.asarray(getattr(info.content, key.lower()) if found is None else found, dtype=np.float64)


def _distortion(camera: Camera, infos: dict[str, Message]) -> list[str]:
    values = _array(infos[camera.info.name], "D")
    worst = float(np.abs(values).max(initial=0.0))
    if worst == 0 or "rect" in camera.image.name:
        return []
    what = "small enough to be ignored" if worst <= SMALL_DISTORTION else "ignored: record rectified images instead"
    return [f"{camera.info.name}: lens distortion of up to {worst:g} is {what}"]


def _nothing(bag: Bag, chosen: ChosenTopics, outcome: Outcome, poses: SensorPoses, options: ImportOptions) -> str:
    """Return why no frame could be imported."""
    main = chosen.cloud or chosen.cameras[0].image
    lost = ", ".join(f"{count} lack {lacks}" for lacks, count in outcome.lost.items()) or "it has no messages"
    track = poses.track
    span = "" if track is None else f"; poses are from {frame_name(track.times[0])} to {frame_name(track.times[-1])} s"
    return (
        f"{bag.where}: no frame of {main.name} is complete within {options.tolerance_s:g} s ({lost}{span}); check "
        "that the clocks agree, or raise --tolerance."
    )
