"""A viewed scene without a browser: layers, search, facts about points, corrections and their files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from labelfree.corrections.store import correction_file
from labelfree.data.collection import open_scenes
from labelfree.data.pairs import pair_points
from labelfree.errors import InputError
from labelfree.viewer.layers import (
    CLIP,
    CONFIDENCE,
    CORRECTED,
    IMAGE_FEATURES,
    INPUT,
    NETWORK_FEATURES,
    PREDICTION,
    SEGMENTS,
    TRUTH,
    VOTED,
)
from labelfree.viewer.opening import open_plain_data, open_run_folder, scene_opener
from labelfree.viewer.pictures import picture, picture_kinds
from labelfree.viewer.session import SceneSession


@pytest.fixture(scope="module")
def folder(viewed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(viewed, tmp_path_factory.mktemp("session") / "run"))


def session_of(folder: Path, room: Path, writable: bool = True) -> SceneSession:
    scenes = open_scenes(room)
    run = open_run_folder(folder, folder / "cache", torch.device("cpu"))
    assert run.notes == ()
    return scene_opener(run, scenes, writable)("room")


@pytest.fixture(scope="module")
def session(folder: Path, room: Path) -> SceneSession:
    return session_of(folder, room)


def test_every_layer_has_a_colour_per_point(session: SceneSession) -> None:
    expected = (INPUT, CLIP, VOTED, PREDICTION, CONFIDENCE, SEGMENTS, TRUTH, CORRECTED)
    assert session.layer_names() == expected
    pictures = []
    for name in expected:
        session.layer = name
        assert session.colours().shape == (len(session.scene), 3)
        pictures.append(session.colours().tobytes())
    assert len(set(pictures)) == len(expected) - 1  # nothing is corrected yet
    session.layer = PREDICTION


def test_classes_and_height_are_hidden(session: SceneSession) -> None:
    assert session.shown().all()
    labels = session.labels()
    assert labels is not None
    session.hidden = {int(labels[0])}
    assert np.array_equal(session.shown(), labels != labels[0])
    session.hidden, session.below = set(), 0.5
    assert 0.1 < session.shown().mean() < 0.9
    session.below = 1.0


def test_words_rank_segments_and_points(session: SceneSession) -> None:
    plain = session.colours()
    for features in (NETWORK_FEATURES, IMAGE_FEATURES):
        session.search("chair", features)
        assert session.similarity is not None
        assert (session.colours() != plain).any()
        means = [each.mean for each in session.found()]
        assert means == sorted(means, reverse=True)
        session.threshold = 0.0
        every = len(session.found())
        session.threshold = 1.0
        assert len(session.found()) == every  # no segment is above, so that the best are listed
        session.threshold = 0.5
        assert len(means) <= every
        first = session.similarity
        session.search("a wooden floor", features)
        assert (session.similarity != first).any()
    with pytest.raises(InputError, match="characters"):
        session.search("a" * 300, NETWORK_FEATURES)
    session.search("  ", NETWORK_FEATURES)
    assert session.similarity is None
    assert np.array_equal(session.colours(), plain)


def test_facts_of_a_point(session: SceneSession) -> None:
    teachers = session.sources.teachers
    assert teachers is not None
    for point in (0, 5000, 19000):
        facts = session.facts(point)
        assert [name for name, _ in facts.labels] == [CLIP, VOTED, PREDICTION, TRUTH, CORRECTED]
        assert facts.confidence is not None
        assert 0 < facts.confidence <= 1
        expected = []
        for index, frame in enumerate(session.scene.frames):
            pairs = pair_points(session.scene, frame, frame.size, teachers.pairing)
            at = torch.nonzero(pairs.point == point)[:, 0].tolist()
            expected += [(index, int(pairs.row[i]), int(pairs.column[i])) for i in at]
        assert [(each.frame, each.row, each.column) for each in facts.seen] == expected
        assert facts.agreeing is not None
        assert facts.agreeing <= len(expected)


def test_a_click_picks_the_point_in_front(session: SceneSession) -> None:
    eye = session.scene.frames[0].camera_to_world[:3, 3]
    target = session.scene.points_world[777].astype(np.float64)
    found = session.pick(eye, target - eye)
    assert found is not None
    nearer = np.linalg.norm(session.scene.points_world[found] - eye)
    assert nearer <= np.linalg.norm(target - eye) * 1.001


def test_images_with_overlays(session: SceneSession) -> None:
    frame = session.scene.frames[0]
    kinds = picture_kinds(session.sources, session.scene.frames)
    assert kinds == ("image", CLIP, VOTED, "ground truth")  # this run has no 2D network
    assert len({picture(session.sources, frame, kind).tobytes() for kind in kinds}) == len(kinds)


def test_corrections_survive_and_another_viewer_only_reads(folder: Path, room: Path) -> None:
    first = session_of(folder, room)
    doubtful = first.doubtful()
    first.select_segment(doubtful[0].segment)
    assert first.assign(2) == doubtful[0].points
    assert doubtful[0].segment not in [each.segment for each in first.doubtful()]
    labels = first.labels(CORRECTED)
    assert labels is not None
    first.select_around(3, 0.3)
    around = first.selected.copy()
    first.assign(1)
    assert first.undo()
    assert around[3]
    assert first.save() == doubtful[0].points
    assert not first.edits.unsaved
    for writable in (True, False):
        second = session_of(folder, room, writable)
        found = second.labels(CORRECTED)
        assert found is not None
        assert np.array_equal(found, labels)
    second.select_segment(0)
    with pytest.raises(InputError, match="read-only here"):
        second.assign(0)
    with pytest.raises(InputError, match="read-only here"):
        second.save()


def test_data_without_a_run_is_shown_but_not_corrected(room: Path) -> None:
    scenes = open_scenes(room)
    session = scene_opener(open_plain_data(scenes), scenes, False)("room")
    assert session.layer_names() == (INPUT, TRUTH)
    assert session.layers.feature_names() == ()
    assert session.doubtful() == ()
    assert session.facts(0).seen == ()
    with pytest.raises(InputError, match="no CLIP text encoder"):
        session.search("chair", NETWORK_FEATURES)
    with pytest.raises(InputError, match="view the folder of a run"):
        session.assign(0)


def test_a_run_whose_teachers_are_gone_still_shows_its_prediction(viewed: Path, room: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(viewed, folder, ignore=shutil.ignore_patterns("cache"))
    settings = (folder / "settings.yaml").read_text()
    (folder / "settings.yaml").write_text(settings.replace("sam: rooms", "sam: ./gone"))
    run = open_run_folder(folder, folder / "cache", torch.device("cpu"))
    assert "gone" in run.notes[0]
    session = scene_opener(run, open_scenes(room), True)("room")
    assert session.layer_names() == (INPUT, PREDICTION, CONFIDENCE, TRUTH, CORRECTED)
    assert session.facts(0).segment is None


def test_corrections_of_other_points_are_refused(folder: Path, room: Path) -> None:
    first = session_of(folder, room)
    assert first.file == correction_file(folder, "room")
    first.select_around(0, 0.2)
    first.assign(3)
    first.save()
    text = first.file.read_text()
    first.file.write_text(text.replace('"cloud": "', '"cloud": "0'))
    with pytest.raises(InputError, match="is not the cloud of scene 'room'"):
        session_of(folder, room)
    first.file.write_text(text)
