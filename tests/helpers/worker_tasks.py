"""Work for worker processes, which import it by name."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labelfree.errors import InputError
from labelfree.paper_tables.data import TableData
from labelfree.paper_tables.run_result import Measures
from labelfree.paper_tables.schedule import Job


def explain(error: BaseException) -> str | None:
    return str(error) if isinstance(error, InputError) else None


@dataclass(frozen=True)
class Squares:
    """Square numbers; 13 is refused, 14 is a defect, 15 ends the process."""

    threads: int = 1

    def __call__(self) -> Callable[[int], int]:
        if self.threads < 1:
            raise InputError("threads is 0: give at least 1.")
        return square


def square(number: int) -> int:
    if number == 13:
        raise InputError("13 is unlucky.")
    if number == 14:
        raise TypeError("14")
    if number == 15:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


@dataclass(frozen=True)
class FakeRuns:
    """Runs that count to three with a checkpoint. One is killed once, one fails, one has a defect."""

    data: TableData
    cache: Path
    device: str

    def __call__(self, job: Job) -> Measures:
        step = job.folder / "training" / "step"
        step.parent.mkdir(exist_ok=True)
        for count in range(int(step.read_text()) if step.is_file() else 0, 3):
            step.write_text(str(count + 1))
            with (job.folder / "steps").open("a") as file:
                file.write(f"{self.device} {os.getpid()}\n")
            if (job.row, count) == ("wo_ct", 1):
                os.kill(os.getpid(), signal.SIGKILL)
        if job.row == "wo_sct":
            raise InputError("images/3.png: is empty; copy the file again.")
        if job.row == "wo_refine":
            raise TypeError("a defect")
        return Measures(10.0 + job.seed, 20.0, 30.0, 40.0, seconds=float(len(job.row)))
