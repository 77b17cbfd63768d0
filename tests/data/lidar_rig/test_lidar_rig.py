"""LiDAR + cameras by description: a real off-road frame, and a made-up drive in SemanticKITTI's layout."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from helpers.kitti_drive import KITTI, PROJECTION, ROOT, VELODYNE_TO_CAMERA, drive
from labelfree.data.checking.check import check_collection
from labelfree.data.collection import open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.data.lidar_rig.reader import LIDAR
from labelfree.errors import InputError
from labelfree.scene import Scene

RELLIS = ROOT.parent / "shared" / "data" / "rellis-frame"


def agreement(scene: Scene) -> float:
    """The share of points in a picture whose label is that of their pixel, by a loop over the cameras."""
    same = total = 0
    assert scene.labels is not None
    for frame in scene.frames:
        pixels = frame.load_labels()
        assert pixels is not None
        seen = np.c_[scene.points_world, np.ones(len(scene))] @ frame.world_to_camera.T
        image = seen[:, :3] @ frame.intrinsics.T
        with np.errstate(divide="ignore", invalid="ignore"):
            u, v = image[:, 0] / image[:, 2], image[:, 1] / image[:, 2]
        inside = (seen[:, 2] > 0) & (u >= 0) & (u < frame.size[1]) & (v >= 0) & (v < frame.size[0])
        found = pixels[v[inside].astype(int), u[inside].astype(int)]
        same += int((found == scene.labels[inside]).sum())
        total += int(inside.sum())
    return same / total


@pytest.mark.skipif(not RELLIS.is_dir(), reason="../shared/data/rellis-frame is not here")
def test_a_real_frame_agrees_with_its_pixel_labels() -> None:
    scenes = open_scenes(ROOT / "examples" / "rellis-frame.yaml", RELLIS)
    assert scenes.names == ("000104",)
    scene = scenes[0]
    assert scene.frames[0].size == (1200, 1920)
    assert len(scene) < 64 * 2048  # the empty returns are gone
    assert agreement(scene) >= 0.75
    assert check_collection(scenes)[0].problems == ()


def test_semantic_kitti(tmp_path: Path) -> None:
    scenes = open_scenes(KITTI, drive(tmp_path))
    assert scenes.names == ("000000", "000001")
    assert scenes.classes is not None
    assert len(scenes.classes) == 19
    scene = scenes[1]
    assert len(scene) == 394
    assert scene.labels is not None
    assert {scenes.classes[label] for label in np.unique(scene.labels)} == {"car", "road", "building"}
    assert scene.intensity is not None
    assert 1 < scene.intensity.max() <= 255
    # The camera of P2 stands beside the one that Tr leads to: project with the 3x4 matrix as KITTI's devkit does.
    (frame,) = scene.frames
    camera = np.c_[scene.points_world, np.ones(394)] @ np.vstack([VELODYNE_TO_CAMERA, [0, 0, 0, 1]]).T
    image = camera @ PROJECTION.T
    own = (np.c_[scene.points_world, np.ones(394)] @ frame.world_to_camera.T)[:, :3] @ frame.intrinsics.T
    ahead = image[:, 2] > 1
    np.testing.assert_allclose(own[ahead, :2] / own[ahead, 2:], image[ahead, :2] / image[ahead, 2:], atol=1e-3)


def test_sweeps_without_cameras_can_be_predicted_not_trained_on(tmp_path: Path) -> None:
    drive(tmp_path)
    path = described(tmp_path, {"cameras": {}})
    stated = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({key: value for key, value in stated.items() if key != "cameras"}))
    scenes = open_scenes(path)
    assert len(scenes[0].frames) == 0
    (report, _) = check_collection(scenes)
    assert report.problems == ()
    assert "nothing can be trained on it" in report.warnings[0]
    assert "nothing can be trained on it" in scenes.notes[0]
    assert LIDAR.survey(path, None, ReadOptions(), lambda done, total: None).frames == 0


def test_every_limit_and_survey(tmp_path: Path) -> None:
    drive(tmp_path, sweeps=4)
    strict = described(tmp_path, {"incomplete": "error"})
    assert open_scenes(strict, tmp_path, ReadOptions(every=2, limit=1)).names == ("000000",)
    (tmp_path / "image_2" / "000002.png").unlink()
    survey = LIDAR.survey(strict, tmp_path, ReadOptions(), lambda done, total: None)
    assert [(count.what, count.found) for count in survey.counts] == [("sweeps", 4), ("images", 4)]
    assert len(survey.problems) == 1
    assert "image_2/000002.png" in survey.problems[0]
    assert open_scenes(strict, tmp_path, ReadOptions(skip_broken=True)).names == ("000000", "000001", "000003")
    no_picture_at_all(tmp_path)
    survey = LIDAR.survey(strict, tmp_path, ReadOptions(), lambda done, total: None)
    assert len(survey.problems) == 1  # Said once, not once a sweep.


def test_what_is_absent_is_done_without_if_asked(tmp_path: Path) -> None:
    drive(tmp_path, sweeps=3)
    (tmp_path / "image_2" / "000001.png").unlink()
    scenes = open_scenes(KITTI, tmp_path)
    assert scenes.names == ("000000", "000002")
    assert "1 sweeps without an image are left out" in scenes.notes[0]
    survey = LIDAR.survey(KITTI, tmp_path, ReadOptions(), lambda done, total: None)
    assert [count.found for count in survey.counts] == [2, 2]
    assert survey.problems == ()
    no_calibration(tmp_path)
    no_labels_at_all(tmp_path)
    scenes = open_scenes(KITTI, tmp_path)
    assert "calib.txt: is missing, camera 'image_2' is left out" in scenes.notes[0]
    assert "nothing matches labels/*.label: the points have no ground truth" in scenes.notes[1]
    assert "nothing can be trained on it" in scenes.notes[2]
    assert scenes[0].labels is None
    assert scenes[0].frames == ()


@pytest.mark.parametrize("name", ["000000", "000001"])
def test_calibration_of_each_sweep(name: str, tmp_path: Path) -> None:
    """KITTI's object benchmark: a file a sweep, rectification and extrinsics under keys of their own."""
    expected = dict(zip(("000000", "000001"), open_scenes(KITTI, drive(tmp_path))))[name].frames[0]
    rectify = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    (tmp_path / "calib").mkdir()
    for index in range(2):
        own = np.linalg.inv(rectify) @ VELODYNE_TO_CAMERA
        own[:, 3] += index  # the second sweep's camera stands elsewhere
        lines = {"P2": PROJECTION, "R0_rect": rectify, "Tr_velo_to_cam": own}
        text = "".join(f"{key}: {' '.join(map(str, matrix.ravel()))}\n" for key, matrix in lines.items())
        (tmp_path / "calib" / f"{index:06d}.txt").write_text(text)
    camera = yaml.safe_load((ROOT / "examples" / "kitti-object.yaml").read_text())["cameras"]
    (frame,) = dict(zip(("000000", "000001"), open_scenes(described(tmp_path, {"cameras": camera}), tmp_path)))[
        name
    ].frames
    moved = np.eye(4)
    moved[:3, 3] = rectify @ np.full(3, int(name))
    np.testing.assert_allclose(frame.world_to_camera, moved @ expected.world_to_camera, atol=1e-9)
    np.testing.assert_allclose(frame.intrinsics, expected.intrinsics)


