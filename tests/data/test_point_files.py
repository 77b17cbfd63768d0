"""Clouds of every format wherever a PLY cloud can be given: captures, nerfstudio captures and sweeps of a rig."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.nerfstudio_capture import write as write_capture
from labelfree.data.collection import open_scenes
from labelfree.data.lidar_rig.description import RigDescription
from labelfree.data.lidar_rig.sweeps import read_sweep
from labelfree.data.ply import read_ply
from labelfree.data.point_cloud import PointCloud
from labelfree.data.point_files import POINT_FORMATS, read_points, write_points
from labelfree.errors import InputError

OTHERS = [name for name in POINT_FORMATS if name != "ply"]


def need(kind: str) -> None:
    if kind in ("las", "laz"):
        pytest.importorskip("lazrs")


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("stated", [False, True])
def test_a_capture(room: Path, tmp_path: Path, kind: str, stated: bool) -> None:
    need(kind)
    capture = tmp_path / "room"
    shutil.copytree(room, capture)
    expected = open_scenes(capture)[0]
    name = f"scan.{kind}" if stated else f"cloud.{kind}"
    write_points(capture / name, read_ply(capture / "cloud.ply"))
    (capture / "cloud.ply").unlink()
    path = capture
    if stated:
        path = tmp_path / "capture.yaml"
        path.write_text(f"root: room\ncloud: {name}\n")
    scenes = open_scenes(path)
    np.testing.assert_allclose(scenes[0].points_world, expected.points_world, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(scenes[0].colours, expected.colours)
    np.testing.assert_array_equal(scenes[0].labels, expected.labels)
    assert scenes.sources[0].faults() == ()
    content = (capture / name).read_bytes()
    (capture / name).write_bytes(content[: len(content) // 2])
    (fault,) = open_scenes(path).sources[0].faults()
    assert name in fault


@pytest.mark.parametrize("kind", OTHERS)
def test_a_nerfstudio_capture(tmp_path: Path, kind: str) -> None:
    need(kind)
    root = tmp_path / "scan"
    stated = write_capture(root)
    points = np.random.default_rng(0).uniform(0, 5, (40, 3)).astype(np.float32)
    write_points(root / f"sparse.{kind}", PointCloud(points))
    (root / "transforms.json").write_text(json.dumps(stated | {"ply_file_path": f"sparse.{kind}"}))
    scenes = open_scenes(root)
    assert len(scenes[0]) == 40
    assert scenes.sources[0].faults() == ()


@pytest.mark.parametrize("kind", POINT_FORMATS)
def test_a_sweep(tmp_path: Path, kind: str) -> None:
    need(kind)
    points = np.random.default_rng(0).uniform(1, 5, (40, 3)).astype(np.float32)
    cloud = PointCloud(points, intensity=np.arange(40, dtype=np.float32))
    if kind == "ply":
        cloud = replace(cloud, intensity=None)  # write_ply has no intensity
    write_points(tmp_path / f"0.{kind}", cloud)
    sweep = read_sweep(tmp_path / f"0.{kind}", RigDescription("*", ()))
    np.testing.assert_allclose(sweep.points, points, rtol=0, atol=1e-4)
    if kind != "ply":
        np.testing.assert_array_equal(sweep.intensity, np.arange(40))


def test_other_names_are_read_as_ply_and_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'\.xyz' is no format of point clouds; use \.ply, \.las, \.laz, \.pcd"):
        write_points(tmp_path / "c.xyz", PointCloud(np.zeros((1, 3), np.float32)))
    (tmp_path / "c.xyz").write_text("0 0 0\n")
    with pytest.raises(InputError, match="not a PLY file"):
        read_points(tmp_path / "c.xyz")
