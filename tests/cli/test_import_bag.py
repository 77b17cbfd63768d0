"""`labelfree import rosbag`: recordings of all formats become captures; killed imports resume to the same files."""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from helpers.bag_import import CAPTURE, COLOUR, DEPTH, DEPTHS, MOUNTED, POSES, images_and, refused, run, times
from helpers.bags import START, STEP, BagWriter, write_rgbd
from helpers.small_capture import BOX, INTRINSICS, SIZE
from labelfree.cli.import_bag import add_arguments
from labelfree.data.checking.check import check_collection
from labelfree.data.collection import open_scenes

pytest.importorskip("rosbags")


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".run"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def assert_is_capture(folder: Path, poses: list[NDArray[np.float64]] | None = None) -> None:
    (scene,) = open_scenes(folder)
    assert len(scene.frames) == len(POSES)
    for frame, image, depth, pose in zip(scene.frames, CAPTURE.images, DEPTHS, poses or POSES):
        np.testing.assert_array_equal(frame.load_image(), image)
        assert frame.depth is not None
        np.testing.assert_array_equal(frame.depth.load(), depth)
        np.testing.assert_allclose(frame.camera_to_world, pose, atol=1e-7)
        np.testing.assert_allclose(frame.intrinsics, INTRINSICS)


@pytest.fixture(scope="module")
def mcap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bags") / "walk"
    return write_rgbd(BagWriter(folder), CAPTURE.images, DEPTHS, POSES, INTRINSICS)