def test_pixel_labels_are_merged_like_the_points(tmp_path: Path) -> None:
    drive(tmp_path)
    raw = np.full((376, 1241), 10, np.uint8)
    raw[:100] = 252
    (tmp_path / "pixels").mkdir()
    for index in range(2):
        Image.fromarray(raw).save(tmp_path / "pixels" / f"{index:06d}.png")
    found = open_scenes(described(tmp_path, {"cameras": {"image_2": {"labels": "pixels/*.png"}}}), tmp_path)[0]
    labels = found.frames[0].load_labels()
    assert labels is not None
    assert np.unique(labels).tolist() == [0]


@pytest.mark.parametrize("how", ["camera_to_lidar", "inline", "quaternion"])
def test_extrinsics_in_other_forms(how: str, tmp_path: Path) -> None:
    expected = open_scenes(KITTI, drive(tmp_path))[0].frames[0].world_to_camera
    shift = np.eye(4)
    shift[:3, 3] = np.linalg.solve(PROJECTION[:, :3], PROJECTION[:, 3])
    whole = np.vstack([VELODYNE_TO_CAMERA, [0, 0, 0, 1]])
    camera: dict[str, Any] = {"images": "image_2/*.png", "intrinsics": {"file": "calib.txt", "key": "P2"}}
    if how == "inline":
        camera["lidar_to_camera"] = whole.tolist()
    elif how == "camera_to_lidar":
        camera["camera_to_lidar"] = np.linalg.inv(whole)[:3].ravel().tolist()
    else:  # the rotation of axes (x, y, z) -> (-y, -z, x) is the quaternion w x y z = (1, -1, 1, -1) / 2 transposed
        inverse = np.linalg.inv(whole)
        pose = {"q": {"w": 0.5, "x": -0.5, "y": 0.5, "z": -0.5}, "t": dict(zip("xyz", inverse[:3, 3].tolist()))}
        (tmp_path / "rig.yaml").write_text(yaml.safe_dump({"left": {"pose": pose}}))
        camera["camera_to_lidar"] = {"file": "rig.yaml", "key": "left/pose"}
    stated = yaml.safe_load(KITTI.read_text()) | {"cameras": {"image_2": camera}}
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(stated))
    np.testing.assert_allclose(open_scenes(path)[0].frames[0].world_to_camera, expected, atol=1e-9)


