"""A key frame of a street as a scene, without files: the same that the nuScenes reader returns."""

from __future__ import annotations

import numpy as np

from labelfree.raster import ImageArray
from labelfree.scene import Frame, Scene
from labelfree_lab.streets.drive import KeyFrame, Picture, Rig


def key_frame_scene(name: str, rig: Rig, key: KeyFrame) -> Scene:
    """Return a key frame as a scene: points in the vehicle's frame at the LiDAR's time, ground truth and images.

    Unlike nuScenes, the lab also gives ground truth for images.
    """
    to_ego = rig.lidar_to_ego
    points = key.sweep.points @ to_ego[:3, :3].T + to_ego[:3, 3]
    frames = tuple(_frame(picture, key) for picture in key.pictures)
    return Scene(name, points.astype(np.float32), frames, None, key.sweep.intensity, key.sweep.classes)


def _frame(picture: Picture, key: KeyFrame) -> Frame:
    """Return a frame whose pose maps the vehicle's frame at the LiDAR's time to the camera at the image's time."""
    camera = picture.camera
    camera_to_global = picture.ego_to_global @ camera.camera_to_ego
    ego_to_camera = np.linalg.inv(camera_to_global) @ key.sweep.ego_to_global
    return Frame(
        camera.channel.lower(),
        ImageArray(picture.image),
        camera.intrinsics,
        ego_to_camera,
        camera.size,
        labels=ImageArray(picture.classes),
    )
