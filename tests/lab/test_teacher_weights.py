from __future__ import annotations

from pathlib import Path

import pytest

from labelfree.errors import InputError
from labelfree.lab import teacher_weights
from labelfree.lab.teacher_weights import shipped, weights_folder
from labelfree.lab.worlds import ROOMS, STREETS

PARTS = ("clip", "sam", "backbone", "backbone-3d")


@pytest.mark.parametrize("part", PARTS)
def test_those_of_rooms_are_there(part: str) -> None:
    assert shipped("lab", part) == weights_folder("lab", part) == ROOMS.weights(part)


def test_everything_else_is_a_name_of_somebody_elses() -> None:
    assert shipped(None, "clip") is shipped("openai/clip-vit-base-patch16", "clip") is shipped("labs", "sam") is None


@pytest.mark.parametrize("part", PARTS)
def test_what_is_not_trained_yet_is_one_sentence(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_weights, "FOLDER", tmp_path)
    with pytest.raises(InputError, match=rf"'lab-street' means .*street-{part}, which is not in the package yet"):
        shipped("lab-street", part)
    folder = STREETS.weights(part)
    folder.mkdir()
    (folder / "model.safetensors").touch()
    assert shipped("lab-street", part) == folder == tmp_path / f"street-{part}"