def described(folder: Path, change: dict[str, Any]) -> Path:
    """Write SemanticKITTI's description with some keys changed; None takes one away."""
    stated = yaml.safe_load(KITTI.read_text())
    for key, value in change.items():
        if key == "cameras" and isinstance(value, dict):
            for name, keys in value.items():
                stated["cameras"][name] |= keys
                stated["cameras"][name] = {k: v for k, v in stated["cameras"][name].items() if v is not None}
        elif value is None:
            del stated[key]
        else:
            stated[key] = value
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(stated))
    return path


def cut(folder: Path) -> None:
    path = folder / "velodyne" / "000000.bin"
    path.write_bytes(path.read_bytes()[:-4])


def empty(folder: Path) -> None:
    (folder / "velodyne" / "000000.bin").write_bytes(b"")


def all_empty_returns(folder: Path) -> None:
    np.zeros((50, 4), np.float32).tofile(folder / "velodyne" / "000000.bin")


def fewer_labels(folder: Path) -> None:
    path = folder / "labels" / "000000.label"
    path.write_bytes(path.read_bytes()[:-8])


def strange_label(folder: Path) -> None:
    np.full(400, 77, np.uint32).tofile(folder / "labels" / "000000.label")


def no_labels(folder: Path) -> None:
    (folder / "labels" / "000000.label").unlink()


def no_picture(folder: Path) -> None:
    (folder / "image_2" / "000000.png").unlink()


def no_picture_at_all(folder: Path) -> None:
    for path in (folder / "image_2").iterdir():
        path.unlink()


def no_labels_at_all(folder: Path) -> None:
    for path in (folder / "labels").iterdir():
        path.unlink()


def no_calibration(folder: Path) -> None:
    (folder / "calib.txt").unlink()


def not_rigid(folder: Path) -> None:
    path = folder / "calib.txt"
    path.write_text(path.read_text().replace("Tr: 0.0 -1.0", "Tr: 0.0 -3.0"))


def other_size(folder: Path) -> None:
    Image.new("RGB", (620, 188)).save(folder / "image_2" / "000000.png")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, r"000000\.bin: 6396 bytes are not a whole number of points of 4 float32"),
        (empty, r"000000\.bin: is empty"),
        (all_empty_returns, r"000000\.bin: none of its 50 points is a return"),
        (fewer_labels, r"000000\.label: holds 398 labels for 400 points"),
        (strange_label, r"000000\.label: label 77 is neither among 'classes' nor among 'ignored'"),
        (no_labels, r"labels/000000\.label: sweep '000000' has no such file"),
        (no_picture, r"image_2/000000\.png: sweep '000000' has no such file"),
        (no_picture_at_all, r"nothing matches image_2/.*; restore the files, or remove camera 'image_2'"),
        (no_labels_at_all, r"nothing matches labels/\*\.label; restore the files, or remove point_labels"),
        (no_calibration, r"calib\.txt: no such file"),
        (not_rigid, r"'image_2': the rotation of its pose is off"),
        (other_size, r"000000\.png: is 620x188 pixels but the centre of camera 'image_2' lies at 600, 180"),
    ],
)
def test_damage_is_one_sentence(damage: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    damage(drive(tmp_path))
    source = open_scenes(described(tmp_path, {"incomplete": "error"}), tmp_path).sources[0]
    with pytest.raises(InputError, match=words):
        source.build()
    assert any(fault for fault in source.faults())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pionts": "*.bin"}, r"unknown key 'pionts'; did you mean 'points'"),
        ({"points": None}, r"lacks 'points'"),
        ({"points": "lidar/*.bin"}, r"no sweep matches 'lidar/\*\.bin'"),
        ({"columns": ["x", "y"]}, r"columns is \['x', 'y'\]"),
        ({"classes": {"car": 10}}, r"classes is .* expected a name for each raw label id"),
        ({"every": 0}, r"every is 0, expected a whole number from 1"),
        ({"every": math.inf}, r"every is inf, expected a whole number from 1"),
        ({"max_range_m": 10**400}, r"max_range_m is 10{9}.* expected a positive number"),
        ({"cameras": {"image_2": {"intrinsics": None}}}, r"camera 'image_2' lacks 'intrinsics'"),
        ({"cameras": {"image_2": {"lidar_to_camera": None}}}, r"needs either lidar_to_camera or camera_to_lidar"),
        (
            {"cameras": {"image_2": {"intrinsics": {"file": "calib.txt", "key": "P9"}}}},
            r"has no 'P9'; did you mean 'P3'",
        ),
    ],
)
def test_a_wrong_description_is_one_sentence(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    drive(tmp_path)
    with pytest.raises(InputError, match=words):
        open_scenes(described(tmp_path, change), tmp_path)[0]
