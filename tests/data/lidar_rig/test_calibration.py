"""Calibration under keys of any kind, patterns without `*`, and what is said when a key or a pattern is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from helpers.kitti_drive import KITTI, PROJECTION, ROOT, VELODYNE_TO_CAMERA, drive
from labelfree.cli.main import main
from labelfree.data.collection import open_scenes
from labelfree.data.lidar_rig.description import read_rig
from labelfree.errors import InputError

WHOLE = np.vstack([VELODYNE_TO_CAMERA, [0, 0, 0, 1]])
POSE = np.linalg.inv(WHOLE)
WXYZ = [0.5, -0.5, 0.5, -0.5]
"""The quaternion of POSE's rotation."""


def describe(folder: Path, camera: dict[str, Any], **keys: Any) -> Path:
    """Write SemanticKITTI's description with another camera and other keys."""
    own = {"images": "image_2/*.png", "intrinsics": {"file": "calib.txt", "key": "P2"}} | camera
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(KITTI.read_text()) | {"cameras": {"left": own}} | keys))
    return path


@pytest.mark.parametrize(
    ("stored", "order"),
    [
        (POSE[:3, :3].tolist(), None),
        (POSE[:3, :3].ravel().tolist(), None),
        (WXYZ, "wxyz"),
        (np.roll(WXYZ, -1).tolist(), "xyzw"),
        (dict(zip("wxyz", WXYZ)), None),
    ],
)
def test_rotation_and_translation_under_sibling_keys(stored: Any, order: str | None, tmp_path: Path) -> None:
    expected = open_scenes(KITTI, drive(tmp_path))[0].frames[0].world_to_camera
    rig = {"sensors": {"left": {"R": stored, "T": POSE[:3, 3].tolist()}}}
    (tmp_path / "rig.yaml").write_text(yaml.safe_dump(rig))
    keys = {"rotation": "sensors/left/R", "translation": "sensors/left/T"} | (
        {} if order is None else {"quaternion": order}
    )
    path = describe(tmp_path, {"camera_to_lidar": {"file": "rig.yaml"} | keys})
    assert main(["check", str(path)]) == 0
    np.testing.assert_allclose(open_scenes(path)[0].frames[0].world_to_camera, expected, atol=1e-9)


def test_a_product_over_files(tmp_path: Path) -> None:
    """KITTI's raw drives: the rectification is in one file, rotation and translation are in another."""
    expected = open_scenes(KITTI, drive(tmp_path))[0].frames[0].world_to_camera
    rectify = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    own = np.linalg.inv(rectify) @ VELODYNE_TO_CAMERA
    lines = {"R": own[:, :3], "T": own[:, 3]}
    text = "".join(f"{key}: {' '.join(map(str, values.ravel()))}\n" for key, values in lines.items())
    (tmp_path / "calib_velo_to_cam.txt").write_text(f"calib_time: 15-Mar-2012 11:37:16\n{text}")
    (tmp_path / "calib_cam_to_cam.txt").write_text(
        f"calib_time: 09-Jan-2012 13:57:47\ncorner_dist: 9.95e-02\nR_rect_00: {' '.join(map(str, rectify.ravel()))}\n"
        f"P_rect_02: {' '.join(map(str, PROJECTION.ravel()))}\n"
    )
    steps = [
        {"file": "calib_cam_to_cam.txt", "key": "R_rect_00"},
        {"file": "calib_velo_to_cam.txt", "rotation": "R", "translation": "T"},
    ]
    camera = {"intrinsics": {"file": "calib_cam_to_cam.txt", "key": "P_rect_02"}, "lidar_to_camera": steps}
    frame = open_scenes(describe(tmp_path, camera))[0].frames[0]
    np.testing.assert_allclose(frame.world_to_camera, expected, atol=1e-9)
    np.testing.assert_allclose(frame.intrinsics, PROJECTION[:, :3])


