"""A group of processes that train together, started once for many tests; a job that waits forever fails its test."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from lightning_fabric import Fabric

from helpers.toy_training import free_port, join_processes

START_LIMIT, LIMIT = 600.0, 120.0
"""Times in seconds after which the start, which imports PyTorch, and a job count as stuck."""


@dataclass(frozen=True)
class Failure:
    """An error in one process."""

    kind: str
    text: str
    trace: str


class ProcessGroup:
    """Processes that each run a function with their fabric; they end with the group."""

    def __init__(self, count: int = 2) -> None:
        self.count = count
        self.processes: list[Any] = []
        self.pipes: list[Any] = []

    def run(self, job: Callable[..., Any], *given: Any) -> list[Any]:
        """Return what `job(fabric, *given)` returns in each process, or its `Failure` there."""
        if not self.processes:
            self._start()
        for pipe in self.pipes:
            pipe.send((job, given))
        return self._answers(job.__name__, LIMIT)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()
        self.processes = []

    def _start(self) -> None:
        context = torch.multiprocessing.get_context("spawn")
        pipes = [context.Pipe() for _ in range(self.count)]
        port = free_port()
        arguments = [(rank, self.count, port, pipe[1]) for rank, pipe in enumerate(pipes)]
        self.processes = [context.Process(target=_serve, args=each, daemon=True) for each in arguments]
        self.pipes = [pipe[0] for pipe in pipes]
        for process in self.processes:
            process.start()
        self._answers("start", START_LIMIT)

    def _answers(self, job: str, limit: float) -> list[Any]:
        missing = set(self.pipes)
        while missing:
            ready = wait([*missing, *(process.sentinel for process in self.processes)], limit)
            if not ready or not missing & set(ready):
                self.end()
                raise TimeoutError(f"{job}: {len(missing)} of {self.count} processes wait forever or have ended")
            missing -= set(ready)
        answers = [pipe.recv() for pipe in self.pipes]
        for answer in answers:
            print(answer.trace if isinstance(answer, Failure) else "")  # shown where the test fails
        return answers


def _serve(rank: int, count: int, port: int, pipe: Connection) -> None:
    fabric: Fabric = join_processes(rank, count, port)
    pipe.send("started")
    while True:
        job, given = pipe.recv()
        try:
            pipe.send(job(fabric, *given))
        except BaseException as error:
            pipe.send(Failure(type(error).__name__, str(error), traceback.format_exc()))
