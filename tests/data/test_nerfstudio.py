"""Captures with transforms.json: a lab room written as nerfstudio's exporters write it comes back as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.nerfstudio_capture import CAMERAS, DEPTH_SIZE, write
from labelfree.data.checking.check import check_collection
from labelfree.data.collection import open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.data.nerfstudio.layout import NERFSTUDIO
from labelfree.data.ply import write_ply
from labelfree.errors import InputError


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads((folder / "transforms.json").read_text())
    change(data)
    (folder / "transforms.json").write_text(json.dumps(data))


def test_axes_size_and_order(tmp_path: Path) -> None:
    write(tmp_path / "office")
    scenes = open_scenes(tmp_path / "office")
    assert scenes.names == ("office",)
    scene = scenes[0]
    assert [frame.name for frame in scene.frames] == [f"frame_{i:05d}" for i in range(4)]
    for frame, camera in zip(scene.frames, CAMERAS):
        np.testing.assert_allclose(frame.world_to_camera, camera.world_to_camera, atol=1e-9)
        assert frame.size == DEPTH_SIZE
        np.testing.assert_allclose(frame.intrinsics[:2], camera.intrinsics[:2] / 2)
    assert 1.0 < np.ptp(scene.points_world, axis=0).max() < 15.0


def test_the_check_finds_it_sound(tmp_path: Path) -> None:
    write(tmp_path)
    (report,) = check_collection(open_scenes(tmp_path))
    assert report.problems == ()


def test_an_applied_scale_is_undone(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", scale=0.25)
    plain, scaled = open_scenes(tmp_path)
    np.testing.assert_allclose(plain.frames[2].world_to_camera, scaled.frames[2].world_to_camera, atol=1e-9)
    assert len(plain) == len(scaled)


def test_a_cloud_is_taken_with_its_scale(tmp_path: Path) -> None:
    write(tmp_path, scale=0.25, depth=False)
    points = np.random.default_rng(0).uniform(0, 1, (500, 3)).astype(np.float32)
    write_ply(tmp_path / "cloud.ply", points, None)
    rewrite(tmp_path, lambda data: data.update(ply_file_path="cloud.ply"))
    scene = open_scenes(tmp_path)[0]
    np.testing.assert_allclose(scene.points_world, points * 4, rtol=1e-6)
    assert scene.frames[0].depth is None
    assert scene.frames[0].size == (48, 64)


def test_depth_as_an_array_of_metres(tmp_path: Path) -> None:
    write(tmp_path)
    stored = np.array(Image.open(tmp_path / "depth" / "frame_00000.png")) / 1000
    np.save(tmp_path / "depth" / "frame_00000.npy", stored.astype(np.float32))

    def take(data: dict[str, Any]) -> None:
        data["frames"][-1]["depth_file_path"] = "depth/frame_00000.npy"

    rewrite(tmp_path, take)
    loaded = open_scenes(tmp_path)[0].frames[0].load_depth_m()
    assert loaded is not None
    np.testing.assert_allclose(loaded, stored, rtol=1e-6)


def test_a_focal_length_out_of_an_angle_and_names_without_suffix(tmp_path: Path) -> None:
    data = write(tmp_path)

    def blender(stored: dict[str, Any]) -> None:
        for key in ("fl_x", "fl_y", "cx", "cy", "w", "h"):
            del stored[key]
        stored["camera_angle_x"] = 2 * np.arctan(32 / data["fl_x"])
        for entry in stored["frames"]:
            entry["file_path"] = "./" + entry["file_path"].removesuffix(".png")

    rewrite(tmp_path, blender)
    frame = open_scenes(tmp_path)[0].frames[0]
    assert frame.intrinsics[0, 0] == pytest.approx(data["fl_x"] / 2)
    assert frame.intrinsics[0, 2] == 16


def test_every_and_limit(tmp_path: Path) -> None:
    write(tmp_path)
    scene = open_scenes(tmp_path, options=ReadOptions(every=2, limit=1))[0]
    assert [frame.name for frame in scene.frames] == ["frame_00000"]


def test_distortion_is_said(tmp_path: Path) -> None:
    write(tmp_path)
    rewrite(tmp_path, lambda data: data.update(k1=-0.2))
    assert "ignored: undistort the images first" in open_scenes(tmp_path).notes[0]


def test_survey_counts_and_names_what_is_missing(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b")
    (tmp_path / "b" / "images" / "frame_00001.png").unlink()
    seen: list[tuple[int, int]] = []
    survey = NERFSTUDIO.survey(tmp_path, None, ReadOptions(), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    assert [(count.what, count.found) for count in survey.counts] == [("captures", 2), ("images", 4)]
    assert len(survey.problems) == 1
    assert "frame_00001.png" in survey.problems[0]


def no_poses(data: dict[str, Any]) -> None:
    del data["frames"][0]["transform_matrix"]


def not_finite(data: dict[str, Any]) -> None:
    data["frames"][0]["transform_matrix"][0][0] = float("nan")


def sheared(data: dict[str, Any]) -> None:
    data["frames"][0]["transform_matrix"][0][0] = 3.0


def no_depth(data: dict[str, Any]) -> None:
    for entry in data["frames"]:
        del entry["depth_file_path"]


def twice(data: dict[str, Any]) -> None:
    data["frames"][0]["file_path"] = data["frames"][1]["file_path"]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_poses, r"'frame_00003' has no 'transform_matrix'"),
        (not_finite, r"'frame_00003' has no 'transform_matrix' of numbers"),
        (sheared, r"rotation of its pose is off"),
        (no_depth, r"neither 'depth_file_path' nor 'ply_file_path'"),
        (twice, r"appears twice"),
        (lambda data: data.update(frames=[]), r"has no list 'frames'"),
        (lambda data: data.pop("fl_x"), r"neither 'fl_x' nor 'camera_angle_x'"),
        (lambda data: data.update(h=64), r"another shape"),
        (lambda data: data.update(applied_scale=0), r"applied_scale is 0"),
        (lambda data: data.update(camera_model="OPENCV_FISHEYE"), r"camera_model is 'OPENCV_FISHEYE'"),
        (lambda data: data["frames"][1].update(depth_file_path="depth/none.png"), r"none\.png: .* is missing"),
    ],
)
def test_damage_is_one_sentence_with_the_file(
    damage: Callable[[dict[str, Any]], None], words: str, tmp_path: Path
) -> None:
    write(tmp_path)
    rewrite(tmp_path, damage)
    scenes = open_scenes(tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        scenes[0]
    assert str(tmp_path) in str(caught.value)
    assert any(str(tmp_path) in fault for fault in scenes.sources[0].faults())


def test_no_json(tmp_path: Path) -> None:
    (tmp_path / "transforms.json").write_text('{"frames": [')
    with pytest.raises(InputError, match=r"transforms\.json: is not JSON"):
        open_scenes(tmp_path)[0]
