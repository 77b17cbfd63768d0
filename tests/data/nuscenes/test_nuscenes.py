"""nuScenes read without the devkit: a real key frame, and streets of the lab in the genuine layout."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.steep_camera import steep_rotation
from labelfree.data.checking.check import check_collection
from labelfree.data.collection import open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.data.nuscenes.index import CAMERAS, build_index
from labelfree.data.nuscenes.layout import NUSCENES
from labelfree.data.nuscenes.lidarseg import MERGED, RAW_IDS
from labelfree.data.nuscenes.metadata import table_rows
from labelfree.data.nuscenes.reader import EarlierSweeps, KeyFrameSource, sweep_points
from labelfree.data.nuscenes.splits import split_scenes
from labelfree.data.poses import quaternion_rotation, rotation_quaternion
from labelfree.errors import InputError
from labelfree.vocabulary import Vocabulary
from labelfree_lab.layouts.nuscenes import VERSION
from labelfree_lab.streets.route import DriveSize, street_drive

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "nuscenes-keyframe"
SIZE = DriveSize(key_frames=3, image_size=(42, 78), azimuths=90)


def turned(q: list[float], p: list[float]) -> list[float]:
    """Rotate a point by a quaternion w x y z with plain arithmetic: p + 2 w (v x p) + 2 v x (v x p)."""

    def cross(a: list[float], b: list[float]) -> list[float]:
        return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]

    length = math.sqrt(sum(part * part for part in q))
    w, v = q[0] / length, [part / length for part in q[1:]]
    first = cross(v, p)
    second = cross(v, first)
    return [p[i] + 2 * w * first[i] + 2 * second[i] for i in range(3)]


@cache
def tables_of(root: Path, version: str) -> dict[str, list[dict[str, Any]]]:
    names = ("sample", "sample_data", "ego_pose", "calibrated_sensor", "sensor")
    return {name: json.loads((root / version / f"{name}.json").read_text()) for name in names}


@cache
def rows_by_token(root: Path, version: str) -> dict[str, dict[str, dict[str, Any]]]:
    return {name: {row["token"]: row for row in rows} for name, rows in tables_of(root, version).items()}


@cache
def mounted_and_ego(root: Path, version: str, wanted: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return calibration and vehicle pose of a sensor's key frame of the first sample."""
    tables, by_token = tables_of(root, version), rows_by_token(root, version)
    for row in tables["sample_data"]:
        mounted = by_token["calibrated_sensor"][row["calibrated_sensor_token"]]
        sensor = by_token["sensor"][mounted["sensor_token"]]["channel"]
        if row["is_key_frame"] and row["sample_token"] == tables["sample"][0]["token"] and sensor == wanted:
            return mounted, by_token["ego_pose"][row["ego_pose_token"]]
    raise AssertionError(wanted)


def pixel_by_the_book(root: Path, version: str, channel: str, point: list[float]) -> tuple[float, float, float]:
    """Take one LiDAR point of the first sample to a camera's pixel in the devkit's four steps, row by row."""
    for step in mounted_and_ego(root, version, "LIDAR_TOP"):
        point = [a + b for a, b in zip(turned(step["rotation"], point), step["translation"])]
    mounted, ego = mounted_and_ego(root, version, channel)
    for step in (ego, mounted):
        w, x, y, z = step["rotation"]
        point = turned([w, -x, -y, -z], [a - b for a, b in zip(point, step["translation"])])
    image = [sum(row[i] * point[i] for i in range(3)) for row in mounted["camera_intrinsic"]]
    return image[0] / image[2], image[1] / image[2], point[2]


