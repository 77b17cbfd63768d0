from __future__ import annotations

import os

import pytest

from helpers.worker_tasks import Squares, explain
from labelfree.runtime.crew import Answer
from labelfree.runtime.local_workers import LocalWorker


def test_a_process_answers_until_it_is_killed() -> None:
    worker = LocalWorker(Squares(), explain)
    started = worker.open().result(60).value
    assert started.startswith("process ")
    assert f"process {os.getpid()} " not in started
    assert [worker.work(number).result(60) for number in (3, 13)] == [Answer(9), Answer(problem="13 is unlucky.")]
    doomed, behind = worker.work(15), worker.work(4)
    for future in (doomed, behind):
        with pytest.raises(ChildProcessError, match="ended with SIGKILL"):
            future.result(60)
    with pytest.raises(ChildProcessError):
        worker.work(5).result(60)
    worker.dismiss()


def test_a_dismissed_process_is_gone() -> None:
    worker = LocalWorker(Squares(), explain)
    process = int(worker.open().result(60).value.split()[1])
    worker.dismiss()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
