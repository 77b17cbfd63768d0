from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from helpers.worker_tasks import explain
from labelfree.config.run_config import RunConfig
from labelfree.data.collection import open_scenes
from labelfree.errors import InputError
from labelfree.labelling.spread_frames import FrameWork, Part, SceneFrames, label_frames_with, parts_of, slices
from labelfree.runtime.crew import Answer, Crew, Seat
from labelfree.runtime.surroundings import Surroundings, surroundings
from labelfree.scene import Scene
from labelfree.vocabulary import Vocabulary

SCENES = (SceneFrames("a", 3), SceneFrames("none", 0), SceneFrames("b", 5))
NAMES = Vocabulary.from_names(("wall", "floor", "chair"))


class Marked:
    def __init__(self, mark: str) -> None:
        self.mark = mark

    def fingerprint(self) -> str:
        return self.mark


@pytest.fixture
def labelled(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Record the frames of each call instead of labelling them."""
    calls: list[list[str]] = []
    teachers = SimpleNamespace(namer=Marked("clip"), masks=Marked("sam"))

    def record(scenes: Sequence[Scene], *_: object) -> None:
        calls.append([f"{frame.scene}/{frame.name}" for scene in scenes for frame in scene.frames])

    monkeypatch.setattr("labelfree.labelling.spread_frames.load_teachers", lambda *_: teachers)
    monkeypatch.setattr("labelfree.labelling.spread_frames.label_frames", record)
    return calls


@pytest.mark.parametrize("total", range(1, 40))
@pytest.mark.parametrize(("workers", "grain"), [(1, 1), (1, 2), (2, 2), (7, 2), (100, 1)])
def test_parts_hold_every_frame_once_and_never_split_a_pair(total: int, workers: int, grain: int) -> None:
    parts = parts_of(total, workers, grain)
    assert [place for part in parts for place in range(part.start, part.stop)] == list(range(total))
    assert all(part.start % grain == 0 for part in parts)
    assert all(0 < part.stop - part.start <= 16 for part in parts)


def test_a_part_may_span_scenes() -> None:
    assert slices(SCENES, Part(0, 2)) == [("a", 0, 2)]
    assert slices(SCENES, Part(2, 4)) == [("a", 2, 3), ("b", 0, 1)]
    assert slices(SCENES, Part(0, 8)) == [("a", 0, 3), ("b", 0, 5)]


def work_for(room: Path, cache: Path, around: Surroundings) -> FrameWork:
    scenes = (SceneFrames("room", 4),)
    return FrameWork(partial(open_scenes, room), scenes, RunConfig(), NAMES, cache, around, "cpu", ("clip", "sam"))


class Inline:
    """A worker in this process. It ends when it is given a part with one of the deadly frames."""

    def __init__(self, work: FrameWork, deadly: frozenset[int] = frozenset()) -> None:
        self.seat, self.deadly = Seat(work, explain), deadly

    def open(self) -> Future[Answer]:
        return finished(self.seat.open())

    def work(self, task: object) -> Future[Answer]:
        assert isinstance(task, Part)
        if self.deadly & set(range(task.start, task.stop)):
            future: Future[Answer] = Future()
            future.set_exception(ChildProcessError("killed by SIGKILL"))
            return future
        return finished(self.seat.work(task))

    def dismiss(self) -> None:
        pass


def finished(answer: Answer) -> Future[Answer]:
    future: Future[Answer] = Future()
    future.set_result(answer)
    return future


def test_every_frame_is_labelled_once(room: Path, tmp_path: Path, labelled: list[list[str]]) -> None:
    with surroundings(tmp_path) as around:
        work = work_for(room, tmp_path, around)
        label_frames_with(work, Crew(lambda: Inline(work), 2), workers=2)
    assert labelled == [["room/000000", "room/000001"], ["room/000002", "room/000003"]]


def test_images_that_end_three_workers_are_named(room: Path, tmp_path: Path, labelled: list[list[str]]) -> None:
    with surroundings(tmp_path) as around:
        work = work_for(room, tmp_path, around)
        crew: Crew[Part] = Crew(lambda: Inline(work, frozenset({3})), 1)
        with pytest.raises(
            InputError, match=r"000002\.png, .*/000003\.png: 3 workers ended while .* \(killed by SIGKILL"
        ):
            label_frames_with(work, crew, workers=1)
    assert labelled == [["room/000000", "room/000001"]]  # what came first is kept


def test_a_worker_that_computes_something_else_ends_the_work(
    room: Path, tmp_path: Path, labelled: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with surroundings(tmp_path) as around:
        work = work_for(room, tmp_path, around)
        other = replace(work, teachers=("clip", "sam in bfloat16"))
        assert "another number format of CLIP or SAM" in Seat(other, explain).open().problem
        hidden = replace(work, scenes=(SceneFrames("cellar", 4),))
        assert "does not see scene 'cellar'" in Seat(hidden, explain).open().problem
        monkeypatch.setattr("labelfree.__version__", "0.0")
        assert "install the same versions on every machine" in Seat(work, explain).open().problem
        monkeypatch.undo()
    assert "does not see" in Seat(work, explain).open().problem  # the driver's file is gone
    assert not list(tmp_path.glob(".driver-*"))


def test_the_number_of_threads_is_the_drivers(room: Path, tmp_path: Path, one_thread: None) -> None:
    with surroundings(tmp_path) as around:
        assert around.threads == 1
        torch.set_num_threads(2)
        around.enter()
    assert torch.get_num_threads() == 1
