"""The lab on disk: sizes, seeds, and folders that never mix two labs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from labelfree import InputError, open_scenes
from labelfree_lab.rooms.dataset import LabSize, write_lab

TINY = LabSize(train_rooms=2, train_views=2, held_out_rooms=1, held_out_views=3, image_size=(24, 32))


def test_rooms_are_written_once_and_read_as_anybodys_scenes(tmp_path: Path) -> None:
    folders = write_lab(tmp_path, 3, TINY)
    train, held_out = open_scenes(folders.train), open_scenes(folders.held_out)
    assert [len(scene.frames) for scene in (*train, *held_out)] == [2, 2, 3]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    write_lab(tmp_path, 3, TINY)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}


def test_a_folder_with_another_lab_is_refused(tmp_path: Path) -> None:
    write_lab(tmp_path, 3, TINY)
    for seed, size in ((4, TINY), (3, replace(TINY, train_views=3)), (3, replace(TINY, train_rooms=1))):
        with pytest.raises(InputError, match=r"lab\.json: the folder holds another lab"):
            write_lab(tmp_path, seed, size)
