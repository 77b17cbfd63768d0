"""Captures whose poses and intrinsics have the names that common tools give them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.small_capture import INTRINSICS, make_capture
from labelfree.cli.main import main
from labelfree.data.collection import open_scenes

CAPTURE = make_capture(6)
POINTS = np.random.default_rng(0).uniform(-1, 1, (500, 3)).astype(np.float32)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    folder = tmp_path / "room"
    CAPTURE.write(folder, POINTS)
    (folder / "cloud.ply").unlink()
    return folder


def log(scene: Path, name: str, poses: int = 6) -> Path:
    """Replace the pose files by one as Redwood and Open3D write it."""
    text = ""
    for index, world_to_camera in enumerate(CAPTURE.world_to_camera[:poses]):
        rows = np.linalg.inv(world_to_camera).tolist()
        text += f"{index} {index} {index + 1}\n" + "".join(" ".join(map(repr, row)) + "\n" for row in rows)
    shutil.rmtree(scene / "pose")
    (scene / name).write_text(text)
    return scene / name


@pytest.mark.parametrize("name", ["trajectory.log", "lounge_trajectory.log"])
def test_a_capture_of_redwood(name: str, scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log(scene, name)
    (scene / "intrinsic.txt").unlink()
    matrix = str(INTRINSICS.T.ravel().tolist())
    (scene / "camera_primesense.json").write_text(f'{{"width": 96, "height": 72, "intrinsic_matrix": {matrix}}}')
    (scene / "build.log").write_text("INFO nothing about poses\n")
    assert main(["check", str(scene)]) == 0
    said = capsys.readouterr()
    assert f"poses are read from {scene / name}" in said.err
    assert f"intrinsics are read from {scene / 'camera_primesense.json'}" in said.err
    assert "sound" in said.out
    frames = open_scenes(scene)[0].frames
    np.testing.assert_allclose(frames[4].world_to_camera, CAPTURE.world_to_camera[4], atol=1e-7)
    np.testing.assert_allclose(frames[4].intrinsics, INTRINSICS)


@pytest.mark.parametrize(("poses", "words"), [(5, "5 poses for 6 images"), (0, "no poses in this file")])
def test_another_number_of_poses_is_one_sentence(
    poses: int, words: str, scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log(scene, "trajectory.log", poses)
    assert main(["check", str(scene)]) == 2
    assert words in capsys.readouterr().err


def test_rows_of_tum(scene: Path) -> None:
    shutil.rmtree(scene / "pose")
    rows = "".join(f"{i} 0 0 {i} 0 0 0 1\n" for i in range(6))
    (scene / "groundtruth.txt").write_text("# timestamp tx ty tz qx qy qz qw\n" + rows)
    np.testing.assert_allclose(open_scenes(scene)[0].frames[4].camera_to_world[:3, 3], [0, 0, 4])


def test_images_under_another_name(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scene / "color").rename(scene / "rgb")
    (scene / "intrinsic.txt").rename(scene / "K.txt")
    for data in (scene, scene.parent):
        assert main(["check", str(data)]) == 0
        assert "images are read from rgb/" in capsys.readouterr().err


def test_the_default_files_come_first(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scene / "trajectory.log").write_text("not poses\n")
    assert main(["check", str(scene)]) == 0
    assert "are read from" not in capsys.readouterr().err


def test_no_poses_at_all(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(scene / "pose")
    assert main(["check", str(scene)]) == 2
    assert "a 3D capture needs a pose for each image" in capsys.readouterr().err
