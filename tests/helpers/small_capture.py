"""A ray-cast room with a box in it: a small capture whose truth is known, in the default layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.data.captures.writing import write_scene
from labelfree.raster import ImageArray
from labelfree.scene import Frame

SIZE = (72, 96)
INTRINSICS = np.array([[70.0, 0, 48], [0, 70, 36], [0, 0, 1]])
CLASSES = ("wall", "floor", "box")
ROOM = np.array([[-2.0, -1.5, -2.5], [2.0, 1.0, 2.5]])
BOX = np.array([[-0.6, 0.2, -0.5], [0.4, 1.0, 0.6]])


@dataclass(frozen=True)
class Capture:
    images: list[NDArray[np.uint8]]
    depths_m: list[NDArray[np.float32]]
    labels: list[NDArray[np.uint8]]
    world_to_camera: list[NDArray[np.float64]]

    def write(self, folder: Path, points: NDArray[np.float32], **columns: NDArray[np.uint8]) -> None:
        write_scene(
            folder, self.images, self.depths_m, INTRINSICS, self.world_to_camera, points,
            label_maps=self.labels, classes=CLASSES, **columns,
        )  # fmt: skip

    def frames(self) -> list[Frame]:
        """Return the frames in memory, with depth in metres."""
        rows = zip(self.images, self.world_to_camera, self.depths_m, self.labels)
        return [
            Frame(f"{i}", ImageArray(image), INTRINSICS, pose, SIZE, ImageArray(depth_m), 1.0, ImageArray(labels))
            for i, (image, pose, depth_m, labels) in enumerate(rows)
        ]


def make_capture(frames: int = 12) -> Capture:
    capture = Capture([], [], [], [])
    for angle in np.arange(frames) * 2 * np.pi / frames:
        camera_to_world = look_at(np.array([1.4 * np.cos(angle), -0.4 + 0.3 * np.sin(3 * angle), 1.6 * np.sin(angle)]))
        image, depth_m, labels = render(camera_to_world)
        capture.images.append(image)
        capture.depths_m.append(depth_m)
        capture.labels.append(labels)
        capture.world_to_camera.append(np.linalg.inv(camera_to_world).astype(np.float64))
    return capture


def look_at(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return camera_to_world of a camera that looks past the middle of the room; y is down."""
    forward = np.array([0.3, 0.4, 0.1]) - position
    forward /= np.linalg.norm(forward)
    right = np.cross([0, 1, 0], forward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = position
    return pose


def render(pose: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    v, u = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(INTRINSICS).T @ pose[:3, :3].T
    with np.errstate(divide="ignore"):
        walls = np.where(rays > 0, (ROOM[1] - pose[:3, 3]) / rays, (ROOM[0] - pose[:3, 3]) / rays)
        enter, leave = (np.sort(np.stack([(side - pose[:3, 3]) / rays for side in BOX]), axis=0)[i] for i in (0, 1))
    hit_box = (enter.max(axis=-1) < leave.min(axis=-1)) & (enter.max(axis=-1) > 0)
    depth_m = np.where(hit_box, enter.max(axis=-1), walls.min(axis=-1))  # rays have z = 1, so t is the z-depth
    points = pose[:3, 3] + rays * depth_m[..., None]
    labels = np.where(hit_box, 2, np.where(points[..., 1] > ROOM[1, 1] - 1e-6, 1, 0)).astype(np.uint8)
    checker = (np.floor(points * 4 + 1e-3).sum(axis=-1) % 2).astype(np.uint8)
    image = np.array([[180, 170, 160], [120, 90, 60], [60, 90, 200]], dtype=np.uint8)[labels] - 30 * checker[..., None]
    return image.astype(np.uint8), depth_m.astype(np.float32), labels
