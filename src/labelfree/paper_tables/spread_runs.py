"""Spread the runs of a table over workers: one per device of this machine, or the workers of a Ray cluster.

The values are those of one process, because a worker carries out whole runs with the driver's number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from labelfree.files.atomic import write_text
from labelfree.paper_tables.data import TableData
from labelfree.paper_tables.schedule import Attempt, Job, Run, attempt, finished
from labelfree.runtime.crew import Answer, Crew, Done, Explain, Lost, Open
from labelfree.runtime.local_workers import LocalWorker
from labelfree.runtime.surroundings import Surroundings

LARGEST_LOSS = 3
"""Number of workers that one run may end before it counts as failed."""
TRACE = "error.txt"
"""File in a run's folder with the traceback of a defect."""

Tell = Callable[[Job], None]


@dataclass(frozen=True)
class Claim:
    """A run for a worker; `patient` waits for another process that holds the run."""

    job: Job
    patient: bool = False


@dataclass(frozen=True)
class Failure:
    """A run that failed, and one sentence about the cause."""

    job: Job
    cause: str


@dataclass(frozen=True)
class RunWork:
    """Everything that a worker needs. Called in the worker, it returns the function that carries out runs."""

    data: TableData
    cache: Path
    device: str
    commit: str
    around: Surroundings
    runner: Callable[[TableData, Path, str], Run]
    """`RowRunner`."""

    def __call__(self) -> Callable[[Claim], Attempt]:
        """Check the worker's surroundings; work that the rows of a seed share is done once per worker."""
        self.around.enter()
        run = self.runner(self.data, self.cache, self.device)
        return lambda claim: attempt(claim.job, run, self.commit, claim.patient)


class DeviceWorkers:
    """One process per device of this machine; the replacement of a lost worker takes over its device."""

    def __init__(self, work: RunWork, devices: Sequence[str], explain: Explain) -> None:
        self.work, self.explain = work, explain
        self._free = deque(devices)

    def hire(self) -> LocalWorker:
        """Start a process for a free device."""
        device = self._free.popleft()
        return _DeviceWorker(replace(self.work, device=device), self.explain, lambda: self._free.append(device))


class _DeviceWorker(LocalWorker):
    def __init__(self, opening: Open, explain: Explain, leave: Callable[[], None]) -> None:
        super().__init__(opening, explain)
        self._leave = leave

    def dismiss(self) -> None:
        super().dismiss()
        self._leave()


class _Queue:
    """The runs that are not settled. Runs that train like another one wait for it; held runs come last."""

    def __init__(self, jobs: Sequence[Job], begins: Tell) -> None:
        self.begins = begins
        self.waiting = [job for job in jobs if finished(job) is None]
        self.held: list[Job] = []
        self.given: dict[Path, Claim] = {}

    def next_claim(self) -> Claim | None:
        """Return a run that can begin now."""
        unsettled = {job.folder for job in (*self.waiting, *self.held)} | set(self.given)
        for job in self.waiting:
            if job.trained_like is None or job.trained_like.folder not in unsettled:
                self.waiting.remove(job)
                self.begins(job)
                return self._give(Claim(job))
        if self.held and all(claim.patient for claim in self.given.values()):
            return self._give(Claim(self.held.pop(0), patient=True))
        return None

    def settle(self, claim: Claim) -> None:
        """Note that a claim is no longer in flight."""
        del self.given[claim.job.folder]

    def _give(self, claim: Claim) -> Claim:
        self.given[claim.job.folder] = claim
        return claim


def spread_runs(jobs: Sequence[Job], crew: Crew[Claim], begins: Tell, tell: Tell) -> list[Failure]:
    """Carry out the unfinished runs with a crew; return the failed ones, which do not stop the others.

    `begins` is called before each run, `tell` after each that was done here. The run of a lost worker resumes on
    another one from its last checkpoint.
    """
    queue = _Queue(jobs, begins)
    failures: list[Failure] = []
    losses: dict[Path, int] = {}
    for event in crew.run(queue.next_claim):
        claim, job = event.task, event.task.job
        queue.settle(claim)
        if isinstance(event, Lost):
            losses[job.folder] = losses.get(job.folder, 0) + event.suspect
            if losses[job.folder] < LARGEST_LOSS:
                queue.waiting.insert(0, job)
            else:
                failures.append(Failure(job, f"{LARGEST_LOSS} workers ended during this run ({event.reason})."))
        elif event.answer.problem:
            failures.append(Failure(job, _cause(job, event)))
        elif event.answer.value == "held":
            queue.held.append(job)
        elif event.answer.value == "done":
            (job.folder / TRACE).unlink(missing_ok=True)  # of an earlier attempt
            tell(job)
    return failures


def _cause(job: Job, event: Done[Claim]) -> str:
    answer: Answer = event.answer
    if not answer.trace:
        return answer.problem
    write_text(job.folder / TRACE, answer.trace)
    return f"a defect of labelfree, {answer.problem.rstrip('.')}; its traceback is in {job.folder / TRACE}."
