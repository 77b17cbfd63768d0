from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from labelfree.errors import InputError
from labelfree_lab.rooms.room import Room, build_room
from labelfree_lab.rooms.style import RoomStyle
from labelfree_lab.teachers import corpus as corpus_module
from labelfree_lab.teachers.corpus import main, open_corpus, open_pair, write_corpus
from labelfree_lab.teachers.worlds import ROOMS, STREETS

SIZE = (12, 16)


def test_corpus_round_trip(tmp_path: Path) -> None:
    write_corpus(tmp_path, 2, 2, 1, first_seed=1_000_000, size=SIZE)
    corpus = open_corpus(tmp_path)
    assert len(corpus) == 6
    assert corpus.images.shape == (6, 12, 16, 3)
    assert corpus.instances.dtype == np.uint16
    assert corpus.room.tolist() == [1_000_000] * 3 + [1_000_001] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "classes.npy",
        "corpus.json",
        "images.npy",
        "instances.npy",
        "parts.npy",
        "room.npy",
    ]


def test_an_interrupted_corpus_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_corpus(tmp_path / "whole", 3, 1, 1, first_seed=7, size=SIZE)

    def failing(seed: int, style: RoomStyle) -> object:
        if seed == 8:
            raise KeyboardInterrupt
        return build_room(seed, style)

    monkeypatch.setattr(corpus_module, "build_room", failing)
    with pytest.raises(KeyboardInterrupt):
        write_corpus(tmp_path / "broken", 3, 1, 1, first_seed=7, size=SIZE)
    with pytest.raises(InputError, match=r"corpus\.json"):
        open_corpus(tmp_path / "broken")
    built: list[int] = []

    def counted(seed: int, style: RoomStyle) -> Room:
        built.append(seed)
        return build_room(seed, style)

    monkeypatch.setattr(corpus_module, "build_room", counted)
    write_corpus(tmp_path / "broken", 3, 1, 1, first_seed=7, size=SIZE)
    assert built == [8, 9]
    assert np.array_equal(open_corpus(tmp_path / "whole").images, open_corpus(tmp_path / "broken").images)


def test_another_corpus_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path, 1, 1, 0, first_seed=7, size=SIZE)
    with pytest.raises(InputError, match="another corpus"):
        write_corpus(tmp_path, 1, 1, 0, first_seed=8, size=SIZE)


def test_a_corpus_of_streets(tmp_path: Path) -> None:
    write_corpus(tmp_path, 2, 3, 2, first_seed=2_000_000, size=(24, 40), world=STREETS)
    corpus = open_corpus(tmp_path)
    assert corpus.images.shape == (10, 24, 40, 3)
    assert corpus.class_names == STREETS.class_names
    assert corpus.world == STREETS
    assert np.array_equal(corpus.classes == 255, corpus.instances == 0)
    assert corpus.room.tolist() == [2_000_000] * 5 + [2_000_001] * 5


def test_the_command_takes_each_worlds_seeds_and_size(tmp_path: Path) -> None:
    for world in (ROOMS, STREETS):
        out = tmp_path / world.name
        numbers = ["--rooms", "1", "--photos", "0", "--views", "1", "--processes", "1"]
        main(["--world", world.name, "--out", str(out), *numbers])
        plan = open_corpus(out).plan
        assert (plan.world, plan.first_seed, plan.size) == (world.name, world.teacher_seeds, world.picture_size)
    with pytest.raises(InputError, match=r"shows streets, but .* rooms"):
        open_pair(tmp_path / "rooms", tmp_path / "streets")


def test_corpora_from_before_there_were_streets_are_of_rooms(tmp_path: Path) -> None:
    write_corpus(tmp_path, 1, 1, 0, first_seed=7, size=SIZE)
    path = tmp_path / "corpus.json"
    plan = json.loads(path.read_text())
    del plan["world"]
    path.write_text(json.dumps(plan))
    assert open_corpus(tmp_path).world == ROOMS
    write_corpus(tmp_path, 1, 1, 0, first_seed=7, size=SIZE)
