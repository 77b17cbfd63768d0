from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from helpers.worker_tasks import Squares, explain, square
from labelfree.errors import InputError
from labelfree.runtime.crew import Answer, Crew, Done, Lost, Seat, raise_problem


class FakeWorker:
    """Answers when the test says so; may be lost."""

    def __init__(self, starts: bool = True) -> None:
        self.seat, self.starts = Seat(Squares(), explain), starts
        self.queue: deque[tuple[int, Future[Answer]]] = deque()
        self.dismissed = False

    def open(self) -> Future[Answer]:
        future: Future[Answer] = Future()
        if self.starts:
            future.set_result(self.seat.open())
        else:
            future.set_exception(ChildProcessError("killed\nat the start"))
        return future

    def work(self, task: object) -> Future[Answer]:
        assert isinstance(task, int)
        future: Future[Answer] = Future()
        self.queue.append((task, future))
        return future

    def dismiss(self) -> None:
        self.dismissed = True

    def answer(self) -> None:
        task, future = self.queue.popleft()
        future.set_result(self.seat.work(task))

    def die(self) -> None:
        while self.queue:
            self.queue.popleft()[1].set_exception(ChildProcessError("killed"))


def source(numbers: list[int]) -> Callable[[], int | None]:
    left = deque(numbers)
    return lambda: left.popleft() if left else None


class Hall:
    """Hires fake workers; before each wait the busiest one answers one task."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, size: int, depth: int) -> None:
        self.workers: list[FakeWorker] = []
        self.crew: Crew[int] = Crew(self.hire, size, depth)
        self.most = 0
        monkeypatch.setattr(self.crew, "_wait", self.wait)

    def hire(self) -> FakeWorker:
        self.workers.append(FakeWorker())
        return self.workers[-1]

    def wait(self) -> None:
        self.most = max(self.most, sum(len(worker.queue) for worker in self.workers))
        busiest = max(self.workers, key=lambda worker: len(worker.queue))
        if busiest.queue:
            busiest.answer()


def test_every_task_once_and_a_bounded_number_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    hall, asked = Hall(monkeypatch, size=3, depth=2), []
    numbers = source(list(range(12)))

    def ask() -> int | None:
        asked.append(sum(len(worker.queue) for worker in hall.workers))
        return numbers()

    events = list(hall.crew.run(ask))
    assert sorted(event.task for event in events) == list(range(12))
    assert all(isinstance(event, Done) and event.answer.value == square(event.task) for event in events)
    assert hall.most == 6
    assert max(asked) < 6  # a task is only asked for when a worker has a place for it
    assert len(hall.workers) == 3
    assert all(worker.dismissed for worker in hall.workers)


def test_tasks_of_a_lost_worker_come_back_and_it_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    hall = Hall(monkeypatch, size=1, depth=2)
    left, events = deque([1, 2, 3]), []
    for event in hall.crew.run(lambda: left.popleft() if left else None):
        events.append(event)
        if isinstance(event, Lost):
            left.append(event.task)
        elif event.task == 1:
            hall.workers[0].die()
    lost = [event for event in events if isinstance(event, Lost)]
    assert [(event.task, event.suspect, event.reason) for event in lost] == [(2, True, "killed")]
    assert sorted(event.task for event in events if isinstance(event, Done)) == [1, 2, 3]
    assert [worker.dismissed for worker in hall.workers] == [True, True]


def test_only_the_task_at_work_is_suspect() -> None:
    workers: list[FakeWorker] = []

    def hire() -> FakeWorker:
        workers.append(FakeWorker())
        return workers[-1]

    crew: Crew[int] = Crew(hire, 1, depth=4)
    numbers = source([1, 2, 3])

    def dies_when_all_are_given() -> int | None:
        given = numbers()
        if given is None and len(workers[0].queue) == 3:
            workers[0].die()
        return given

    events = list(crew.run(dies_when_all_are_given))
    assert [(event.task, event.suspect) for event in events if isinstance(event, Lost)] == [
        (1, True), (2, False), (3, False),
    ]  # fmt: skip


def test_workers_that_never_start_end_the_work() -> None:
    crew: Crew[int] = Crew(lambda: FakeWorker(starts=False), 2)
    with pytest.raises(InputError, match=r"3 workers in a row ended while they started \(killed\)"):
        list(crew.run(source([1])))


def test_a_cluster_without_room_ends_the_work() -> None:
    class Pending(FakeWorker):
        def open(self) -> Future[Answer]:
            return Future()

    with pytest.raises(InputError, match="no worker has started within 0 s"):
        list(Crew[int](Pending, 1, start_seconds=0.0).run(source([1])))


def test_problems_are_sentences_and_defects_keep_their_traceback() -> None:
    seat = Seat(Squares(), explain)
    assert seat.open().problem == ""
    assert seat.work(3) == Answer(9)
    assert seat.work(13) == Answer(problem="13 is unlucky.")
    with pytest.raises(InputError, match="13 is unlucky"):
        raise_problem(seat.work(13))
    defect = seat.work(14)
    assert "in square" in defect.trace
    with pytest.raises(RuntimeError, match="TypeError: 14"):
        raise_problem(defect)
    assert Seat(Squares(0), explain).open().problem == "threads is 0: give at least 1."
