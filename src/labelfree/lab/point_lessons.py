"""What the lab's 3D backbone learns from: clouds of rooms with the tag network's image features at their points.

No label enters: the features are those of `tiny-backbone`, which saw image-level tags only, carried to the points by
the lab's depth and poses, as SLidR (Sautier et al., CVPR 2022) carries self-supervised image features to LiDAR points.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.data.fusion import FusionOptions, fuse
from labelfree.lab.cameras import walk
from labelfree.lab.dataset import LabSize, view_frame
from labelfree.lab.render import render
from labelfree.lab.rooms import build_room
from labelfree.lab.train_backbone import WEIGHTS, WIDTH, normalise
from labelfree.method.feature_fusion import View, fuse_features
from labelfree.nets.pretrained import read_weights
from labelfree.nets.resnet import ResNet
from labelfree.scene import Frame, Scene
from labelfree.training.labelled_scenes import PairingConfig, pair_points, point_features

STRIDE = 8
"""Image pixels per feature, as in the lab's 2D network."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """One room: its cloud and what the images' backbone says of the points it sees."""

    points: NDArray[np.float32]  # [N, 3] metres, z up
    colours: NDArray[np.float32]  # [N, C] the 3D network's input
    seen: NDArray[np.int64]  # [n] index into the points
    features: NDArray[np.float16]  # [n, E]


def write_lessons(folder: Path, room_seeds: Sequence[int], views: int = 4, processes: int = 1) -> list[Path]:
    """Write one file per room; rooms that are there already are left as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"room-{seed:07d}.npz" for seed in room_seeds]
    missing = [(seed, path) for seed, path in zip(room_seeds, paths) if not path.is_file()]
    if processes == 1:
        for job in missing:
            _write_lesson(views, job)
    else:
        with multiprocessing.get_context("spawn").Pool(processes, torch.set_num_threads, (1,)) as pool:
            for _ in pool.imap_unordered(partial(_write_lesson, views), missing, chunksize=4):
                pass
    return paths


def read_lesson(path: Path) -> Lesson:
    """Read one room."""
    with np.load(path) as kept:
        return Lesson(kept["points"], kept["colours"], kept["seen"], kept["features"])


def _write_lesson(views: int, job: tuple[int, Path]) -> None:
    seed, path = job
    lesson = build_lesson(seed, views)
    partial_path = path.with_name(path.name + ".partial")
    with partial_path.open("wb") as file:
        np.savez(file, **vars(lesson))
    os.replace(partial_path, path)


def build_lesson(room_seed: int, views: int, size: LabSize | None = None) -> Lesson:
    """Render a room's walk, fuse its depth maps and carry the image features to the points."""
    size = size or LabSize()
    room = build_room(room_seed)
    cameras = walk(room, views, size.image_size)
    frames = [view_frame(render(room, camera, seed=index), index) for index, camera in enumerate(cameras)]
    cloud = fuse(frames, FusionOptions(voxel_m=size.cloud_voxel_m))
    scene = Scene(f"room-{room_seed}", cloud.points_world, tuple(frames), colours=cloud.colours)
    pairing = PairingConfig(tolerance_m=0.1)
    seen = fuse_features(
        len(scene),
        (
            View(pair_points(scene, frame, size.image_size, pairing), image_features(frame), size.image_size)
            for frame in frames
        ),
    )
    return Lesson(
        scene.upright_points(), point_features(scene), seen.point.numpy(), seen.features.to(torch.float16).numpy()
    )


@torch.inference_mode()
def image_features(frame: Frame) -> Tensor:  # [E, h, w]
    """Return the tag network's last features of a frame."""
    image = torch.from_numpy(np.array(frame.load_image())).permute(2, 0, 1)[None].float() / 255.0
    features: Tensor = _backbone()(normalise(image).contiguous(memory_format=torch.channels_last))
    return features[0].float()


@cache
def _backbone() -> ResNet:
    backbone = ResNet("resnet18", WIDTH, STRIDE)
    backbone.load_state_dict(read_weights(WEIGHTS), strict=False)
    return backbone.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
