"""The runs a table needs: one per row and seed, each in its own folder, done once, taken up where they were killed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import labelfree
from labelfree.config.labels import PredictConfig
from labelfree.config.reading import read_settings, settings_yaml
from labelfree.config.run_config import RunConfig
from labelfree.errors import InputError
from labelfree.files.atomic import atomic_folder, write_text
from labelfree.files.documents import read_json
from labelfree.paper_tables.rows import ALL_ROWS, Row
from labelfree.paper_tables.run_result import Measures, RunResult, read_result, write_result

JOB = "job.json"
TRAINING = "training"
KEY_LENGTH = 16


@dataclass(frozen=True)
class Job:
    """One run to be done."""

    row: str
    """The first row with these settings: rows that equal each other share its run."""
    seed: int
    config: RunConfig
    folder: Path
    key: str
    trained_like: Job | None = None
    """A run that trains the very same networks and only labels with them in another way."""


Run = Callable[[Job], Measures]
"""Trains, as far as that is not done, and measures."""


def row_settings(recipe: Path, overrides: Sequence[str] = ()) -> dict[Path, RunConfig]:
    """Return the settings of every overlay over a world's recipe."""
    overlays = dict.fromkeys(row.path for row in ALL_ROWS)
    return {path: read_settings(recipe, overrides, (path,)) for path in overlays}


@dataclass(frozen=True)
class Schedule:
    """The runs of both tables in one folder, `OUT/runs/seed-S/ROW`."""

    settings: Mapping[Path, RunConfig]
    """Of every overlay; see `row_settings`."""
    identity: str
    """Names data and shipped weights: a run on others is another run."""
    out: Path

    def job(self, row: Row, seed: int) -> Job:
        """Return the run of a row with a seed."""
        config = replace(self.settings[row.path], seed=seed)
        plain = replace(config, predict=PredictConfig())
        other = self._owner(plain)
        like = None if other is None or plain == config else self._as_job(other, plain)
        owner = self._owner(config)
        return self._as_job(owner or row, config, like)

    def jobs(self, rows: Sequence[Row], seeds: Sequence[int], first: Row) -> tuple[Job, ...]:
        """Return the runs of some rows seed by seed, each once.

        `first` leads within its seed where it is among the rows: all differences are taken to it, and a long run early
        makes the time left known.
        """
        ordered = sorted(rows, key=lambda row: row != first)
        jobs = {job.folder: job for seed in seeds for row in ordered for job in [self.job(row, seed)]}
        return tuple(jobs.values())

    def _owner(self, config: RunConfig) -> Row | None:
        """Return the first row, in either table, with these settings."""
        return next((row for row in ALL_ROWS if replace(self.settings[row.path], seed=config.seed) == config), None)

    def _as_job(self, owner: Row, config: RunConfig, like: Job | None = None) -> Job:
        folder = self.out / "runs" / f"seed-{config.seed}" / owner.name
        return Job(owner.name, config.seed, config, folder, run_key(config, self.identity), like)


def run_key(config: RunConfig, identity: str) -> str:
    """Return a digest of all that decides a run's numbers: settings with the seed, data, version of the package.

    Settings at their defaults are left out, so that a new option, off by default, leaves finished runs finished.
    """
    train = replace(config.train, workers=0, tensorboard=False, checkpoint_seconds=0.0)
    labels = replace(config.labels, keep_frames=False)
    same = asdict(replace(config, train=train, labels=labels)) | {"memory_gb": 0.0}
    text = json.dumps(
        [_changes(same, asdict(RunConfig())), identity, labelfree.__version__], default=str, sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def _changes(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that differ from their defaults, nested as they are."""
    changed: dict[str, Any] = {}
    for name, value in settings.items():
        default = defaults[name]
        if isinstance(value, dict) and isinstance(default, dict):
            changed |= {name: inner} if (inner := _changes(value, default)) else {}
        elif value != default:
            changed[name] = value
    return changed


def finished(job: Job) -> RunResult | None:
    """Return what a run reached, if it was finished with just these settings."""
    found = read_result(folder_of(job))
    return found if found is not None and found.key == job.key else None


def folder_of(job: Job) -> Path:
    """Return where a run is: in its folder, or aside if other settings have taken that since."""
    aside = _aside(job.folder, job.key)
    return aside if aside.exists() else job.folder


def carry_out(jobs: Sequence[Job], run: Run, commit: str = "", tell: Callable[[Job], None] = lambda job: None) -> None:
    """Do the runs that are not finished, one after the other; `tell` hears of each one that is.

    Several processes may do this at once in one folder: a run that another one is at is passed over, and waited for
    when there is nothing else to do. If that process dies, its run is taken up here.
    """
    for patient in (False, True):
        for job in jobs:
            first = job.trained_like
            awaited = first is not None and first in jobs and finished(first) is None
            if finished(job) is not None or (awaited and not patient):
                continue
            with _claimed(job, patient) as mine:
                if mine and finished(job) is None:
                    prepare_folder(job)
                    write_result(job.folder, RunResult(job.key, job.row, job.seed, commit, run(job)))
                    tell(job)


@contextmanager
def _claimed(job: Job, patient: bool) -> Iterator[bool]:
    """Hold a run's folder, or say False where another process does and there is no patience to wait for it.

    The system lets go of the lock when the process that holds it ends, however that ends.
    """
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(job.folder.with_name(f".{job.folder.name}.lock"))
    try:
        lock.acquire(blocking=patient)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def prepare_folder(job: Job) -> None:
    """Make a run's folder or take up the one that is there; one made with other settings is set aside, not deleted."""
    known, aside = _key_of(job.folder), _aside(job.folder, job.key)
    if known is not None and known != job.key:
        os.replace(job.folder, _aside(job.folder, known))
    if aside.exists():
        os.replace(aside, job.folder)
    write_text(job.folder / JOB, json.dumps({"key": job.key, "row": job.row, "seed": job.seed}) + "\n")
    write_text(job.folder / "settings.yaml", settings_yaml(job.config))
    _take_over_training(job)


def _take_over_training(job: Job) -> None:
    """Copy the finished training of a run that trains the same, so that the same hours are not spent twice."""
    other = job.trained_like
    if other is None or finished(other) is None or (job.folder / TRAINING).exists():
        return
    if (folder_of(other) / TRAINING).is_dir():
        with atomic_folder(job.folder / TRAINING) as copy:
            shutil.copytree(folder_of(other) / TRAINING, copy, dirs_exist_ok=True)


def _key_of(folder: Path) -> str | None:
    try:
        if not os.path.lexists(folder / JOB):
            return None
        return str(read_json(folder / JOB)["key"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / JOB}: not a run of a table; delete {folder} or choose another --out.") from error


def _aside(folder: Path, key: str) -> Path:
    return folder.with_name(f"{folder.name}.{key}")


def seconds_left(left: Sequence[Job], done: Sequence[RunResult]) -> float | None:
    """Return about how long the rest takes: each row as long as it took before, a new one as long as the slowest."""
    if not done:
        return None
    times: dict[str, list[float]] = {}
    for result in done:
        times.setdefault(result.row, []).append(result.measures.seconds)
    means = {row: sum(found) / len(found) for row, found in times.items()}
    return sum(means.get(job.row, max(means.values())) for job in left)