def assert_projects_by_the_book(root: Path, version: str) -> None:
    index = build_index(root, version)
    source = KeyFrameSource(index, 0)
    scene = source.build()
    stored = np.fromfile(index.file(index.reading(0, index.lidar)), np.float32).reshape(-1, 5)
    compared = 0
    for channel, frame in zip(CAMERAS, scene.frames):
        assert frame.name == channel.lower()
        own = scene.points_world @ frame.world_to_camera[:3, :3].T + frame.world_to_camera[:3, 3]
        ahead = np.flatnonzero(own[:, 2] > 1)
        for row in ahead[:: max(1, len(ahead) // 20)]:
            u, v, depth = pixel_by_the_book(root, version, channel, [float(value) for value in stored[row, :3]])
            image = frame.intrinsics @ own[row]
            assert image[0] / image[2] == pytest.approx(u, abs=0.1)
            assert image[1] / image[2] == pytest.approx(v, abs=0.1)
            assert own[row, 2] == pytest.approx(depth, abs=1e-3)
            compared += 1
    assert compared > 100


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/nuscenes-keyframe is not here")
def test_a_real_key_frame() -> None:
    scenes = open_scenes(REAL)
    assert scenes.names == ("scene-0061-000",)
    scene = scenes[0]
    assert len(scene) == 34688
    assert [frame.size for frame in scene.frames] == [(900, 1600)] * 6
    assert scene.intensity is not None
    assert scene.intensity.max() > 50
    assert scene.labels is None
    assert "without lidarseg" in scenes.notes[0]
    road = scene.points_world[np.linalg.norm(scene.points_world[:, :2], axis=1) < 12]
    assert abs(np.median(road[:, 2])) < 0.4  # the vehicle's frame stands on the road
    assert check_collection(scenes)[0].problems == ()
    assert_projects_by_the_book(REAL, "v1.0-mini")


def test_a_street_comes_back_as_it_was(written: Path) -> None:
    scenes = open_scenes(written)
    assert scenes.names == tuple(f"street-000{d}-00{k}" for d in range(2) for k in range(3))
    assert scenes.classes == Vocabulary.parse("nuscenes16").names
    drive = street_drive(5, 1, SIZE)
    key = list(drive)[2]
    scene = scenes[5]
    ego = key.sweep.points @ drive.rig.lidar_to_ego[:3, :3].T + drive.rig.lidar_to_ego[:3, 3]
    np.testing.assert_allclose(scene.points_world, ego, atol=1e-4)
    assert scene.labels is not None
    assert np.array_equal(scene.labels, key.sweep.classes)
    assert scene.intensity is not None
    assert np.array_equal(scene.intensity, key.sweep.intensity)
    for frame, picture in zip(scene.frames, key.pictures):
        expected = np.linalg.inv(picture.ego_to_global @ picture.camera.camera_to_ego) @ key.sweep.ego_to_global
        np.testing.assert_allclose(frame.world_to_camera, expected, atol=1e-6)
        assert np.abs(frame.load_image().astype(int) - picture.image).mean() < 12  # JPEG
    assert_projects_by_the_book(written, VERSION)


def test_z_is_up_even_if_every_camera_looks_down(tree: Path) -> None:
    path = tree / VERSION / "calibrated_sensor.json"
    sensors = json.loads(path.read_text())
    for sensor in sensors:
        if sensor["camera_intrinsic"]:
            sensor["rotation"] = [float(value) for value in rotation_quaternion(steep_rotation().T)]
    path.write_text(json.dumps(sensors))
    scene = open_scenes(tree)[0]
    assert replace(scene, z_up=False).up_world().tolist() == [0, 1, 0]
    assert scene.up_world().tolist() == [0, 0, 1]


def test_sweeps_between_key_frames(written: Path) -> None:
    index = build_index(written, VERSION)
    assert [row for row, _ in sweep_points(index, 0)] == [index.reading(0, index.lidar)]
    assert [row for row, _ in sweep_points(index, 3)] == [index.reading(3, index.lidar)]  # the second drive's first
    rows = [row for row, _ in sweep_points(index, 1)]
    assert len(rows) == 2
    times = index.arrays.data_time[rows]
    assert times[0] < times[1] == index.arrays.data_time[index.reading(1, index.lidar)]
    (_, before), (_, key) = sweep_points(index, 1)
    sweeps = KeyFrameSource(index, 1).build().sweeps
    assert sweeps is not None
    (loaded,) = sweeps.load(5)
    assert np.array_equal(loaded, before[:, :4])
    assert sweeps.load(0) == EarlierSweeps(index, 0).load(5) == ()
    scene = KeyFrameSource(index, 1).build()
    np.testing.assert_allclose(key[:, :3], scene.points_world, atol=1e-4)
    assert abs(np.median(before[:, 2]) - np.median(key[:, 2])) < 0.5


def test_splits(written: Path) -> None:
    assert open_scenes(written, options=ReadOptions(split="val")).names[0] == "street-0001-000"
    assert len(open_scenes(written, options=ReadOptions(split="train"))) == 3
    assert open_scenes(written, options=ReadOptions(every=2)).names[:2] == ("street-0000-000", "street-0000-002")
    assert len(open_scenes(written, options=ReadOptions(limit=1))) == 2
    with pytest.raises(InputError, match=r"none of the 2 scenes of v1\.0-trainval is in split 'test'"):
        open_scenes(written, options=ReadOptions(split="test"))
    with pytest.raises(InputError, match="--split is 'trian': nuScenes has train, val"):
        open_scenes(written, options=ReadOptions(split="trian"))


def test_published_splits(tmp_path: Path) -> None:
    sizes = {
        name: len(split_scenes(tmp_path, name))
        for name in ("train", "val", "test", "mini_train", "mini_val", "verifying", "parametrizing")
    }
    assert list(sizes.values()) == [700, 150, 150, 8, 2, 100, 600]
    train, val, test = (split_scenes(tmp_path, name) for name in ("train", "val", "test"))
    assert not train & val
    assert not train & test
    assert not val & test
    assert split_scenes(tmp_path, "parametrizing") | split_scenes(tmp_path, "verifying") == train
    assert split_scenes(tmp_path, "mini_val") <= val


def test_lidarsegs_classes() -> None:
    assert tuple(MERGED) == Vocabulary.parse("nuscenes16").names
    assert {name for names in MERGED.values() for name in names} < set(RAW_IDS)
    assert list(RAW_IDS.values()) == list(range(32))


def test_the_index_is_kept_and_mapped(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("labelfree.data.nuscenes.index.CACHED_FROM_BYTES", 0)
    first = open_scenes(written)[1]

    def never(*_: Any) -> None:
        raise AssertionError("the tables were read again")

    monkeypatch.setattr("labelfree.data.nuscenes.index.build_index", never)
    source = open_scenes(written).sources[1]
    assert isinstance(source, KeyFrameSource)
    assert isinstance(source.index.arrays.data_time, np.memmap)
    assert np.array_equal(source.build().points_world, first.points_world)
    path = written / VERSION / "ego_pose.json"
    before = path.stat().st_mtime_ns
    try:
        os.utime(path, ns=(before + 10**9, before + 10**9))
        with pytest.raises(AssertionError, match="read again"):
            open_scenes(written)
    finally:
        os.utime(path, ns=(before, before))


@pytest.mark.parametrize("chunk", [64, 1000, 1 << 20])
def test_tables_are_streamed_whatever_the_chunk(written: Path, chunk: int) -> None:
    for name in ("ego_pose", "calibrated_sensor", "category", "attribute"):
        path = written / VERSION / f"{name}.json"
        assert [row for rows in table_rows(path, chunk) for row in rows] == json.loads(path.read_text())


@pytest.mark.parametrize("matrix", range(8))
def test_quaternions(matrix: int) -> None:
    random = np.random.default_rng(matrix)
    given = random.standard_normal(4)
    given[: matrix % 4] = 0
    rotation = quaternion_rotation(given)
    np.testing.assert_allclose(quaternion_rotation(rotation_quaternion(rotation)), rotation, atol=1e-12)


def test_survey(written: Path, tree: Path) -> None:
    survey = NUSCENES.survey(written, None, ReadOptions(), lambda done, total: None)
    assert survey.problems == ()
    assert [(count.found, count.official) for count in survey.counts] == [(2, 850), (6, 34149), (46, 2631083)]
    assert survey.frames == 36
    next((tree / "samples" / "CAM_BACK").iterdir()).unlink()
    assert len(NUSCENES.survey(tree, None, ReadOptions(), lambda done, total: None).problems) == 1
