"""Write the undamaged inputs of the campaign: a small tree in every layout, and the working folder of a command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from labelfree.runtime.lab import weights_folder
from labelfree_lab.layouts.nuimages import write_nuimages
from labelfree_lab.layouts.nuscenes import write_nuscenes
from labelfree_lab.layouts.scannet import write_scannet
from labelfree_lab.rooms.cameras import walk
from labelfree_lab.rooms.dataset import LabSize, write_room
from labelfree_lab.rooms.render import render
from labelfree_lab.rooms.room import build_room
from labelfree_lab.streets.route import DriveSize

ROOM = LabSize(image_size=(48, 64))
DRIVE = DriveSize(key_frames=1, image_size=(48, 80), azimuths=60)
DEPTH_INSIDE = ("a", "b", "c")
"""Folders between the folder of a case and its working folder, so that writing to `../../x` is detected."""

TINY = """\
teachers:
  clip: rooms
  sam: rooms
  clip_options: {attention: value, scale: 2.0, window: 64, stride: 32}
  sam_options: {points_per_side: 4, pred_iou_threshold: 0.3, stability_threshold: 0.5, box_nms_threshold: 0.5,
    mask_nms_threshold: 0.4, min_area_fraction: 0.003}
labels: {image_size: [48, 64]}
networks:
  net_2d: {backbone: resnet18, width: 8, output_stride: 8, aspp_channels: 16, dropout: 0.1}
  net_3d: {variant: MinkUNet14A, planes: [8, 8, 8, 8, 8, 8, 8, 8], first_kernel: 3, first_width: 8, voxel_m: 0.1}
train: {epochs: 4, scenes_per_batch: 1, images_per_scene: 2, optimiser: adamw, learning_rate: 0.0015,
  checkpoint_seconds: 0.0}
switch: {start_epoch: 2}
"""
"""A recipe that trains in a fraction of a second."""


def write_inputs(folder: Path) -> None:
    """Write each layout into its own folder."""
    folder.mkdir(parents=True)
    (folder / "tiny.yaml").write_text(TINY)
    (folder / "street.yaml").write_text(
        TINY.replace(": rooms\n", ": streets\n").replace("voxel_m: 0.1", "voxel_m: 0.6")
    )
    write_room(folder / "room", 77, 3, ROOM)
    for index in range(2):
        write_room(folder / "rooms" / f"room-{index}", 90 + index, 2, ROOM)
    shutil.copytree(folder / "room", folder / "fused", ignore=shutil.ignore_patterns("cloud.ply"))
    _write_described(folder / "room", folder / "described")
    _write_scannet(folder)
    write_nuscenes(folder / "nuscenes", 3, 2, DRIVE)
    write_nuimages(folder / "nuimages", 3, 2, DRIVE)
    _write_nerfstudio(folder / "nerfstudio")
    _write_kitti(folder / "kitti" / "sequences" / "08")
    _write_rig(folder / "rig")
    _write_images(folder / "room" / "color" / "000000.png", folder / "images")
    _write_package_files(folder)


def inner(case: Path) -> Path:
    """Return the working folder of a case."""
    return case.joinpath(*DEPTH_INSIDE)


def _write_described(room: Path, folder: Path) -> None:
    """Write a room with other file names and the description file that maps them."""
    shutil.copytree(room, folder)
    for old, new in (("color", "rgb"), ("depth", "range"), ("label", "truth"), ("cloud.ply", "scan.ply")):
        (folder / old).rename(folder / new)
    poses = [np.loadtxt(path).ravel() for path in sorted((folder / "pose").iterdir())]
    np.savetxt(folder / "poses.txt", poses, fmt="%.9g")
    shutil.rmtree(folder / "pose")
    matrix = np.loadtxt(folder / "intrinsic.txt")
    (folder / "intrinsic.txt").unlink()
    keys = {"fx": (0, 0), "fy": (1, 1), "cx": (0, 2), "cy": (1, 2)}
    described = {
        "name": "office", "images": "rgb/*.png", "depth": "range/*.png", "depth_scale": 1000, "poses": "poses.txt",
        "pose_is": "camera_to_world", "camera_axes": "opencv", "intrinsics": {k: float(matrix[v]) for k,
        v in keys.items()},
        "cloud": "scan.ply", "labels": "truth/*.png", "classes": "classes.txt", "every": 1, "incomplete": "error",
    }  # fmt: skip
    (folder / "capture.yaml").write_text(yaml.safe_dump(described, sort_keys=False))


def _write_scannet(folder: Path) -> None:
    """Write three scans: with frames of scannet_frames_25k, as a .sens file, and as exported by ScanNet's reader."""
    write_scannet(folder / "scannet", 7, 2, views=2)
    for place in ("scans", "scannet_frames_25k"):
        shutil.rmtree(folder / "scannet" / place / "scene0001_00")
    shutil.copytree(folder / "scannet", folder / "sens", ignore=shutil.ignore_patterns("scannet_frames_25k"))
    exported = folder / "exports" / "scene0000_00"
    shutil.copytree(folder / "scannet" / "scans" / "scene0000_00", exported, ignore=shutil.ignore_patterns("*.sens"))
    frames = folder / "scannet" / "scannet_frames_25k" / "scene0000_00"
    for kind in ("color", "depth", "pose"):
        (exported / kind).mkdir()
        for index, path in enumerate(sorted((frames / kind).iterdir())):
            shutil.copy(path, exported / kind / f"{index}{path.suffix}")
    (exported / "intrinsic").mkdir()
    for kind in ("color", "depth"):
        shutil.copy(frames / f"intrinsics_{kind}.txt", exported / "intrinsic" / f"intrinsic_{kind}.txt")


