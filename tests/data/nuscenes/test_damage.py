"""Damaged nuScenes trees: one sentence with the file, or the scene left out by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from helpers.nuscenes_tables import rewrite
from labelfree.data.collection import open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.errors import InputError
from labelfree_lab.layouts.nuscenes import VERSION


def missing_table(tree: Path) -> None:
    (tree / VERSION / "ego_pose.json").unlink()


def cut_table(tree: Path) -> None:
    path = tree / VERSION / "sample_data.json"
    path.write_bytes(path.read_bytes()[:-400])


def twice(tree: Path) -> None:
    rewrite(tree, "sample_data", lambda rows: rows.append(dict(rows[0])))


def dangling(tree: Path) -> None:
    rewrite(tree, "sample_data", lambda rows: rows[3].update(ego_pose_token="0" * 32))


def circle(tree: Path) -> None:
    rewrite(tree, "sample", lambda rows: rows[2].update(next=rows[0]["token"]))


def short_chain(tree: Path) -> None:
    rewrite(tree, "sample", lambda rows: rows[1].update(next=""))


def no_token(tree: Path) -> None:
    rewrite(tree, "ego_pose", lambda rows: rows[0].pop("token"))


def bad_token(tree: Path) -> None:
    rewrite(tree, "ego_pose", lambda rows: rows[0].update(token="not-a-token"))


def bad_pose(tree: Path) -> None:
    rewrite(tree, "ego_pose", lambda rows: rows[0].update(rotation=[0, 0, 0, 0]))


def nan_pose(tree: Path) -> None:
    rewrite(tree, "ego_pose", lambda rows: rows[0].update(translation=[float("nan"), 0, 0]))


def nothing(tree: Path) -> None:
    rewrite(tree, "sample_data", lambda rows: rows.clear())


def text_for_a_number(tree: Path) -> None:
    rewrite(tree, "sample_data", lambda rows: rows[0].update(height="tall"))


def ragged(tree: Path) -> None:
    rewrite(tree, "calibrated_sensor", lambda rows: rows[1].update(camera_intrinsic=[[1, 2], [3]]))


def two_key_frames(tree: Path) -> None:
    rewrite(tree, "sample_data", lambda rows: rows.append(dict(rows[0], token="a" * 32)))


def no_field(tree: Path) -> None:
    rewrite(tree, "sample_data", lambda rows: rows[0].pop("filename"))


def no_sensor(tree: Path) -> None:
    rewrite(tree, "calibrated_sensor", lambda rows: rows[0].update(sensor_token="1" * 32))


def no_camera(tree: Path) -> None:
    rewrite(tree, "sample_data", lambda rows: rows.remove(next(r for r in rows if "CAM_BACK_" in r["filename"])))


def first(tree: Path, pattern: str) -> Path:
    return sorted(tree.glob(pattern))[0]


def cut_points(tree: Path) -> None:
    path = first(tree, "samples/LIDAR_TOP/*")
    path.write_bytes(path.read_bytes()[:-6])


def empty_points(tree: Path) -> None:
    first(tree, "samples/LIDAR_TOP/*").write_bytes(b"")


def no_points(tree: Path) -> None:
    first(tree, "samples/LIDAR_TOP/*").unlink()


def no_picture(tree: Path) -> None:
    first(tree, "samples/CAM_FRONT/*").unlink()


def other_picture(tree: Path) -> None:
    Image.new("RGB", (50, 20)).save(first(tree, "samples/CAM_FRONT/*"))


def no_labels(tree: Path) -> None:
    for path in tree.glob("lidarseg/*/*"):
        path.unlink()


def fewer_labels(tree: Path) -> None:
    for path in tree.glob("lidarseg/*/*"):
        path.write_bytes(path.read_bytes()[:-1])


def strange_labels(tree: Path) -> None:
    for path in tree.glob("lidarseg/*/*"):
        path.write_bytes(b"\xc8" * len(path.read_bytes()))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (missing_table, r"ego_pose\.json: this table is missing"),
        (cut_table, r"sample_data\.json: ends with .* instead of '\]'"),
        (twice, r"sample_data\.json: token \w{32} appears twice"),
        (dangling, r"sample_data\.json: refers to 0{32}, which ego_pose\.json does not have"),
        (circle, r"sample\.json: the 'next' chain of scene street-0000 returns to"),
        (short_chain, r"sample\.json: scene street-0000 has 2 samples, scene\.json states 3"),
        (no_token, r"ego_pose\.json: has a row without a token"),
        (bad_token, r"ego_pose\.json: token 'not-a-token' is not 32 hexadecimal digits"),
        (bad_pose, r"ego_pose\.json: row \w{32} has the pose"),
        (nan_pose, r"ego_pose\.json: row \w{32} has no pose in numbers \(nan is no finite number\)"),
        (nothing, r"sample_data\.json: holds no rows"),
        (text_for_a_number, r"sample_data\.json: a row lacks a valid value:"),
        (ragged, r"calibrated_sensor\.json: row \w{32} has intrinsics that are no 3 x 3 numbers"),
        (two_key_frames, r"sample_data\.json: a sensor has two key frames at one sample"),
        (no_field, r"sample_data\.json: a row lacks a valid value: 'filename'"),
        (no_sensor, r"calibrated_sensor\.json: refers to sensor '1{32}'"),
        (no_camera, r"sample_data\.json: sample \w{32} has no key frame of CAM_BACK"),
        (cut_points, r"\.pcd\.bin: \d+ bytes are not a whole number of points of 5 float32"),
        (empty_points, r"\.pcd\.bin: is empty"),
        (no_points, r"\.pcd\.bin: the LiDAR's file .*is missing"),
        (no_picture, r"CAM_FRONT.*\.jpg: the image of street-0000-000 is missing"),
        (other_picture, r"\.jpg: is 50x20 pixels, sample_data\.json says 78x42"),
        (no_labels, r"_lidarseg\.bin: lidarseg's labels of street-0000-000 are missing"),
        (fewer_labels, r"_lidarseg\.bin: holds \d+ labels for \d+ points"),
        (strange_labels, r"_lidarseg\.bin: label 200 is not one of lidarseg's ids"),
    ],
)
def test_damage_is_one_sentence_with_the_file(damage: Callable[[Path], None], words: str, tree: Path) -> None:
    damage(tree)

    def read() -> None:
        source = open_scenes(tree).sources[0]
        for fault in source.faults():
            raise InputError(fault)
        source.build()

    with pytest.raises(InputError, match=words) as caught:
        read()
    assert str(tree) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_broken_key_frames_are_left_out_by_name(tree: Path) -> None:
    no_picture(tree)
    scenes = open_scenes(tree, options=ReadOptions(skip_broken=True))
    assert len(scenes) == 5
    assert any("street-0000-000" in note for note in scenes.notes)
