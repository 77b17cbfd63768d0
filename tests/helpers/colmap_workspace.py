"""COLMAP workspaces written by COLMAP's own library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from helpers.small_capture import INTRINSICS, make_capture
from labelfree.data.fusion import FusionOptions, fuse

CAPTURE = make_capture(4)
POINTS = fuse(CAPTURE.frames(), FusionOptions(voxel_m=0.05)).points_world


def write_model(
    folder: Path,
    names: Sequence[str],
    world_to_camera: Sequence[NDArray[np.float64]],  # F x [4, 4]
    camera: tuple[str, tuple[int, int], Sequence[float]],  # model, (height, width), parameters
    points: NDArray[np.floating],  # [N, 3]
    text: bool = False,
) -> Path:
    """Write a sparse model of images that share one camera; return its folder."""
    pycolmap = pytest.importorskip("pycolmap")
    model = pycolmap.Reconstruction()
    kind, (height, width), values = camera
    model.add_camera_with_trivial_rig(
        pycolmap.Camera(model=kind, width=width, height=height, params=values, camera_id=1)
    )
    for number, (name, pose) in enumerate(zip(names, world_to_camera), start=1):
        image = pycolmap.Image(name=name, camera_id=1, image_id=number)
        image.points2D = pycolmap.Point2DList([pycolmap.Point2D(np.array([1.0, 2.0])) for _ in range(number - 1)])
        rigid = pycolmap.Rigid3d(pycolmap.Rotation3d(pose[:3, :3]), pose[:3, 3])
        model.add_image_with_trivial_frame(image, rigid)
    for point in points:
        model.add_point3D(point.astype(np.float64), pycolmap.Track(), np.array([200, 100, 50], np.uint8))
    folder.mkdir(parents=True, exist_ok=True)
    (model.write_text if text else model.write_binary)(str(folder))
    return folder


def write_depth(path: Path, depth: NDArray[np.float32]) -> None:  # [H, W]
    """Write a dense depth map as COLMAP does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f"{depth.shape[1]}&{depth.shape[0]}&1&".encode() + depth.astype("<f4").tobytes())


def write_workspace(folder: Path, dense: bool = True, scale: float = 1.0, text: bool = False, sub: str = "") -> Path:
    """Write the small capture as a workspace with `scale` units per metre; return its folder."""
    names = [f"{sub}frame{number}.png" for number in range(len(CAPTURE.images))]
    (folder / "images" / sub).mkdir(parents=True)
    for name, image, depth in zip(names, CAPTURE.images, CAPTURE.depths_m):
        Image.fromarray(image).save(folder / "images" / name)
        if dense:
            write_depth(folder / "stereo" / "depth_maps" / f"{name}.geometric.bin", depth * np.float32(scale))
    poses = [pose.copy() for pose in CAPTURE.world_to_camera]
    for pose in poses:
        pose[:3, 3] *= scale
    fx, fy, cx, cy = INTRINSICS[0, 0], INTRINSICS[1, 1], INTRINSICS[0, 2], INTRINSICS[1, 2]
    camera = ("PINHOLE", CAPTURE.images[0].shape[:2], (fx, fy, cx, cy))
    write_model(folder / ("sparse" if dense else "sparse/0"), names, poses, camera, POINTS[::20] * scale, text)
    return folder
