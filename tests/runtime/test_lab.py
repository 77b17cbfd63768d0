from __future__ import annotations

from pathlib import Path

import pytest

from labelfree.config.reading import recipe
from labelfree.errors import InputError
from labelfree.evaluation.confusion import ConfusionMatrix
from labelfree.method.clip_labels import clip_labels
from labelfree.method.mask_vote import refine_labels
from labelfree.runtime import lab as teacher_weights
from labelfree.runtime.lab import second_teachers, shipped, weights_folder, world_of
from labelfree.teachers.clip import DenseClip
from labelfree.teachers.sam import SamTeacher
from labelfree.vocabulary import Vocabulary
from labelfree_lab.teachers.corpus import open_corpus, write_corpus
from labelfree_lab.teachers.worlds import ROOMS, STREETS, World

PARTS = ("clip", "sam", "backbone", "backbone-3d")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("world", [ROOMS, STREETS], ids=lambda world: world.name)
def test_those_of_both_worlds_are_there(world: World, part: str) -> None:
    assert shipped(world.name, part) == weights_folder(world.name, part) == world.weights(part)


def test_the_streets_teachers_know_streets(tmp_path: Path) -> None:
    """On streets they were not trained on: names far above chance, and better ones after the vote."""
    write_corpus(tmp_path, 3, 0, 6, STREETS.tuning_seeds, world=STREETS)
    corpus, teachers = open_corpus(tmp_path), recipe("streets").teachers
    names = DenseClip.from_pretrained(str(STREETS.weights("clip")), teachers.clip_options)
    masks = SamTeacher.from_pretrained(str(STREETS.weights("sam")), teachers.sam_options)
    text, size = names.embed(Vocabulary.parse("nuscenes16")).vectors, corpus.plan.size
    said, voted = ConfusionMatrix(16), ConfusionMatrix(16)
    for image, truth in zip(corpus.images, corpus.classes):
        labels = clip_labels(names.features(image), text, size)
        said.update(truth, labels.numpy())
        voted.update(truth, refine_labels(labels.long(), masks.mask_ids(image).long(), 16).numpy())
    assert said.accuracy() > 0.45
    assert voted.accuracy() > said.accuracy() + 0.02


def test_everything_else_is_a_name_of_somebody_elses() -> None:
    assert shipped(None, "clip") is shipped("openai/clip-vit-base-patch16", "clip") is shipped("labs", "sam") is None


@pytest.mark.parametrize("part", PARTS)
def test_what_is_not_trained_yet_is_one_sentence(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_weights, "_all_weights", lambda source: tmp_path)
    with pytest.raises(InputError, match=rf"'streets' means .*streets-{part}, which holds no model.safetensors"):
        shipped("streets", part)
    folder = STREETS.weights(part)
    folder.mkdir()
    (folder / "model.safetensors").touch()
    assert shipped("streets", part) == folder == tmp_path / f"streets-{part}"


@pytest.mark.parametrize(
    ("name", "part", "folder"),
    [
        ("rooms", "backbone", "rooms-backbone"),
        ("rooms", "backbone-3d", "rooms-backbone-3d"),
        ("rooms-selfsup", "backbone", "rooms-selfsup"),
        ("streets-selfsup", "backbone-3d", "streets-selfsup-3d"),
        ("rooms-b", "clip", "rooms-clip-b"),
        ("streets-b", "sam", "streets-sam-b"),
    ],
)
def test_names_mean_folders(name: str, part: str, folder: str) -> None:
    assert weights_folder(name, part).name == folder
    assert world_of(name) == folder.partition("-")[0]


def test_no_other_name_is_the_labs() -> None:
    assert {world_of(name) for name in (None, "", "rooms-c", "room", "openai/rooms", "rooms-clip", "b")} == {None}
    assert shipped("rooms-c", "clip") is None


def test_the_second_pair_is_used_if_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_weights, "_all_weights", lambda source: tmp_path)
    for part in ("clip", "sam"):
        assert second_teachers("rooms") is second_teachers("rooms", wanted=False) is None
        with pytest.raises(InputError, match=rf"'rooms-b' means .*rooms-{part}-b, which holds no model.safetensors"):
            second_teachers("rooms", wanted=True)
        (tmp_path / f"rooms-{part}-b").mkdir()
        (tmp_path / f"rooms-{part}-b" / "model.safetensors").touch()
    assert second_teachers("rooms") == second_teachers("rooms", wanted=True) == "rooms-b"
    assert second_teachers("rooms", wanted=False) is None