@pytest.mark.parametrize("kind", ["ros1", "sqlite3", "mcap", "file"])
def test_each_format_becomes_the_same_capture(
    kind: str, mcap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind in ("mcap", "file"):
        path = mcap if kind == "mcap" else mcap / "walk.mcap"
    else:
        path = write_rgbd(BagWriter(tmp_path / "bag", kind), CAPTURE.images, DEPTHS, POSES, INTRINSICS)
    code, told = run(capsys, path, "--out", tmp_path / "out")
    assert code == 0, told
    assert "4 frames are in" in told
    assert_is_capture(tmp_path / "out")
    (report,) = check_collection(open_scenes(tmp_path / "out"))
    assert report.problems == ()


@pytest.mark.parametrize("poses", ["odometry", "tf", "camera"])
def test_poses_of_a_robot_reach_the_camera(poses: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Odometry with the mount in tf_static; tf alone; odometry of the camera itself. Messages lie between images."""
    writer = images_and(BagWriter(tmp_path / "bag"))
    writer.transform(START, "/tf_static", "base", "camera", MOUNTED)
    straight = [POSES[0].copy() for _ in range(7)]
    for number, pose in enumerate(straight):  # a straight walk, measured half a step before and after each image
        pose[:3, 3] += 0.1 * number * np.array([1, 2, 3])
        base = pose if poses == "camera" else pose @ np.linalg.inv(MOUNTED)
        time = START + number * STEP - STEP // 2
        if poses == "tf":
            writer.transform(time, "/tf", "odom", "base", base)
        else:
            writer.odometry(time, "/odom", base, "elsewhere" if poses == "camera" else "base")
    named = {"odometry": [], "tf": ["--tf-frame", "odom"], "camera": ["--camera-frame", "elsewhere"]}[poses]
    assert run(capsys, writer.write(), "--out", tmp_path / "out", *named)[0] == 0
    expected = [POSES[0].copy() for _ in POSES]
    for number, pose in enumerate(expected):
        pose[:3, 3] += 0.1 * (number + 0.5) * np.array([1, 2, 3])
    assert_is_capture(tmp_path / "out", expected)


def test_compressed_images_and_depth_in_metres(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer, packed = BagWriter(tmp_path / "bag"), []
    for time, image, depth, pose in zip(times(), CAPTURE.images, DEPTHS, POSES):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG")
        packed.append(stream.getvalue())
        writer.info(time, "/rgb/camera_info", INTRINSICS, SIZE)
        writer.compressed(time, "/rgb/image/compressed", stream.getvalue(), "jpeg")
        writer.image(time, "/depth/image", depth.astype(np.float32) / 1000, "32FC1")
        writer.pose_stamped(time, "/pose", pose)
    assert run(capsys, writer.write(), "--out", tmp_path / "out")[0] == 0
    files = sorted((tmp_path / "out" / "color").iterdir())
    assert [file.read_bytes() for file in files] == packed
    stored = [np.array(Image.open(file)) for file in sorted((tmp_path / "out" / "depth").iterdir())]
    np.testing.assert_array_equal(stored, DEPTHS)


def test_sweeps_and_a_camera_become_a_lidar_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = BagWriter(tmp_path / "bag")
    camera_to_lidar = MOUNTED
    points = np.random.default_rng(0).uniform(-2, 2, (300, 4)).astype(np.float32)
    writer.transform(START, "/tf_static", "base", "lidar", np.eye(4))
    writer.transform(START, "/tf_static", "base", "left", camera_to_lidar)
    for time, image in zip(times(), CAPTURE.images):
        writer.info(time, "/left/camera_info", INTRINSICS, SIZE, "left")
        writer.image(time + 5_000_000, "/left/image_raw", image, "bgr8", "left")
        writer.cloud(time, "/points", points)
    code, told = run(capsys, writer.write(), "--out", tmp_path / "out", "--max-frames", 3)
    assert code == 0, told
    assert "next: labelfree check" in told
    scenes = open_scenes(tmp_path / "out" / "lidar.yaml")
    assert len(scenes) == 3
    np.testing.assert_array_equal(scenes[0].points_world, points[:, :3])
    np.testing.assert_array_equal(scenes[0].intensity, points[:, 3])
    (frame,) = scenes[0].frames
    np.testing.assert_allclose(frame.world_to_camera, np.linalg.inv(camera_to_lidar), atol=1e-9)
    np.testing.assert_array_equal(frame.load_image(), CAPTURE.images[0][:, :, ::-1])
    assert set(yaml.safe_load((tmp_path / "out" / "lidar.yaml").read_text())["cameras"]) == {"camera_0"}


def test_every_and_max_frames(mcap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, mcap, "--out", tmp_path / "out", "--every", 2)[0] == 0
    assert [f.name for f in open_scenes(tmp_path / "out")[0].frames] == [f"1700000000.{i}00000000" for i in (0, 2)]
    assert run(capsys, mcap, "--out", tmp_path / "few", "--max-frames", 1)[0] == 0
    assert len(open_scenes(tmp_path / "few")[0].frames) == 1


KILL = """
import os, sys
from labelfree.files import atomic
from labelfree.data.bags import folder
count, real = 0, atomic.os.replace
def replace(old, new):
    global count
    count += 1
    if count == {at}:
        os._exit(9)  # as by SIGKILL: nothing is cleaned up
    real(old, new)
atomic.os.replace = replace
from labelfree.cli.main import main
sys.exit(main({arguments!r}))
"""


def test_a_killed_import_resumes_to_the_same_files(
    mcap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(capsys, mcap, "--out", whole)[0] == 0
    arguments = ["import", "rosbag", str(mcap), "--out", str(killed)]
    done = subprocess.run([sys.executable, "-c", KILL.format(at=6, arguments=arguments)], capture_output=True)
    assert done.returncode == 9, done.stderr
    assert any(path.name.endswith(".tmp") for path in killed.rglob(".*"))
    before = {path: path.stat().st_mtime_ns for path in killed.glob("pose/*.txt")}
    assert run(capsys, mcap, "--out", killed)[0] == 0
    assert content(killed) == content(whole)
    assert {path: path.stat().st_mtime_ns for path in before} == before  # complete frames are not written again


def test_a_finished_import_is_not_read_again_unless_frames_are_gone(
    mcap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, mcap, "--out", tmp_path / "out")[0] == 0
    before = content(tmp_path / "out")
    code, told = run(capsys, mcap, "--out", tmp_path / "out")
    assert code == 0
    assert "import: " not in told
    next((tmp_path / "out" / "pose").iterdir()).unlink()
    assert run(capsys, mcap, "--out", tmp_path / "out")[0] == 0
    assert content(tmp_path / "out") == before


def test_the_folder_belongs_to_one_import(mcap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, mcap, "--out", tmp_path / "out")[0] == 0
    assert "with other settings; give another --out" in refused(capsys, mcap, "--out", tmp_path / "out", "--every", 2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "holds other files than an import" in refused(capsys, mcap, "--out", tmp_path / "mine")


def test_nothing_in_common_and_then_other_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = images_and(BagWriter(tmp_path / "bag"))
    for time, pose in zip(times(), POSES):
        writer.pose_stamped(time + 60 * 10**9, "/pose", pose)
    path = writer.write()
    said = refused(capsys, path, "--out", tmp_path / "out")
    assert f"no frame of {COLOUR} is complete within 0.02 s (4 lack a pose; poses are from 1700000060.0" in said
    assert run(capsys, path, "--out", tmp_path / "out", "--tolerance", 61)[0] == 0  # no frame was written before


def test_frames_without_a_counterpart_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = BagWriter(tmp_path / "bag")
    for number, (time, image, depth, pose) in enumerate(zip(times(), CAPTURE.images, DEPTHS, POSES)):
        writer.info(time, "/camera/color/camera_info", INTRINSICS, SIZE)
        writer.image(time, COLOUR, image, "rgb8")
        writer.image(time + (30_000_000 if number == 1 else 0), DEPTH, depth, "16UC1")
        if number > 2:
            writer.pose_stamped(time, "/pose", pose)
    code, told = run(capsys, writer.write(), "--out", tmp_path / "out")
    assert code == 0
    assert "1 frames are in" in told
    assert "left out: 2 without a pose, 1 without a depth map" in told


def test_the_box_is_where_it_was(mcap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Depth, intrinsics and poses together: pixels of the box land on the box."""
    assert run(capsys, mcap, "--out", tmp_path / "out")[0] == 0
    frame, labels = open_scenes(tmp_path / "out")[0].frames[1], CAPTURE.labels[1]
    depth_m = frame.load_depth_m()
    assert depth_m is not None
    rows, columns = np.nonzero(labels == 2)
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1) * depth_m[rows, columns, None]
    points = pixels @ np.linalg.inv(frame.intrinsics).T @ frame.camera_to_world[:3, :3].T + frame.camera_to_world[:3, 3]
    assert len(points) > 100
    assert ((points > BOX[0] - 0.01) & (points < BOX[1] + 0.01)).all()


def test_the_manual_lists_every_option() -> None:
    parser = argparse.ArgumentParser(prog="rosbag")
    add_arguments(parser)
    manual = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text(encoding="utf-8")
    options = [text for action in parser._actions for text in action.option_strings if text not in ("-h", "--help")]
    assert len(options) > 10
    assert [option for option in options if option not in manual] == []
