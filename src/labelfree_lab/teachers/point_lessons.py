"""Training data of the lab's 3D backbones: clouds with the features of an image backbone at their points.

No labels are used. The backbone was trained on image-level tags (`train_backbone`) or without class names
(`train_selfsup`). Its features are projected onto the points, as SLidR (Sautier et al., CVPR 2022) does with
self-supervised image features.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.config.labels import PairingConfig
from labelfree.data.fusion import FusionOptions, fuse
from labelfree.data.pairs import pair_points
from labelfree.method.openscene import View, fuse_features
from labelfree.nets.point_features import point_features
from labelfree.nets.resnet import ResNet
from labelfree.scene import Frame, Scene
from labelfree.weights.stored import read_weights
from labelfree_lab.rooms.cameras import walk
from labelfree_lab.rooms.dataset import LabSize, tracked_cameras, view_frame
from labelfree_lab.rooms.render import render
from labelfree_lab.rooms.room import build_room
from labelfree_lab.rooms.style import CLEAN, STYLES, RoomStyle
from labelfree_lab.streets.route import DriveSize, drive_through
from labelfree_lab.streets.scene import key_frame_scene
from labelfree_lab.teachers.train_backbone import WIDTH, normalise
from labelfree_lab.teachers.worlds import STREETS, World

STRIDE = 8
"""Image pixels per feature, as in the lab's 2D network."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """One room or street: its cloud and the image features of the points that images see."""

    points: NDArray[np.float32]  # [N, 3] metres, z up
    colours: NDArray[np.float32]  # [N, C] the 3D network's input
    seen: NDArray[np.int64]  # [n] index into the points
    features: NDArray[np.float16]  # [n, E]


@dataclass(frozen=True)
class LessonPlan:
    """The world, backbone and views of lessons."""

    world: World
    backbone: Path
    """Folder of the image backbone, written by `train_backbone` or `train_selfsup`."""
    views: int = 4
    """Images of a room; a street always has those of its six cameras."""


def write_lessons(folder: Path, plan: LessonPlan, seeds: Sequence[int], processes: int = 1) -> list[Path]:
    """Write one file per room or street and return their paths; existing files are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{plan.world.name.removesuffix('s')}-{seed:07d}.npz" for seed in seeds]
    missing = [(seed, path) for seed, path in zip(seeds, paths) if not path.is_file()]
    if processes == 1:
        for job in missing:
            _write_lesson(plan, job)
    else:
        with multiprocessing.get_context("spawn").Pool(processes, torch.set_num_threads, (1,)) as pool:
            for _ in pool.imap_unordered(partial(_write_lesson, plan), missing, chunksize=4):
                pass
    return paths


def read_lesson(path: Path) -> Lesson:
    """Return the lesson of one room or street."""
    with np.load(path) as kept:
        return Lesson(kept["points"], kept["colours"], kept["seen"], kept["features"])


def _write_lesson(plan: LessonPlan, job: tuple[int, Path]) -> None:
    seed, path = job
    partial_path = path.with_name(path.name + ".partial")
    with partial_path.open("wb") as file:
        np.savez(file, **vars(build_lesson(plan, seed)))
    os.replace(partial_path, path)


def build_lesson(plan: LessonPlan, seed: int) -> Lesson:
    """Return the cloud of a room or street with image features at its points."""
    street = plan.world == STREETS
    scene = street_scene(seed) if street else room_scene(seed, plan.views, STYLES[plan.world.style])
    pairing = PairingConfig(rule="lidar", z_buffer=True) if street else PairingConfig(tolerance_m=0.1)
    seen = fuse_features(
        len(scene),
        (
            View(pair_points(scene, frame, frame.size, pairing), image_features(frame, plan.backbone), frame.size)
            for frame in scene.frames
        ),
    )
    return Lesson(
        scene.upright_points(), point_features(scene), seen.point.numpy(), seen.features.to(torch.float16).numpy()
    )


def room_scene(seed: int, views: int, style: RoomStyle = CLEAN) -> Scene:
    """Return a room as a scene, as `rooms.dataset` writes it but without labels."""
    size, room = LabSize(), build_room(seed, style)
    cameras = walk(room, views, size.image_size)
    frames = [
        replace(view_frame(render(room, camera, seed=index), index), labels=None)
        for index, camera in enumerate(cameras)
    ]
    cloud = fuse(frames, FusionOptions(voxel_m=size.cloud_voxel_m))
    poses = tracked_cameras(cameras, style, seed)
    tracked = [replace(frame, world_to_camera=pose.world_to_camera) for frame, pose in zip(frames, poses)]
    return Scene(f"room-{seed}", cloud.points_world, tuple(tracked), colours=cloud.colours)


def street_scene(seed: int) -> Scene:
    """Return one key frame of the drive through a street; the seed selects it."""
    name = f"street-{seed}"
    drive = drive_through(seed, name, DriveSize(image_size=STREETS.picture_size, sweeps_between=0))
    return key_frame_scene(name, drive.rig, drive.key_frame(seed % len(drive)))


@torch.inference_mode()
def image_features(frame: Frame, backbone: Path) -> Tensor:  # [E, h, w]
    """Return the last features of an image backbone for a frame."""
    image = torch.from_numpy(np.array(frame.load_image())).permute(2, 0, 1)[None].float() / 255.0
    features: Tensor = _backbone(backbone)(normalise(image).contiguous(memory_format=torch.channels_last))
    return features[0].float()


@cache
def _backbone(folder: Path) -> ResNet:
    backbone = ResNet("resnet18", WIDTH, STRIDE)
    backbone.load_state_dict(read_weights(folder), strict=False)
    return backbone.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
