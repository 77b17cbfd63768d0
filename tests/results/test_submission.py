"""Labels of points as benchmarks take them: names, ids, order, what is left unlabelled, what has no benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from labelfree.data.collection import open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.errors import DataWarning, InputError
from labelfree.prediction import Prediction
from labelfree.results.submission import save_submission
from labelfree.scene import Scene
from labelfree.vocabulary import Vocabulary
from labelfree_lab.layouts.nuimages import write_nuimages
from labelfree_lab.layouts.nuscenes import write_nuscenes
from labelfree_lab.layouts.scannet import write_scannet
from labelfree_lab.streets.route import DriveSize

SMALL = DriveSize(key_frames=1, image_size=(24, 40), azimuths=60)
KITTI_IDS = {"car": 10, "road": 40, "building": 50}


def in_turn(classes: Vocabulary, scene: Scene) -> Prediction:
    """Label the points 0, 1, 2, ... and begin again."""
    return Prediction((np.arange(len(scene)) % len(classes)).astype(np.uint8), classes, name=scene.name)


def test_scannet_takes_nyu40_ids(tmp_path: Path) -> None:
    write_scannet(tmp_path / "tree", 3, 2, views=1)
    scenes = open_scenes(tmp_path / "tree")
    classes = Vocabulary.from_names(("floor", "wall", "toilet"))
    unknown = save_submission(scenes, lambda scene: in_turn(classes, scene), classes, tmp_path / "out", "val")
    assert unknown == ()
    written = np.loadtxt(tmp_path / "out" / "scene0000_00.txt", dtype=int)
    assert len(written) == len(scenes[0])
    assert written[:6].tolist() == [2, 1, 33, 2, 1, 33]


def test_nuscenes_takes_a_byte_a_point(tmp_path: Path) -> None:
    write_nuscenes(tmp_path / "tree", 3, 2, SMALL)
    scenes = open_scenes(tmp_path / "tree", options=ReadOptions(split="val"))
    classes = Vocabulary.from_names(("vegetation", "sky", "barrier"))
    out = tmp_path / "out"
    unknown = save_submission(scenes, lambda scene: in_turn(classes, scene), classes, out, "val")
    assert unknown == ("sky",)
    (token,) = (
        row["sample_data_token"] for row in json.loads((tmp_path / "tree/v1.0-trainval/lidarseg.json").read_text())[1:]
    )
    written = np.fromfile(out / "lidarseg" / "val" / f"{token}_lidarseg.bin", np.uint8)
    assert len(written) == len(scenes[0])
    assert written[:6].tolist() == [16, 0, 1, 16, 0, 1]
    assert set(json.loads((out / "val" / "submission.json").read_text())["meta"]) == {
        "use_camera", "use_lidar", "use_radar", "use_map", "use_external",
    }  # fmt: skip
    with pytest.raises(InputError, match="name it with --split"):
        save_submission(scenes, lambda scene: in_turn(classes, scene), classes, out, None)


def test_dropped_points_keep_their_place(tmp_path: Path) -> None:
    write_nuscenes(tmp_path / "tree", 3, 2, SMALL)
    options = ReadOptions(split="val")
    whole = open_scenes(tmp_path / "tree", options=options)[0]
    assert whole.labels is not None
    assert whole.intensity is not None
    (file,) = (
        f for f in (tmp_path / "tree" / "samples" / "LIDAR_TOP").iterdir() if len(whole) * 20 == f.stat().st_size
    )
    points = np.fromfile(file, np.float32).reshape(-1, 5)
    points[[0, 2], [1, 0]] = np.nan
    points.tofile(file)
    scenes = open_scenes(tmp_path / "tree", options=options)
    with pytest.warns(DataWarning, match=f"2 of {len(whole):,} points are not finite"):
        scene = scenes[0]
    np.testing.assert_array_equal(scene.labels, np.delete(whole.labels, [0, 2]))
    np.testing.assert_array_equal(scene.intensity, np.delete(whole.intensity, [0, 2]))
    classes = Vocabulary.from_names(("vegetation", "barrier"))
    save_submission(scenes, lambda scene: in_turn(classes, scene), classes, tmp_path / "out", "val")
    (path,) = (tmp_path / "out" / "lidarseg" / "val").iterdir()
    assert np.fromfile(path, np.uint8)[:6].tolist() == [0, 16, 0, 1, 16, 1]
    assert path.stat().st_size == len(whole)


def test_semantic_kitti_takes_raw_ids_of_every_stored_point(tmp_path: Path) -> None:
    folder = tmp_path / "sequences" / "08" / "velodyne"
    folder.mkdir(parents=True)
    points = np.array([[5, 0, 0, 0.1], [0, 0, 0, 0], [6, 1, 0, 0.2], [np.nan] * 4, [7, 0, 1, 0.3]], np.float32)
    points.tofile(folder / "000000.bin")
    scenes = open_scenes(tmp_path)
    classes = Vocabulary.from_names(tuple(KITTI_IDS))
    save_submission(scenes, lambda scene: in_turn(classes, scene), classes, tmp_path / "out", None)
    path = tmp_path / "out" / "sequences" / "08" / "predictions" / "000000.label"
    assert np.fromfile(path, np.uint32).tolist() == [10, 0, 40, 0, 50]  # empty returns get none


def test_what_has_no_benchmark_of_points_is_refused(tmp_path: Path) -> None:
    write_nuimages(tmp_path / "pictures", 3, 2, SMALL)
    classes = Vocabulary.from_names(("car", "truck"))
    pictures = open_scenes(tmp_path / "pictures", options=ReadOptions(split="val"))
    with pytest.raises(InputError, match="--submission is for points of ScanNet, nuScenes"):
        save_submission(pictures, lambda scene: in_turn(classes, scene), classes, tmp_path / "out", "val")
    write_nuscenes(tmp_path / "tree", 3, 2, SMALL)
    other = Vocabulary.from_names(("sofa", "bed"))
    scenes = open_scenes(tmp_path / "tree", options=ReadOptions(split="val"))
    with pytest.raises(InputError, match=r"None of the network's classes \(sofa, bed\) is one of barrier"):
        save_submission(scenes, lambda scene: in_turn(other, scene), other, tmp_path / "out", "val")
    assert not (tmp_path / "out").exists()
