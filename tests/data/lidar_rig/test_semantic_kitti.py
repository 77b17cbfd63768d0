"""SemanticKITTI by its folder: sequences, splits, what is absent, damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.kitti_drive import KITTI, drive
from labelfree.data.captures.layout import CAPTURES
from labelfree.data.checking.check import check_collection
from labelfree.data.collection import layout_of, open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.data.lidar_rig.description import read_rig
from labelfree.data.lidar_rig.semantic_kitti import SEMANTIC_KITTI, description
from labelfree.errors import InputError


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Sequences 00 and 08 with all there is, and 11, of the test split, without labels."""
    for name in ("00", "08", "11"):
        drive(tmp_path / "dataset" / "sequences" / name)
    shutil.rmtree(tmp_path / "dataset" / "sequences" / "11" / "labels")
    return tmp_path


def test_the_shipped_description_is_the_example() -> None:
    assert description() == read_rig(KITTI)


@pytest.mark.parametrize("inside", [".", "dataset", "dataset/sequences"])
def test_sequences_are_found(inside: str, dataset: Path) -> None:
    assert layout_of(dataset / inside) is SEMANTIC_KITTI
    scenes = open_scenes(dataset / inside)
    assert scenes.names == ("00_000000", "00_000001", "08_000000", "08_000001", "11_000000", "11_000001")
    assert scenes[0].labels is not None
    assert scenes[4].labels is None
    assert [report.problems for report in check_collection(scenes)] == [()] * 6


def test_a_sequence_is_read_as_by_description(dataset: Path) -> None:
    folder = dataset / "dataset" / "sequences" / "08"
    ours, described = open_scenes(folder), open_scenes(KITTI, folder)
    assert ours.names == ("08_000000", "08_000001")
    assert ours.classes == described.classes
    np.testing.assert_array_equal(ours[1].points_world, described[1].points_world)
    np.testing.assert_array_equal(ours[1].frames[0].world_to_camera, described[1].frames[0].world_to_camera)


def test_splits(dataset: Path) -> None:
    assert open_scenes(dataset, options=ReadOptions(split="val")).names == ("08_000000", "08_000001")
    assert open_scenes(dataset, options=ReadOptions(split="train", limit=1)).names == ("00_000000",)
    with pytest.raises(InputError, match=r"--split is 'mini': SemanticKITTI has train, val, test"):
        open_scenes(dataset, options=ReadOptions(split="mini"))
    for name in ("00", "08"):
        shutil.rmtree(dataset / "dataset" / "sequences" / name)
    with pytest.raises(InputError, match=r"holds sequences 11, but split 'val' is 08"):
        open_scenes(dataset, options=ReadOptions(split="val"))


def test_clouds_alone(tmp_path: Path) -> None:
    folder = drive(tmp_path / "07")
    shutil.rmtree(folder / "image_2")
    (folder / "calib.txt").unlink()
    scenes = open_scenes(folder)
    assert scenes[0].frames == ()
    assert scenes[0].labels is not None
    assert any("nothing can be trained on it" in note for note in scenes.notes)
    survey = SEMANTIC_KITTI.survey(folder, None, ReadOptions(), lambda done, total: None)
    assert survey.problems == ()
    assert survey.frames == 0


def test_survey_counts_against_the_published_sweeps(dataset: Path) -> None:
    survey = SEMANTIC_KITTI.survey(dataset, None, ReadOptions(split="val"), lambda done, total: None)
    assert [(count.what, count.found, count.official) for count in survey.counts] == [
        ("sweeps", 2, 4071),
        ("images", 2, None),
    ]
    path = dataset / "dataset" / "sequences" / "08" / "velodyne" / "000001.bin"
    path.write_bytes(path.read_bytes()[:-3])
    survey = SEMANTIC_KITTI.survey(dataset, None, ReadOptions(split="val"), lambda done, total: None)
    assert len(survey.problems) == 1
    assert str(path) in survey.problems[0]


def test_a_folder_of_other_things_is_not_taken(tmp_path: Path) -> None:
    assert layout_of(tmp_path) is CAPTURES
    with pytest.raises(InputError, match=r"holds no sequence with a folder velodyne"):
        open_scenes(tmp_path, layout="semantickitti")
    (tmp_path / "00" / "velodyne").mkdir(parents=True)
    with pytest.raises(InputError, match=r"velodyne: holds no sweeps"):
        open_scenes(tmp_path)
