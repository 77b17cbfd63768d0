from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest
import torch

from helpers.worker_tasks import explain
from labelfree.config.reading import read_settings
from labelfree.config.recipe_files import recipe_path
from labelfree.data.collection import open_scenes
from labelfree.errors import InputError
from labelfree.labelling.spread_frames import (
    FrameWork,
    Part,
    SceneFrames,
    fingerprints,
    label_frames_with,
    parts_of,
    slices,
)
from labelfree.runtime.crew import Answer, Crew, Seat
from labelfree.runtime.surroundings import Surroundings, surroundings
from labelfree.teachers.label_frames import label_frames
from labelfree.teachers.opening import load_teachers
from labelfree.vocabulary import Vocabulary

SCENES = (SceneFrames("a", 3), SceneFrames("none", 0), SceneFrames("b", 5))
CONFIG = read_settings(
    recipe_path("rooms"), ["--labels.image_size=[48, 64]", "--teachers.sam_options.points_per_side=4"]
)
NAMES = Vocabulary.from_names(("wall", "floor", "chair"))


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
    teachers = load_teachers(CONFIG, NAMES, cache)
    scenes = (SceneFrames("room", 4),)
    opening = partial(open_scenes, room)
    return FrameWork(opening, scenes, CONFIG, NAMES, cache, around, "cpu", fingerprints(teachers))


class Inline:
    """A worker in this process. It ends when it is given a part with one of the deadly frames."""

    def __init__(self, work: FrameWork, deadly: frozenset[int], labelled: list[Part]) -> None:
        self.seat, self.deadly, self.labelled = Seat(work, explain), deadly, labelled

    def open(self) -> Future[Answer]:
        return finished(self.seat.open())

    def work(self, task: object) -> Future[Answer]:
        assert isinstance(task, Part)
        if self.deadly & set(range(task.start, task.stop)):
            future: Future[Answer] = Future()
            future.set_exception(ChildProcessError("killed by SIGKILL"))
            return future
        self.labelled.append(task)
        return finished(self.seat.work(task))

    def dismiss(self) -> None:
        pass


def finished(answer: Answer) -> Future[Answer]:
    future: Future[Answer] = Future()
    future.set_result(answer)
    return future


def test_workers_write_the_cache_of_one_process(room: Path, tmp_path: Path) -> None:
    label_frames(open_scenes(room), load_teachers(CONFIG, NAMES, tmp_path / "serial"))
    with surroundings(tmp_path / "spread") as around:
        work = work_for(room, tmp_path / "spread", around)
        labelled: list[Part] = []
        label_frames_with(work, Crew(lambda: Inline(work, frozenset(), labelled), 2), workers=2)
    assert labelled == [Part(0, 2), Part(2, 4)]
    assert contents(tmp_path / "spread") == contents(tmp_path / "serial")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_frame_that_ends_three_workers_is_named(room: Path, tmp_path: Path) -> None:
    with surroundings(tmp_path) as around:
        work = work_for(room, tmp_path, around)
        labelled: list[Part] = []
        crew: Crew[Part] = Crew(lambda: Inline(work, frozenset({3}), labelled), 1)
        with pytest.raises(InputError, match=r"3\.jpg: 3 workers ended while they labelled it \(killed by SIGKILL\)"):
            label_frames_with(work, crew, workers=1)
    assert labelled == [Part(0, 2)]  # the others come first, and are kept


def test_a_worker_that_computes_something_else_ends_the_work(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with surroundings(tmp_path) as around:
        work = work_for(room, tmp_path, around)
        seat = Seat(work, explain)
        monkeypatch.setattr("labelfree.labelling.spread_frames.fingerprints", lambda teachers: ("", ""))
        assert "another number format of CLIP or SAM" in seat.open().problem
        monkeypatch.setattr("labelfree.__version__", "0.0")
        assert "install the same versions on every machine" in seat.open().problem
    monkeypatch.undo()
    assert "does not see" in Seat(work, explain).open().problem  # the driver's file is gone
    assert not list(tmp_path.glob(".driver-*"))


def test_the_number_of_threads_is_the_drivers(room: Path, tmp_path: Path, one_thread: None) -> None:
    with surroundings(tmp_path) as around:
        assert around.threads == 1
        torch.set_num_threads(2)
        around.enter()
    assert torch.get_num_threads() == 1
