"""The runs of a table: one per row and seed, each in its own folder. Interrupted runs resume."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

import labelfree
from labelfree.config.identity import FORMER_VALUES
from labelfree.config.labels import PredictConfig
from labelfree.config.reading import read_settings, settings_yaml
from labelfree.config.run_config import RunConfig
from labelfree.errors import InputError
from labelfree.files.atomic import atomic_folder, write_text
from labelfree.files.documents import read_json
from labelfree.files.presence import is_there
from labelfree.paper_tables.data import weights_digest
from labelfree.paper_tables.rows import ALL_ROWS, LOSS_OVERLAYS, Loss, Row
from labelfree.paper_tables.run_result import Measures, RunResult, read_result, write_result
from labelfree.runtime.lab import WORLDS, world_of

JOB = "job.json"
TRAINING = "training"
KEY_LENGTH = 16


@dataclass(frozen=True)
class Job:
    """One run: a row with a seed, its settings and its folder."""

    row: str
    """The first row with these settings; rows with equal settings share its run."""
    seed: int
    config: RunConfig
    folder: Path
    key: str
    trained_like: Job | None = None
    """A run that trains the same networks and differs only in how they predict."""


Run = Callable[[Job], Measures]
"""Train a run, or resume it, and return its values."""

Attempt = Literal["done", "finished", "held"]
"""What became of a run: done here, finished before, or held by another process."""


def row_settings(recipe: Path, overrides: Sequence[str] = (), loss: Loss = "lab") -> dict[str, RunConfig]:
    """Return the settings of every overlay over a world's recipe, by the overlay's name, with a version's loss.

    Tuned settings of the row's system come between the recipe and the overrides. Overlays that only the lab's worlds
    have are left out for other recipes.
    """
    world, settings = recipe_world(recipe), dict[str, RunConfig]()
    for row in ALL_ROWS:
        path, tuned = row.path(world), row.tuned(world)
        if path.is_file():
            overlays = (path, *LOSS_OVERLAYS[loss])
            settings[row.overlay] = read_settings(recipe, overrides, overlays, (tuned,) if tuned.is_file() else ())
    return settings


def recipe_world(recipe: Path) -> str | None:
    """Return the lab's world that a recipe's name begins with, such as `rooms`; None for other recipes."""
    return next((world for world in WORLDS if recipe.stem.startswith(world)), None)


def recipes_own(seed: int) -> None:
    """Return None: every seed has the teachers of the recipe."""


@dataclass(frozen=True)
class Schedule:
    """The runs of all tables: `OUT/runs/seed-S/ROW`, or `OUT/runs/seed-S-paper/ROW` with the paper's loss."""

    settings: Mapping[str, RunConfig]
    """Of every overlay, by its name; see `row_settings`."""
    identity: str
    """Name of the data; part of each run's key, like the version and the lab's weights that the run uses."""
    out: Path
    loss: Loss = "lab"
    """The version of the tables; its runs are never used for another version."""
    teachers: Callable[[int], str | None] = recipes_own
    """The lab's pair of teachers of a seed, such as `rooms-b`, if it is not the recipe's; `TableData.teachers`."""

    @property
    def version(self) -> str:
        """Return what the names of a version's files and folders end in; empty for the lab's loss."""
        return "" if self.loss == "lab" else f"-{self.loss}"

    def job(self, row: Row, seed: int) -> Job:
        """Return the run of a row with a seed."""
        config = self.config(row, seed)
        plain = replace(config, predict=PredictConfig())
        other = self._owner(plain)
        like = None if other is None or plain == config else self._as_job(other, plain)
        owner = self._owner(config)
        return self._as_job(owner or row, config, like)

    def config(self, row: Row, seed: int) -> RunConfig:
        """Return the settings of a row with a seed."""
        config, pair = self.settings[row.overlay], self.teachers(seed)
        teachers = config.teachers
        if pair is not None:  # teachers that an override names stay
            clip, sam = (pair if name == world_of(pair) else name for name in (teachers.clip, teachers.sam))
            teachers = replace(teachers, clip=clip, sam=sam)
        return replace(config, seed=seed, teachers=teachers)

    def jobs(
        self, rows: Sequence[Row], seeds: Sequence[int], first: Row, counts: Mapping[str, int] | None = None
    ) -> tuple[Job, ...]:
        """Return the runs of the rows, ordered by seed, each once; a row in `counts` has only so many first seeds.

        Within a seed, row `first` comes first if it is among the rows: all differences are relative to it, and a long
        run at the start gives an early estimate of the time left.
        """
        counts = counts or {}
        ordered = sorted(rows, key=lambda row: row != first)
        wanted = (
            (row, seed)
            for place, seed in enumerate(seeds)
            for row in ordered
            if place < counts.get(row.name, len(seeds))
        )
        jobs = {job.folder: job for row, seed in wanted for job in [self.job(row, seed)]}
        return tuple(jobs.values())

    def _owner(self, config: RunConfig) -> Row | None:
        """Return the first row, in any table, with these settings."""
        known = (row for row in ALL_ROWS if row.overlay in self.settings)
        return next((row for row in known if self.config(row, config.seed) == config), None)

    def _as_job(self, owner: Row, config: RunConfig, like: Job | None = None) -> Job:
        folder = self.out / "runs" / f"seed-{config.seed}{self.version}" / owner.name
        identity = f"{self.identity} {weights_digest(config)}{self.version}"
        return Job(owner.name, config.seed, config, folder, run_key(config, identity), like)


