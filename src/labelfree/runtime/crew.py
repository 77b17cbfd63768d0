"""Workers in other processes that carry out tasks: bounded work in flight, and lost workers are replaced.

A worker is a process on this machine (`local_workers`) or an actor of a Ray cluster (`ray_cluster`). This module knows
neither: it gives tasks to workers, and returns answers and the tasks of lost workers.
"""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from labelfree.errors import InputError

TaskT = TypeVar("TaskT")

FAILED_STARTS = 3
"""Number of workers in a row that end while they start, after which the work ends."""
START_SECONDS = 300.0
"""Longest time without a started worker, in seconds."""

Explain = Callable[[BaseException], str | None]
"""Return one sentence for an error of the input or the system; None for a defect of the program."""


@dataclass(frozen=True)
class Answer:
    """What a worker returns: only plain values, because not every exception can be sent to another process."""

    value: Any = None
    problem: str = ""
    """One sentence if the task failed, else empty."""
    trace: str = ""
    """Traceback of a defect of the program."""


Work = Callable[[Any], Any]
"""Carry out one task."""
Open = Callable[[], Work]
"""Check the worker's surroundings, load the models and return the function for tasks; it is sent to the worker."""


class Seat:
    """The object inside a worker process. It opens the work once, then carries out tasks one after another."""

    def __init__(self, opening: Open, explain: Explain) -> None:
        self.opening, self.explain = opening, explain
        self._work: Work | None = None

    def open(self) -> Answer:
        """Open the work; return the worker's process and machine, or the problem."""
        return self._answered(self._open)

    def work(self, task: object) -> Answer:
        """Carry out a task; return its result or the problem."""
        assert self._work is not None
        return self._answered(self._work, task)

    def _open(self) -> str:
        self._work = self.opening()
        return this_process()

    def _answered(self, function: Callable[..., Any], *arguments: object) -> Answer:
        try:
            return Answer(function(*arguments))
        except Exception as error:
            told = self.explain(error)
            if told is not None:
                return Answer(problem=told)
            return Answer(problem=f"{type(error).__name__}: {error}", trace=traceback.format_exc())


def this_process() -> str:
    """Return the process and the machine as text, for messages."""
    return f"process {os.getpid()} on {socket.gethostname()}"


class Worker(Protocol):
    """A worker as its driver sees it. A future that raises means that the worker is lost."""

    def open(self) -> Future[Answer]:
        """Open the work in the worker."""

    def work(self, task: object) -> Future[Answer]:
        """Begin a task; tasks are carried out in order."""

    def dismiss(self) -> None:
        """End the worker at once."""


@dataclass(frozen=True)
class Done(Generic[TaskT]):
    """The answer to a task."""

    task: TaskT
    answer: Answer


@dataclass(frozen=True)
class Lost(Generic[TaskT]):
    """A task whose worker ended, for example because it was killed."""

    task: TaskT
    suspect: bool
    """Whether the worker was carrying it out, so that the task may be the cause."""
    reason: str


@dataclass
class _Hired(Generic[TaskT]):
    worker: Worker
    opening: Future[Answer] | None
    """None once the worker has started."""
    given: list[tuple[Future[Answer], TaskT]] = field(default_factory=list)


class Crew(Generic[TaskT]):
    """At most `size` workers with at most `depth` tasks each."""

    def __init__(
        self, hire: Callable[[], Worker], size: int, depth: int = 1, start_seconds: float = START_SECONDS
    ) -> None:
        self.hire, self.size, self.depth, self.start_seconds = hire, size, depth, start_seconds
        self._hired: list[_Hired[TaskT]] = []
        self._failed_starts = 0

    def run(self, next_task: Callable[[], TaskT | None]) -> Iterator[Done[TaskT] | Lost[TaskT]]:
        """Carry out tasks until `next_task` returns None and nothing is in flight; yield what becomes of each.

        `next_task` is called when a worker is free, and again after every yield: a lost task can be given again.
        Raises an InputError if a worker cannot open the work, or if no worker starts.
        """
        waiting: TaskT | None = None
        since = time.monotonic()
        try:
            while True:
                busy = any(each.given for each in self._hired)
                if waiting is None and (not busy or self._has_place()):
                    waiting = next_task()
                if waiting is None and not busy:
                    return
                if waiting is not None:
                    self._complete()
                    if self._give(waiting):
                        waiting = None
                        continue
                self._wait()
                for each in list(self._hired):
                    yield from self._settle(each)
                since = time.monotonic() if any(each.opening is None for each in self._hired) else since
                if time.monotonic() - since > self.start_seconds:
                    raise InputError(
                        f"no worker has started within {self.start_seconds:.0f} s; free CPUs or GPUs of the cluster, "
                        "or lower --threads."
                    )
        finally:
            for each in self._hired:
                each.worker.dismiss()
            self._hired.clear()

    def _complete(self) -> None:
        while len(self._hired) < self.size:
            worker = self.hire()
            self._hired.append(_Hired(worker, worker.open()))

    def _has_place(self) -> bool:
        return len(self._hired) < self.size or bool(self._free())

    def _free(self) -> list[_Hired[TaskT]]:
        return [each for each in self._hired if each.opening is None and len(each.given) < self.depth]

    def _give(self, task: TaskT) -> bool:
        """Give a task to the worker with the fewest; return False if none is free."""
        if not (free := self._free()):
            return False
        chosen = min(free, key=lambda each: len(each.given))
        chosen.given.append((chosen.worker.work(task), task))
        return True

    def _wait(self) -> None:
        openings = [each.opening for each in self._hired if each.opening is not None]
        wait([*openings, *(each.given[0][0] for each in self._hired if each.given)], 1.0, FIRST_COMPLETED)

    def _settle(self, hired: _Hired[TaskT]) -> Iterator[Done[TaskT] | Lost[TaskT]]:
        if hired.opening is not None and hired.opening.done():
            self._settle_opening(hired, hired.opening)
        while hired.given and hired.given[0][0].done():
            future, task = hired.given[0]
            if (error := future.exception()) is None:
                hired.given.pop(0)
                yield Done(task, future.result())
                continue
            self._dismiss(hired)
            lost, hired.given = hired.given, []
            for place, (_, each) in enumerate(lost):
                yield Lost(each, place == 0, _first_line(error))

    def _settle_opening(self, hired: _Hired[TaskT], opening: Future[Answer]) -> None:
        hired.opening = None
        if (error := opening.exception()) is None:
            raise_problem(opening.result())
            self._failed_starts = 0
            return
        self._dismiss(hired)
        self._failed_starts += 1
        if self._failed_starts >= FAILED_STARTS:
            raise InputError(
                f"{FAILED_STARTS} workers in a row ended while they started ({_first_line(error)}); check that "
                "labelfree is installed on every machine and that memory suffices for the models."
            )

    def _dismiss(self, hired: _Hired[TaskT]) -> None:
        hired.worker.dismiss()
        self._hired.remove(hired)


def raise_problem(answer: Answer) -> None:
    """Raise the problem of an answer: an InputError, or a RuntimeError with the worker's traceback for a defect."""
    if answer.trace:
        raise RuntimeError(f"a worker failed:\n{answer.trace}")
    if answer.problem:
        raise InputError(answer.problem)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
