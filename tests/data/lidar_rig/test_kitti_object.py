"""KITTI's object benchmark by its folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.kitti_drive import ROOT, drive, object_benchmark
from labelfree.cli.main import main
from labelfree.data.collection import layout_of, open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.data.lidar_rig.description import read_rig
from labelfree.data.lidar_rig.kitti_object import KITTI_OBJECT, description
from labelfree.data.lidar_rig.semantic_kitti import SEMANTIC_KITTI

EXAMPLE = ROOT / "examples" / "kitti-object.yaml"


def test_the_shipped_description_is_the_example() -> None:
    assert description() == read_rig(EXAMPLE)


@pytest.mark.parametrize("inside", [".", "object", "object/training"])
def test_it_is_recognised_with_its_cameras(inside: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = object_benchmark(tmp_path / "object" / "training")
    assert layout_of(tmp_path / inside) is KITTI_OBJECT
    assert main(["prepare", str(tmp_path / inside)]) == 0
    said = capsys.readouterr().out
    assert "layout kitti-object" in said
    assert "2 sweeps of 7,481 published" in said
    assert "2 images" in said
    ours, described = open_scenes(tmp_path / inside), open_scenes(EXAMPLE, folder)
    assert ours.names == described.names
    np.testing.assert_array_equal(ours[1].frames[0].world_to_camera, described[1].frames[0].world_to_camera)


def test_both_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    object_benchmark(tmp_path / "training")
    shutil.rmtree(object_benchmark(tmp_path / "testing", sweeps=1) / "label_2")
    assert open_scenes(tmp_path).names == ("training_000000", "training_000001", "testing_000000")
    assert open_scenes(tmp_path, options=ReadOptions(split="testing")).names == ("000000",)
    assert main(["check", str(tmp_path), "--split", "val"]) == 2
    assert "--split is 'val'" in capsys.readouterr().err


def test_a_sequence_of_the_odometry_benchmark_is_none(tmp_path: Path) -> None:
    assert layout_of(drive(tmp_path / "00")) is SEMANTIC_KITTI


def test_what_is_absent_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(object_benchmark(tmp_path / "training") / "calib")
    assert main(["prepare", str(tmp_path)]) == 0
    assert "calib/000000.txt: is missing, camera 'image_2' is left out" in capsys.readouterr().out