def run_key(config: RunConfig, identity: str) -> str:
    """Return a digest of everything that a run's values depend on: settings, seed, data, version of the package.

    Settings at their defaults are left out, so that a new option that is off by default keeps finished runs valid;
    `FORMER_VALUES` take the place of such a default.
    """
    train = replace(config.train, workers=None, tensorboard=False, checkpoint_seconds=0.0)
    labels = replace(config.labels, keep_frames=None)
    same = asdict(replace(config, train=train, labels=labels)) | {"memory_gb": 0.0}
    text = json.dumps(
        [_changes(same, asdict(RunConfig()), ""), identity, labelfree.__version__], default=str, sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def _changes(settings: Mapping[str, Any], defaults: Mapping[str, Any], group: str) -> dict[str, Any]:
    """Return the settings that differ from their defaults, nested as they are."""
    changed: dict[str, Any] = {}
    for name, value in settings.items():
        default = FORMER_VALUES.get(group + name, defaults[name])
        if isinstance(value, dict) and isinstance(default, dict):
            changed |= {name: inner} if (inner := _changes(value, default, f"{group}{name}.")) else {}
        elif value != default:
            changed[name] = value
    return changed


def finished(job: Job) -> RunResult | None:
    """Return the result of a run; None if it is not finished with these settings."""
    found = read_result(folder_of(job))
    return found if found is not None and found.key == job.key else None


def folder_of(job: Job) -> Path:
    """Return the folder of a run: its own, or the renamed one if a run with other settings took its place."""
    aside = _aside(job.folder, job.key)
    return aside if aside.exists() else job.folder


def carry_out(jobs: Sequence[Job], run: Run, commit: str = "", tell: Callable[[Job], None] = lambda job: None) -> None:
    """Carry out the unfinished runs one after another; `tell` is called after each.

    Several processes may share one folder. A run that another process holds is skipped and waited for at the end. If
    that process dies, its run resumes here.
    """
    for patient in (False, True):
        for job in jobs:
            first = job.trained_like
            awaited = first is not None and first in jobs and finished(first) is None
            if awaited and not patient:
                continue
            if attempt(job, run, commit, patient) == "done":
                tell(job)


def attempt(job: Job, run: Run, commit: str = "", patient: bool = True) -> Attempt:
    """Carry out one run unless it is finished; if another process holds it, wait for that if `patient`."""
    if finished(job) is not None:
        return "finished"
    with _claimed(job, patient) as mine:
        if not mine:
            return "held"
        if finished(job) is not None:
            return "finished"
        prepare_folder(job)
        write_result(job.folder, RunResult(job.key, job.row, job.seed, commit, run(job)))
        return "done"


@contextmanager
def _claimed(job: Job, patient: bool) -> Iterator[bool]:
    """Lock a run's folder and yield True; yield False if another process holds it and `patient` is False.

    The operating system releases the lock when the process ends for any reason.
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
    """Create a run's folder, or keep it to resume the run; a folder with other settings is renamed, not deleted.

    Raises an `InputError` if the folder is not that of a run.
    """
    known, aside = _key_of(job.folder), _aside(job.folder, job.key)
    if known is not None and known != job.key:
        os.replace(job.folder, _aside(job.folder, known))
    if aside.exists():
        os.replace(aside, job.folder)
    write_text(job.folder / JOB, json.dumps({"key": job.key, "row": job.row, "seed": job.seed}) + "\n")
    write_text(job.folder / "settings.yaml", settings_yaml(job.config))
    _take_over_training(job)


def _take_over_training(job: Job) -> None:
    """Copy the finished training of a run with the same networks, so that it is not repeated."""
    other = job.trained_like
    if other is None or finished(other) is None or (job.folder / TRAINING).exists():
        return
    if (folder_of(other) / TRAINING).is_dir():
        with atomic_folder(job.folder / TRAINING) as copy:
            shutil.copytree(folder_of(other) / TRAINING, copy, dirs_exist_ok=True)


def _key_of(folder: Path) -> str | None:
    try:
        if not is_there(folder / JOB):
            return None
        return str(read_json(folder / JOB)["key"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / JOB}: not a run of a table; delete {folder} or choose another --out.") from error


def _aside(folder: Path, key: str) -> Path:
    return folder.with_name(f"{folder.name}.{key}")


def seconds_left(left: Sequence[Job], done: Sequence[RunResult]) -> float | None:
    """Return the estimated seconds left: the mean time of each row, the slowest row's for a new one; None at first."""
    if not done:
        return None
    times: dict[str, list[float]] = {}
    for result in done:
        times.setdefault(result.row, []).append(result.measures.seconds)
    means = {row: sum(found) / len(found) for row, found in times.items()}
    return sum(means.get(job.row, max(means.values())) for job in left)
