"""Captures in UTM coordinates: the same labels as near the origin, and the coordinates come back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.nerfstudio_capture import write as write_nerfstudio
from helpers.small_capture import INTRINSICS, SIZE, make_capture
from labelfree import Frame, Scene, Vocabulary
from labelfree.config.labels import PairingConfig
from labelfree.data.collection import open_scenes
from labelfree.data.fusion import FusionOptions, fuse
from labelfree.data.pairs import pair_points
from labelfree.data.ply import read_ply
from labelfree.labelling.projection import project_labels
from labelfree.raster import ImageArray
from labelfree.results.export import save_prediction

UTM = np.array([456789.0, 5432100.0, 312.0])
CAPTURE = make_capture(4)
NAMES = Vocabulary(("wall", "floor", "box"))


def write_doubles(path: Path, points: NDArray[np.float64]) -> None:
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    head += [f"property double {axis}" for axis in "xyz"]
    path.write_bytes("\n".join([*head, "end_header\n"]).encode() + points.astype("<f8").tobytes())


def points() -> NDArray[np.float64]:
    pinhole = zip(CAPTURE.images, CAPTURE.depths_m, CAPTURE.world_to_camera)
    frames = [
        Frame(str(n), ImageArray(image), INTRINSICS, pose, SIZE, ImageArray(np.rint(depth_m * 1000).astype(np.uint16)))
        for n, (image, depth_m, pose) in enumerate(pinhole)
    ]
    return fuse(frames, FusionOptions(0.05)).points_world.astype(np.float64)


def capture(folder: Path, offset: NDArray[np.float64], with_cloud: bool) -> Path:
    CAPTURE.write(folder, np.zeros((1, 3), np.float32))
    for index, pose in enumerate(CAPTURE.world_to_camera):
        moved = np.linalg.inv(pose)
        moved[:3, 3] += offset
        np.savetxt(folder / "pose" / f"{index:06d}.txt", moved)
    (folder / "cloud.ply").unlink()
    if with_cloud:
        write_doubles(folder / "cloud.ply", points() + offset)
    return folder


def nerfstudio(folder: Path, offset: NDArray[np.float64], scale: float) -> Path:
    write_nerfstudio(folder, scale=scale)
    fused = open_scenes(folder)[0].points_world.astype(np.float64)
    file = folder / "transforms.json"
    data = json.loads(file.read_text())
    for frame in data["frames"]:
        for axis in range(3):
            frame["transform_matrix"][axis][3] += scale * offset[axis]
    data["ply_file_path"] = "cloud.ply"
    file.write_text(json.dumps(data))
    write_doubles(folder / "cloud.ply", scale * (fused + offset))
    return folder


def labels_of(scene: Scene) -> NDArray[np.uint8]:
    views = []
    for frame in scene.frames:
        colours = frame.load_image()
        maps = (colours[..., 0] // 64).clip(0, 2).astype(np.uint8)
        views.append((pair_points(scene, frame, frame.size, PairingConfig()), maps))
    return project_labels(scene, views, NAMES).labels


@pytest.mark.parametrize("layout", ["cloud", "fused", "nerfstudio"])
def test_a_capture_in_utm_gets_the_labels_that_it_gets_near_the_origin(tmp_path: Path, layout: str) -> None:
    if layout == "nerfstudio":
        folders = [nerfstudio(tmp_path / name, at, 0.1) for name, at in (("near", 0 * UTM), ("far", UTM))]
    else:
        folders = [capture(tmp_path / n, at, layout == "cloud") for n, at in (("near", 0 * UTM), ("far", UTM))]
    near, far = (open_scenes(folder)[0] for folder in folders)
    assert len(near) == len(far) > 1000
    same = labels_of(near) == labels_of(far)
    assert same.mean() > 0.9995  # rounding at the edges of pixels


def test_the_coordinates_of_a_capture_come_back(tmp_path: Path) -> None:
    scene = open_scenes(capture(tmp_path / "far", UTM, with_cloud=True))[0]
    saved = save_prediction(project_labels(scene, [], NAMES), tmp_path / "out")
    np.testing.assert_allclose(read_ply(saved[0]).points, points() + UTM, rtol=0, atol=1e-6)


def test_a_scene_far_away_holds_points_and_poses_near_an_origin() -> None:
    pose = np.linalg.inv(CAPTURE.world_to_camera[0])
    pose[:3, 3] += UTM
    frame = Frame("a", ImageArray(np.zeros((*SIZE, 3), np.uint8)), INTRINSICS, np.linalg.inv(pose), SIZE)
    scene = Scene("s", points() + UTM, (frame,))
    assert scene.points_world.dtype == np.float32
    np.testing.assert_allclose(scene.origin_m, UTM, atol=5)
    np.testing.assert_allclose(scene.points_world + scene.origin_m, points() + UTM, atol=1e-6)
    np.testing.assert_allclose(scene.frames[0].camera_to_world[:3, 3] + scene.origin_m, pose[:3, 3], atol=1e-6)
    again = scene.resized((36, 48))
    np.testing.assert_array_equal(again.frames[0].world_to_camera, scene.frames[0].world_to_camera)
    np.testing.assert_array_equal(again.points_world, scene.points_world)


def test_a_scene_near_the_origin_stays_where_it_is() -> None:
    given = points().astype(np.float32)
    scene = Scene("s", given, ())
    np.testing.assert_array_equal(scene.points_world, given)
    assert not scene.origin_m.any()
    assert scene.output_points().dtype == np.float32