def _write_nerfstudio(folder: Path) -> None:
    room = build_room(2_000_007)
    cameras = walk(room, 3, (48, 64))
    frames = []
    for index, camera in enumerate(cameras):
        view, name = render(room, camera), f"{index:05d}.png"
        for kind, pixels in (("images", view.image), ("depth", (view.depth_m * 1000).astype(np.uint16))):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / kind / name)
        pose = np.linalg.inv(camera.world_to_camera) @ np.diag([1.0, -1, -1, 1])
        frames.append(
            {"file_path": f"images/{name}", "depth_file_path": f"depth/{name}", "transform_matrix": pose.tolist()}
        )
    matrix = cameras[0].intrinsics
    data = {
        "camera_model": "OPENCV", "w": 64, "h": 48, "k1": 0.0, "fl_x": matrix[0, 0], "fl_y": matrix[1, 1],
        "cx": matrix[0, 2], "cy": matrix[1, 2], "frames": frames,
    }  # fmt: skip
    (folder / "transforms.json").write_text(json.dumps(data))


PROJECTION = np.array([[70.0, 0, 60, 4.2], [0, 70, 18, 0.02], [0, 0, 1, 0.003]])
VELODYNE_TO_CAMERA = np.array([[0.0, -1, 0, 0.02], [0, 0, -1, -0.08], [1, 0, 0, -0.27]])


def _write_kitti(folder: Path) -> None:
    """Write two sweeps of a sequence of SemanticKITTI."""
    random = np.random.default_rng(3)
    for index in range(2):
        points = random.uniform((4, -10, -1.5), (30, 10, 3), (400, 3)).astype(np.float32)
        labels = np.where(points[:, 2] < 0, 40, 50).astype(np.uint32)
        labels[10:30] = 10
        picture = Image.fromarray(random.integers(0, 255, (37, 124, 3), dtype=np.uint8))
        for kind in ("velodyne", "labels", "image_2"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        np.c_[points, random.random(400)].astype(np.float32).tofile(folder / "velodyne" / f"{index:06d}.bin")
        labels.tofile(folder / "labels" / f"{index:06d}.label")
        picture.save(folder / "image_2" / f"{index:06d}.png")
    (folder / "calib.txt").write_text(_calibration("P", "Tr"))


def _write_rig(folder: Path) -> None:
    """Write sweeps with their own calibration and the description file that reads them."""
    _write_kitti(folder)
    (folder / "calib").mkdir()
    for index in range(2):
        (folder / "calib" / f"{index:06d}.txt").write_text(_calibration("P", "Tr_velo_to_cam"))
    (folder / "calib.txt").unlink()
    camera = {
        "images": "image_2/*.{png,jpg}",
        "intrinsics": {"file": "calib/*.txt", "key": "P2"},
        "lidar_to_camera": {"file": "calib/*.txt", "key": ["Tr_velo_to_cam"]},
    }
    described = {
        "layout": "lidar", "points": "velodyne/*.bin", "columns": ["x", "y", "z", "intensity"], "intensity_scale": 255,
        "point_labels": "labels/*.label", "cameras": {"image_2": camera}, "classes": {10: "car", 40: "road",
        50: "building"},
        "ignored": [0], "max_range_m": 60.0, "every": 1, "incomplete": "error",
    }  # fmt: skip
    (folder / "rig.yaml").write_text(yaml.safe_dump(described, sort_keys=False))


def _calibration(projection: str, transform: str) -> str:
    lines = [f"{projection}{index}: {' '.join(map(str, PROJECTION.ravel()))}" for index in range(4)]
    return "\n".join([*lines, f"{transform}: {' '.join(map(str, VELODYNE_TO_CAMERA.ravel()))}"]) + "\n"


def _write_images(source: Path, folder: Path) -> None:
    """Write one image in many common formats."""
    folder.mkdir()
    with Image.open(source) as opened:
        image = opened.convert("RGB")
    image.save(folder / "plain.png")
    image.save(folder / "photo.jpg")
    image.quantize(32).save(folder / "palette.png")
    image.convert("RGBA").save(folder / "alpha.png")


def _write_package_files(folder: Path) -> None:
    """Write a vocabulary and both lab teachers as user files."""
    (folder / "classes").mkdir()
    shutil.copy(_package() / "vocabularies" / "rooms16.yaml", folder / "classes" / "rooms16.yaml")
    for name in ("clip", "sam"):
        kept = shutil.ignore_patterns("*.md", "*.jsonl")
        shutil.copytree(weights_folder("rooms", name), folder / "models" / name, ignore=kept)


def _package() -> Path:
    import labelfree

    return Path(labelfree.__file__).parent
