"""What is checked before the long work."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest

from labelfree import InputError, Vocabulary, open_scenes, recipe
from labelfree.cli.out_folder import check_out
from labelfree.cli.preflight import (
    check_disk,
    check_networks,
    check_processes,
    check_teachers,
    check_truth,
    preflight,
    training_bytes,
)
from labelfree.data.collection import SceneCollection

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def scenes(room: Path) -> SceneCollection:
    return open_scenes(room)


def test_a_sound_start_says_nothing(scenes: SceneCollection, tmp_path: Path) -> None:
    names = Vocabulary.from_names(scenes.classes or ())
    assert preflight(recipe("quick"), scenes, names, tmp_path / "out", tmp_path / "cache") == ()
    assert list(tmp_path.iterdir()) == []


def test_ground_truth_outside_the_classes(scenes: SceneCollection) -> None:
    few = Vocabulary.from_names(("wall", "floor"))
    with pytest.raises(InputError, match=r"holds class id .* but there are 2 classes"):
        check_truth(scenes, few)
    assert check_truth(scenes.counted_by(few), few) == 4  # by name, so that unknown classes are left out


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--networks.backbone_weights=./nope", "./nope: no such folder"),
        ("--networks.backbone_weights=nope.safetensors", "no such file"),
        ("--networks.net_2d.width=32", "set networks.net_2d.backbone, width"),
        ("--networks.net_3d.texture=false", "networks.net_3d.variant"),
    ],
)
def test_starting_weights_that_do_not_fit(scenes: SceneCollection, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_networks(recipe("quick", override), scenes[0])


def test_a_misspelt_teacher(tmp_path: Path) -> None:
    (tmp_path / "my-clip").mkdir()
    with pytest.raises(InputError, match=r"did you mean .*my-clip"):
        check_teachers(recipe("quick", f"--teachers.clip={tmp_path}/my-clop"))


def test_folders_that_cannot_be_written(room: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out, message in (
        (tmp_path / "file", "is a file: give a folder"),
        (tmp_path / "file" / "deep", "is a file where a folder is expected"),
        (room, "is the folder of the data"),
        (room / "color" / "new", "lies among the data's own files"),
    ):
        with pytest.raises(InputError, match=message):
            check_out(out, room)
    check_out(room / "runs" / "first", room)
    check_out(tmp_path / "not" / "there" / "yet", room)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("target", ["link", "nothing"])
def test_a_link_that_leads_nowhere(target: str, room: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(target)
    for out in (tmp_path / "link", tmp_path / "link" / "run"):
        with pytest.raises(InputError, match=r"--cache .*link is a link that leads nowhere; remove it"):
            check_out(out, room, "--cache")


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = recipe("quick")
    size = training_bytes(config)
    for free, expected in ((size // 2, None), (int(size * 1.1), 1), (size * 100, 0)):
        monkeypatch.setattr("shutil.disk_usage", lambda path, free=free: Usage(free, 0, free))
        if expected is None:
            with pytest.raises(InputError, match=r"are needed but .* are free"):
                check_disk(config, 0, tmp_path / "out", tmp_path / "cache")
        else:
            assert len(check_disk(config, 0, tmp_path / "out", tmp_path / "cache")) == expected


def test_processes() -> None:
    check_processes(recipe("scannet"), 8, 8)
    with pytest.raises(InputError, match="a batch has 4"):
        check_processes(recipe("scannet"), 4, 5)
