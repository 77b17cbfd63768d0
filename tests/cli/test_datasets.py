"""From a dataset's own files to measured networks, through the verbs: what a user types, in miniature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.small_recipe import FAST_TEACHERS, NARROW
from labelfree.cli.main import main
from labelfree_lab.layouts.nuimages import write_nuimages
from labelfree_lab.layouts.nuscenes import write_nuscenes
from labelfree_lab.streets.route import DriveSize

TINY = ("--train.epochs=1", "--train.images_per_scene=2", "--labels.image_size=[48,64]", *FAST_TEACHERS, *NARROW)
STREET = DriveSize(key_frames=1, image_size=(48, 88), azimuths=90)


def test_scannet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "scannet"
    assert main(["lab", "write", "--layout", "scannet", "--out", str(data), "--scenes", "2", "--views", "2"]) == 0
    assert main(["prepare", str(data), "--measure", "1", "--recipe", "quick", *TINY]) == 0
    said = capsys.readouterr().out
    assert "2 scans of 1,613 published" in said
    assert "s per image on this machine" in said
    assert "sound; next: labelfree label" in said
    run = str(tmp_path / "runs" / "a")
    assert main(["label", str(data), "--split", "train", "--out", str(tmp_path / "labels"), *TINY]) == 0
    assert len(list((tmp_path / "labels" / "scene0000_00" / "clip").glob("*.png"))) == 2
    assert main(["train", str(data), "--split", "train", "--out", run, *TINY]) == 0
    assert main(["evaluate", run, str(data), "--split", "val"]) == 0
    said = capsys.readouterr().out
    assert "\n2D\n" in said
    assert "\n3D\n" in said
    (data / "scans" / "scene0001_00" / "scene0001_00_vh_clean_2.ply").unlink()
    assert main(["prepare", str(data)]) == 2
    assert "problem: " in capsys.readouterr().out
    assert main(["evaluate", run, str(data), "--split", "val"]) == 0  # fused from depth instead


def test_nuscenes_and_then_nuimages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, pictures, run = tmp_path / "nuscenes", tmp_path / "nuimages", str(tmp_path / "runs" / "b")
    write_nuscenes(data, 1, 2, STREET)
    write_nuimages(pictures, 1, 2, STREET)
    assert main(["prepare", str(data), "--recipe", "nuscenes"]) == 0
    said = capsys.readouterr().out
    assert "2 key frames of 34,149 published" in said
    assert "kept frames (labels.keep_frames) about 0.0 GiB more" in said
    settings = ("--networks.net_3d.voxel_m=0.3", "--labels.keep_frames=true", *TINY)
    assert main(["train", str(data), "--split", "train", "--out", run, *settings]) == 0
    assert len(list((tmp_path / "runs" / "cache").glob("frames-*/*.frame"))) == 6
    assert main(["evaluate", run, str(data), "--split", "val", "--networks-only"]) == 0
    assert "\n3D\n" in capsys.readouterr().out
    assert main(["prepare", str(pictures), "--split", "val"]) == 0
    assert main(["evaluate", run, str(pictures), "--split", "val", "--networks-only"]) == 0
    said = capsys.readouterr().out
    assert "\n2D\n" in said
    assert "\n3D\n" not in said
    assert main(["predict", run, str(pictures), "--split", "val", "--limit", "1", "--out", str(tmp_path / "seen")]) == 0
    clouds = tmp_path / "clouds" / "08"
    for name, values in (
        ("velodyne/0.bin", np.ones((9, 4), np.float32)),
        ("labels/0.label", np.full(9, 10, np.uint32)),
    ):
        (clouds / name).parent.mkdir(parents=True)
        values.tofile(clouds / name)
    assert main(["evaluate", run, str(clouds)]) == 0
    assert "has no images" in capsys.readouterr().out
    taken = tmp_path / "submission"
    assert main(["predict", run, str(data), "--split", "val", "--submission", "--out", str(taken)]) == 0
    assert len(list(taken.glob("lidarseg/val/*_lidarseg.bin"))) == 1
    assert main(["predict", run, str(pictures), "--split", "val", "--submission", "--out", str(taken)]) == 2
    assert "--submission is for points" in capsys.readouterr().err
    assert main(["train", str(pictures), "--split", "val", "--out", str(tmp_path / "no")]) == 2
    assert "has images but no points" in capsys.readouterr().err


def test_captures_are_prepared_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "--out", str(tmp_path), "--rooms", "1", "--held-out", "1", "--views", "2"]) == 0
    assert main(["prepare", str(tmp_path / "train")]) == 0
    said = capsys.readouterr().out
    assert "1 scenes" in said
    assert "2 images" in said
