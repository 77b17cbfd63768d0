"""World `rooms` on disk: furnished rooms in the posed RGB-D layout of captures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from labelfree.data.captures.writing import write_scene
from labelfree.data.fusion import FusionOptions, fuse
from labelfree.errors import InputError
from labelfree.files.atomic import write_text
from labelfree.raster import ImageArray
from labelfree.runtime.progress import Progress
from labelfree.scene import Frame
from labelfree_lab.rooms.cameras import Camera, walk
from labelfree_lab.rooms.render import View, render
from labelfree_lab.rooms.room import CLASS_NAMES, build_room, experiment_room_seed
from labelfree_lab.rooms.sensing import misplaced
from labelfree_lab.rooms.style import LIVED_IN, STYLES, RoomStyle

HELD_OUT_OFFSET = 500
"""First index of an experiment's held-out rooms; training rooms have lower ones."""


@dataclass(frozen=True)
class LabSize:
    """The number of rooms and views of world `rooms`."""

    train_rooms: int = 48
    """Training rooms; networks are trained on them without labels."""
    train_views: int = 4
    """Images of each training room."""
    held_out_rooms: int = 20
    """Held-out rooms, for evaluation."""
    held_out_views: int = 4
    """Images of each held-out room."""
    image_size: tuple[int, int] = (96, 128)
    """(height, width) of the images."""
    cloud_voxel_m: float = 0.05
    """Spacing of the point clouds in metres."""
    style: str = LIVED_IN.name
    """Style of the rooms: lived-in, as real scans, or clean."""

    def __post_init__(self) -> None:
        if not 1 <= self.train_rooms <= HELD_OUT_OFFSET or not 1 <= self.held_out_rooms <= HELD_OUT_OFFSET:
            raise InputError(
                f"The lab has {self.train_rooms} training and {self.held_out_rooms} held-out rooms: give 1 to "
                f"{HELD_OUT_OFFSET} of each."
            )
        if self.style not in STYLES:
            raise InputError(f"The style of the rooms is '{self.style}': choose {' or '.join(STYLES)}.")


@dataclass(frozen=True)
class LabFolders:
    """The folders of training and held-out rooms."""

    train: Path
    held_out: Path


def write_lab(folder: Path, seed: int, size: LabSize) -> LabFolders:
    """Write the rooms of an experiment seed that are missing and return their folders.

    Raises an `InputError` if the folder holds another lab.
    """
    folders = LabFolders(folder / "train", folder / "held-out")
    claim(folder / "lab.json", json.dumps({"seed": seed, **asdict(size)}))
    wanted = [
        (folders.train / f"room-{index:03d}", experiment_room_seed(seed, index), size.train_views)
        for index in range(size.train_rooms)
    ] + [
        (
            folders.held_out / f"room-{index:03d}",
            experiment_room_seed(seed, HELD_OUT_OFFSET + index),
            size.held_out_views,
        )
        for index in range(size.held_out_rooms)
    ]
    missing = [job for job in wanted if not job[0].is_dir()]
    with Progress("build rooms", len(missing)) as progress:
        for path, room_seed, views in missing:
            write_room(path, room_seed, views, size)
            progress.advance()
    return folders


def claim(path: Path, description: str) -> None:
    """Write the description of a folder's lab; raise an `InputError` if the folder holds another lab."""
    if not path.is_file():
        write_text(path, description + "\n")
    elif path.read_text(encoding="utf-8").strip() != description:
        raise InputError(
            f"{path}: the folder holds another lab, {path.read_text(encoding='utf-8').strip()}, expected "
            f"{description}: choose another --out or delete the folder."
        )


def write_room(folder: Path, room_seed: int, views: int, size: LabSize) -> None:
    """Render the views of one room and write them as a scene; its cloud is fused from its depth maps."""
    style = STYLES[size.style]
    room = build_room(room_seed, style)
    cameras = walk(room, views, size.image_size)
    seen = [render(room, camera, seed=index) for index, camera in enumerate(cameras)]
    cloud = fuse(
        [surface_frame(view, index) for index, view in enumerate(seen)], FusionOptions(voxel_m=size.cloud_voxel_m), True
    )
    tracked = tracked_cameras(cameras, style, room_seed)
    write_scene(
        folder,
        [view.image for view in seen],
        [view.depth_m for view in seen],
        cameras[0].intrinsics,
        [camera.world_to_camera for camera in tracked],
        cloud.points_world,
        cloud.colours,
        cloud.labels,
        [view.classes for view in seen],
        CLASS_NAMES,
    )


def tracked_cameras(cameras: Sequence[Camera], style: RoomStyle, room_seed: int) -> list[Camera]:
    """Return the cameras of a walk with the poses that a tracker would report."""
    rng = np.random.Generator(np.random.PCG64([room_seed, 4]))
    return [misplaced(camera, style, rng) for camera in cameras]


def surface_frame(view: View, index: int) -> Frame:
    """Return a rendered view whose labels belong to its depth, for the cloud; see `view_frame`."""
    return replace(view_frame(view, index), labels=ImageArray(view.measured_classes))


def view_frame(view: View, index: int) -> Frame:
    """Return a rendered view as a frame, with depth in whole millimetres as on disk and the true pose."""
    height, width = view.depth_m.shape
    return Frame(
        name=f"{index:06d}",
        image=ImageArray(view.image),
        intrinsics=view.camera.intrinsics,
        world_to_camera=view.camera.world_to_camera,
        size=(height, width),
        depth=ImageArray(np.rint(view.depth_m * 1000).astype(np.uint16)),
        labels=ImageArray(view.classes),
    )
