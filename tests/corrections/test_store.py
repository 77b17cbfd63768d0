from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelfree.corrections.store import (
    correction_file,
    find_corrections,
    keep_corrections,
    read_corrections,
    write_corrections,
)
from labelfree.corrections.value import Corrections, CorrectionSet, no_corrections
from labelfree.errors import InputError
from labelfree.scene import Scene
from labelfree.vocabulary import Vocabulary

CLASSES = Vocabulary.from_names(("wall", "floor", "chair"))
POINTS = np.random.default_rng(0).uniform(-1, 1, (500, 3)).astype(np.float32)
ROOM = Scene("room", POINTS, ())


def corrected(scene: Scene = ROOM) -> Corrections:
    labels = np.full(len(scene), 255, np.uint8)
    labels[10:40], labels[400] = 2, 0
    return replace(no_corrections(scene, CLASSES), labels=labels)


def test_round_trip(tmp_path: Path) -> None:
    path = correction_file(tmp_path, "room")
    write_corrections(path, corrected())
    found = read_corrections(path)
    assert np.array_equal(found.labels, corrected().labels)
    assert (found.scene, found.classes, len(found)) == ("room", CLASSES.names, 31)
    assert found.digest() == corrected().digest()
    found.require_fits(ROOM)
    assert path.stat().st_size < 1000


def test_the_file_of_a_million_points_is_small(tmp_path: Path) -> None:
    labels = np.full(1_000_000, 255, np.uint8)
    labels[np.random.default_rng(0).permutation(1_000_000)[:20_000]] = 1
    write_corrections(tmp_path / "a.json", Corrections("a", labels, CLASSES.names, "0" * 64))
    assert (tmp_path / "a.json").stat().st_size < 100_000


def test_removing_every_correction_removes_the_file(tmp_path: Path) -> None:
    path = correction_file(tmp_path, "room")
    write_corrections(path, corrected())
    write_corrections(path, no_corrections(ROOM, CLASSES))
    assert not path.exists()
    write_corrections(path, no_corrections(ROOM, CLASSES))


def test_scenes_have_different_files_inside_the_folder(tmp_path: Path) -> None:
    names = ["room", "ROOM?", "ROOM_", "a/b", "a_b", ".hidden", "hidden", "é", "x" * 200, "x" * 201, "室"]
    files = [correction_file(tmp_path, name) for name in names]
    assert len({file.name for file in files}) == len(names)
    assert all(file.parent == tmp_path / "corrections" for file in files)


def test_another_scene_or_other_points_are_refused() -> None:
    with pytest.raises(InputError, match="corrects scene 'room', not 'hall'"):
        corrected().require_fits(replace(ROOM, name="hall"))
    moved = replace(ROOM, points_world=POINTS + np.float32(0.5))
    fewer = Scene("room", POINTS[:-1], ())
    for other in (moved, fewer):
        with pytest.raises(InputError, match="is not the cloud of scene 'room'"):
            corrected().require_fits(other)
        with pytest.raises(InputError, match="is not the cloud"):
            CorrectionSet({"room": corrected()}).labels(other)
    assert CorrectionSet().labels(ROOM) is None


def test_a_file_of_another_scene_is_refused_by_name(tmp_path: Path) -> None:
    write_corrections(correction_file(tmp_path, "hall"), corrected())
    with pytest.raises(InputError, match=r"hall\.json: holds corrections of scene 'room'; rename it to room\.json"):
        find_corrections(tmp_path, ("room", "hall"), CLASSES)


def test_corrections_are_found_for_the_scenes_at_hand(tmp_path: Path) -> None:
    write_corrections(correction_file(tmp_path, "room"), corrected())
    found, others = find_corrections(tmp_path, ("hall",), CLASSES)
    assert (found.sentence(), others) == ("", ["room"])
    found, others = find_corrections(tmp_path, ("room",), CLASSES)
    assert (found.sentence(), others) == ("31 points of 1 scene(s) were corrected by hand", [])
    assert find_corrections(tmp_path / "nowhere", ("room",), CLASSES)[0].by_scene == {}


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    write_corrections(correction_file(tmp_path, "room"), corrected())
    more = Vocabulary.from_names(("chair", "lamp", "wall"))
    labels = find_corrections(tmp_path, ("room",), more)[0].labels(ROOM)
    assert labels is not None
    assert (labels[10], labels[400], labels[0]) == (0, 2, 255)
    with pytest.raises(InputError, match="corrects points to 'wall', which is not one of the classes"):
        find_corrections(tmp_path, ("room",), Vocabulary.from_names(("chair", "lamp")))


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"labels": "AAAA"},
        {"labels": "!"},
        {"labels": 3},
        {"points": 499},
        {"points": -1},
        {"points": "many"},
        {"classes": [1]},
        {"classes": ["wall"]},
        {"scene": None},
        {"cloud": 5},
    ],
)
def test_damaged_files_are_one_sentence(change: dict[str, Any], tmp_path: Path) -> None:
    path = correction_file(tmp_path, "room")
    write_corrections(path, corrected())
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=r"room\.json"):
        read_corrections(path)


def test_text_that_is_no_json_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "room.json"
    for text in ("", "[]", "{", "null"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"room\.json"):
            read_corrections(path)


def test_a_run_keeps_what_it_used_and_never_replaces_newer_work(tmp_path: Path) -> None:
    keep_corrections(tmp_path, CorrectionSet({"room": corrected()}))
    path = correction_file(tmp_path, "room")
    newer = replace(corrected(), labels=np.zeros(500, np.uint8))
    write_corrections(path, newer)
    keep_corrections(tmp_path, CorrectionSet({"room": corrected()}))
    assert len(read_corrections(path)) == 500


def test_identity_follows_the_labels() -> None:
    first = CorrectionSet({"room": corrected()})
    other = CorrectionSet({"room": replace(corrected(), labels=np.zeros(500, np.uint8))})
    assert CorrectionSet().identity() == {}
    assert list(first.identity()) == ["corrections of scene 'room'"]
    assert first.identity() != other.identity()
