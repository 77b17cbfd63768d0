"""Workers as processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection

from labelfree.runtime.crew import Answer, Explain, Open, Seat

_END_SECONDS = 5.0
"""Time that a process has to end after SIGTERM, before SIGKILL."""


class LocalWorker:
    """One process on this machine; it ends with the process that started it."""

    def __init__(self, opening: Open, explain: Explain) -> None:
        spawn = multiprocessing.get_context("spawn")  # a fork would inherit threads of PyTorch and a CUDA context
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, opening, explain), daemon=False)
        self._process.start()
        theirs.close()
        self._asked: list[Future[Answer]] = []
        self._ended, self._lock = False, threading.Lock()
        threading.Thread(target=self._collect, daemon=True).start()

    def open(self) -> Future[Answer]:
        """Open the work in the process."""
        return self._ask(None)

    def work(self, task: object) -> Future[Answer]:
        """Begin a task."""
        return self._ask((task,))

    def dismiss(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join(_END_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, message: tuple[object] | None) -> Future[Answer]:
        future: Future[Answer] = Future()
        with self._lock:
            if self._ended:
                future.set_exception(self._loss())
                return future
            self._asked.append(future)
        with suppress(OSError):  # an ended process: the collecting thread fails the future
            self._pipe.send(message)
        return future

    def _collect(self) -> None:
        """Hand the answers to their futures in order; when the process has ended, fail the rest."""
        with suppress(EOFError, OSError):
            while True:
                answer = self._pipe.recv()
                self._asked.pop(0).set_result(answer)
        self._process.join(_END_SECONDS)
        with self._lock:
            self._ended = True
        for future in self._asked:
            future.set_exception(self._loss())

    def _loss(self) -> ChildProcessError:
        return ChildProcessError(f"the worker process ended with {_ending(self._process.exitcode)}")


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"code {code}"


def _serve(pipe: Connection, opening: Open, explain: Explain) -> None:
    """Answer messages until the pipe is closed; end when the parent process ends for any reason."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    seat = Seat(opening, explain)
    with suppress(EOFError, OSError):
        while True:
            message = pipe.recv()
            pipe.send(seat.open() if message is None else seat.work(message[0]))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
