"""Label and mask files in place of CLIP and SAM: one scene's in the folder, several scenes' in folders of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelfree.errors import InputError
from labelfree.scene import Frame, Scene
from labelfree.teachers.files import LabelFiles, MaskFiles
from labelfree.vocabulary import Vocabulary

NAMES = Vocabulary.from_names(["a", "b", "c"])


def scene(name: str) -> Scene:
    frame = Frame("000000", np.zeros((2, 2, 3), np.uint8), np.eye(3), np.eye(4), (2, 2))
    return Scene(name, np.zeros((1, 3), np.float32), (frame,))


def store(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((2, 2), value, np.uint8)).save(path)


def test_frames_of_one_name_in_two_scenes_are_told_apart(tmp_path: Path) -> None:
    for value, name in ((1, "office"), (2, "kitchen")):
        store(tmp_path / name / "000000.png", value)
    for value, name in ((1, "office"), (2, "kitchen")):
        frame = scene(name).frames[0]
        assert frame.scene == name
        assert LabelFiles(tmp_path, NAMES).labels(frame, (2, 2)).tolist() == [[value] * 2] * 2
        assert MaskFiles(tmp_path).mask_ids(frame, (4, 4)).tolist() == [[value] * 4] * 4
    with pytest.raises(InputError, match=r"no file for frame '000000'; expected 000000\.png"):
        MaskFiles(tmp_path).mask_ids(scene("hall").frames[0], (2, 2))


def test_files_of_one_scene_may_lie_in_the_folder(tmp_path: Path) -> None:
    store(tmp_path / "000000.png", 2)
    assert LabelFiles(tmp_path, NAMES).labels(scene("office").frames[0], (2, 2)).tolist() == [[2, 2], [2, 2]]


def test_a_changed_file_changes_the_fingerprint(tmp_path: Path) -> None:
    store(tmp_path / "office" / "000000.png", 1)
    before = MaskFiles(tmp_path).fingerprint()
    store(tmp_path / "kitchen" / "000000.png", 1)
    assert MaskFiles(tmp_path).fingerprint() != before