RIG = {
    "cameras": [{"name": f"camera {place}", "T": WHOLE.tolist()} for place in range(300)],
    "left": {"lidar_to_camera": WHOLE.tolist(), "lens": {"model": "pinhole" * 100}, "q": WXYZ, "t": [0, 0, 0]},
}


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"key": "left/lidar_to_cam"}, "has no 'left/lidar_to_cam'; did you mean 'left/lidar_to_camera'"),
        ({"key": "lidar_to_camera"}, "has no 'lidar_to_camera'; did you mean 'left/lidar_to_camera'"),
        ({"key": "zzz"}, "has no 'zzz'; there are 'cameras', 'left'"),
        ({"key": "left/lens"}, "left/lens: holds the keys 'model'; give 'key', or 'rotation' and 'translation'"),
        ({}, "holds the keys 'cameras', 'left'; give 'key'"),
        ({"key": "left"}, "state the order of the quaternion's values: quaternion: wxyz, or xyzw"),
        ({"key": "left", "quaternion": "yxzw"}, "quaternion is 'yxzw', expected wxyz or xyzw"),
        ({"key": "left/lens/model"}, "expected numbers, found ['pinhole"),
        ({"key": "cameras"}, "expected numbers, found [{"),
        ({"rotation": "left/q"}, "needs either 'key', or both 'rotation' and 'translation'"),
        ({"rotation": "left/t", "translation": "left/t"}, "left/t: holds [0, 0, 0]; a rotation is a 3x3 matrix"),
        ({"rotation": "left/q", "translation": "left/q", "quaternion": "wxyz"}, "a translation is three numbers"),
    ],
)
def test_a_wrong_key_is_one_short_sentence(
    stated: dict[str, str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drive(tmp_path)
    (tmp_path / "rig.yaml").write_text(yaml.safe_dump(RIG))
    path = describe(tmp_path, {"lidar_to_camera": {"file": "rig.yaml"} | stated}, incomplete="error")
    assert main(["check", str(path)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said) < 500


def test_a_pattern_without_a_star(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sweep needs no `*`; with several the sentence says where it belongs, not that a file has to be restored."""
    drive(tmp_path, sweeps=1)
    (tmp_path / "image_2" / "000000.png").rename(tmp_path / "left.png")
    (tmp_path / "labels" / "000000.label").rename(tmp_path / "truth.label")
    camera = {"images": "left.png", "lidar_to_camera": {"file": "calib.txt", "key": "Tr"}}
    keys = {"point_labels": "truth.label", "incomplete": "error"}
    assert main(["check", str(describe(tmp_path, camera, **keys))]) == 0
    scene = open_scenes(tmp_path / "own.yaml")[0]
    assert len(scene.frames) == 1
    assert scene.labels is not None
    capsys.readouterr()
    drive(tmp_path / "two")
    (tmp_path / "left.png").rename(tmp_path / "two" / "left.png")
    for images, words in (
        ("left.png", "names one file for 2 frames; write '*' where a frame's name, such as '000000', stands"),
        ("*eft.png", "finds 1 files, none with the name of a frame such as '000000'"),
    ):
        for incomplete in ("error", "skip"):
            path = describe(tmp_path / "two", camera | {"images": images}, incomplete=incomplete)
            assert main(["check", str(path)]) == 2
            assert words in capsys.readouterr().err


def test_the_example_of_the_manual(tmp_path: Path) -> None:
    """The calibration that docs/datasets.md shows is that of the drive, and its descriptions can be read."""
    section = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8").split("### Calibration in files")[1]
    stored, cameras, steps, images = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    drive(tmp_path)
    (tmp_path / "image_2").rename(tmp_path / "left")
    (tmp_path / "rig.yaml").write_text(stored)
    (tmp_path / "own.yaml").write_text(f"layout: lidar\npoints: velodyne/*.bin\n{cameras}")
    assert main(["check", str(tmp_path / "own.yaml")]) == 0
    assert len(open_scenes(tmp_path / "own.yaml")[0].frames) == 1
    path = describe(tmp_path, yaml.safe_load(steps))
    assert len(read_rig(path).cameras[0].calibration()) == 3
    (tmp_path / "images.yaml").write_text(images)
    assert main(["check", str(tmp_path / "images.yaml")]) == 2  # there are no such images, but the keys are right
    with pytest.raises(InputError, match="no image matches 'leftImg8bit"):
        open_scenes(tmp_path / "images.yaml")
