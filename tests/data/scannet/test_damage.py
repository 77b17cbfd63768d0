"""Damaged ScanNet trees: one sentence with the file."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.scannet_tree import by_segments, frames, scan
from labelfree.data.collection import open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.data.scannet.labels import TSV
from labelfree.data.scannet.sens import open_sens
from labelfree.errors import InputError


def cut_sens(tree: Path) -> None:
    shutil.rmtree(tree / "scannet_frames_25k")
    path = scan(tree, ".sens")
    path.write_bytes(path.read_bytes()[:-50])


def garbled_sens(tree: Path) -> None:
    shutil.rmtree(tree / "scannet_frames_25k")
    scan(tree, ".sens").write_bytes(b"\x00" * 500)


def no_sens(tree: Path) -> None:
    shutil.rmtree(tree / "scannet_frames_25k")
    scan(tree, ".sens").unlink()


def no_mesh(tree: Path) -> None:
    scan(tree, "_vh_clean_2.ply").unlink()


def other_mesh(tree: Path) -> None:
    shutil.copy(tree / "scans" / "scene0001_00" / "scene0001_00_vh_clean_2.ply", scan(tree, "_vh_clean_2.ply"))


def short_segments(tree: Path) -> None:
    by_segments(tree)
    path = scan(tree, "_vh_clean_2.0.010000.segs.json")
    path.write_text(json.dumps({"segIndices": json.loads(path.read_text())["segIndices"][:-1]}))


def huge_segments(tree: Path) -> None:
    by_segments(tree)
    path = scan(tree, "_vh_clean_2.0.010000.segs.json")
    path.write_text(json.dumps({"segIndices": [1 << 60, *json.loads(path.read_text())["segIndices"][1:]]}))


def infinite_group(tree: Path) -> None:
    by_segments(tree)
    path = scan(tree, ".aggregation.json")
    data = json.loads(path.read_text())
    data["segGroups"][0]["segments"][0] = float("inf")
    path.write_text(json.dumps(data))


def strange_group(tree: Path) -> None:
    by_segments(tree)
    path = scan(tree, ".aggregation.json")
    path.write_text(path.read_text().replace('"wall"', '"spaceship"'))


def garbled_tsv(tree: Path) -> None:
    by_segments(tree)
    (tree / TSV).write_text("id\tname\n1\twall\n")


def not_json(tree: Path) -> None:
    by_segments(tree)
    scan(tree, ".aggregation.json").write_text("{")


def bad_pose(tree: Path) -> None:
    frames(tree, "pose/000100.txt").write_text("1 0 0\n")


def no_pose(tree: Path) -> None:
    frames(tree, "pose/000100.txt").unlink()


def no_depth(tree: Path) -> None:
    frames(tree, "depth/000100.png").unlink()


def no_intrinsics(tree: Path) -> None:
    frames(tree, "intrinsics_depth.txt").unlink()
    frames(tree, "intrinsics_color.txt").unlink()
    scan(tree, ".txt").unlink()


def nothing_found(tree: Path) -> None:
    for path in frames(tree, "pose").iterdir():
        path.write_text("-inf " * 16)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut_sens, r"\.sens: ends inside frame 2 of 3"),
        (garbled_sens, r"\.sens: is not a \.sens file of version 4"),
        (no_sens, r"has neither scene0000_00\.sens nor frames, in scannet_frames_25k"),
        (no_mesh, r"_vh_clean_2\.ply: is missing"),
        (other_mesh, r"labels\.ply: has \d+ vertices, the mesh \d+"),
        (short_segments, r"segs\.json: has \d+ vertices, the mesh \d+"),
        (huge_segments, r"segs\.json: segIndices is missing or invalid \(\[1152921504606846976.* no whole number"),
        (infinite_group, r"aggregation\.json: a key is missing or invalid \(\[inf.* no whole number"),
        (strange_group, r"aggregation\.json: object label 'spaceship' is not in"),
        (garbled_tsv, r"combined\.tsv: is not ScanNet's label file"),
        (not_json, r"aggregation\.json: is not JSON"),
        (bad_pose, r"000100\.txt: 3 values, but a pose has 16"),
        (no_pose, r"000100\.txt: no such file"),
        (no_depth, r"000100\.png: is missing"),
        (no_intrinsics, r"intrinsics_depth\.txt: is missing"),
        (nothing_found, r"none of the selected frames has a finite pose"),
    ],
)
def test_damage_is_one_sentence_with_the_file(damage: Callable[[Path], None], words: str, tree: Path) -> None:
    damage(tree)
    (fault,) = open_scenes(tree).sources[0].faults()
    with pytest.raises(InputError, match=words):
        raise InputError(fault)
    assert str(tree) in fault
    assert "\n" not in fault


def test_strange_pixel_labels_are_named_when_read(by_sens: Path) -> None:
    path = scan(by_sens, "_2d-label-filt.zip")
    with zipfile.ZipFile(path, "w") as archive, archive.open("label-filt/0.png", "w") as file:
        Image.fromarray(np.full((4, 4), 4000, np.uint16)).save(file, format="PNG")
    frame = open_scenes(by_sens)[0].frames[0]
    with pytest.raises(InputError, match=r"label-filt/0\.png: label 4000 is not a ScanNet id"):
        frame.load_labels()


def test_garbage_inside_a_sens_file_is_named_with_its_frame(by_sens: Path) -> None:
    path = scan(by_sens, ".sens")
    sens = open_sens(path)
    data = bytearray(path.read_bytes())
    for start, length in (sens.frames[1].colour, sens.frames[2].depth):
        data[start : start + length] = b"\x00" * length
    path.write_bytes(bytes(data))
    scene = open_scenes(by_sens, options=ReadOptions(every=1))[0]
    with pytest.raises(InputError, match=r"\.sens, frame 1: cannot be read as an image"):
        scene.frames[1].load_image()
    with pytest.raises(InputError, match=r"\.sens, depth of frame 2: its depth cannot be unpacked"):
        scene.frames[2].load_depth_m()
