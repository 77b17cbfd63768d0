"""One run of a table: open the seed's scenes, label them, train the row's system and measure it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from filelock import FileLock

from labelfree.config.teachers import TeacherConfig
from labelfree.evaluation.measure import measure
from labelfree.evaluation.method_results import MethodResult
from labelfree.labelling.labellers import Labeller
from labelfree.paper_tables.data import TableData, TableScenes
from labelfree.paper_tables.run_result import Measures, measures_of
from labelfree.paper_tables.schedule import Job
from labelfree.run import open_run
from labelfree.runtime.devices import make_fabric
from labelfree.teachers.label_frames import label_frames
from labelfree.teachers.opening import load_teachers
from labelfree.teachers.teachers import Teachers
from labelfree.training.systems import train_system

Adapt = Callable[[Teachers, int], Teachers]
"""Return a replacement for the teachers of a seed, for experiments on teachers."""

Labelled = tuple[int, TeacherConfig, tuple[int, int], int]


class RowRunner:
    """A function that trains and measures runs; work that the rows of a seed share is done once."""

    def __init__(self, data: TableData, cache: Path, device: str = "auto", adapt: Adapt | None = None) -> None:
        self.data, self.cache, self.device = data, cache, device
        self.adapt = adapt or (lambda teachers, seed: teachers)
        self._opened: tuple[int, TableScenes] | None = None
        self._labelled: set[Labelled] = set()

    def __call__(self, job: Job) -> Measures:
        """Train and measure a run, or resume it if it was interrupted, and return its values."""
        fabric = make_fabric(self.device, precision=job.config.train.precision)
        self.cache.mkdir(parents=True, exist_ok=True)
        with FileLock(self.cache / f".seed-{job.seed}.lock"):  # one process at a time prepares a seed
            scenes = self._open(job.seed)
            teachers = self._teachers(job, scenes, fabric.device)
        started = time.monotonic()
        run = open_run(scenes.train, scenes.vocabulary, job.config, job.folder, teachers, fabric)
        labeller = train_system(run.begin(), labelled=True)
        method = _measured(scenes, labeller, f"held-out scenes, seed {job.seed}")
        return measures_of(method, time.monotonic() - started)

    def _open(self, seed: int) -> TableScenes:
        if self._opened is None or self._opened[0] != seed:
            self._opened = seed, self.data.open(seed)
        return self._opened[1]

    def _teachers(self, job: Job, scenes: TableScenes, device: torch.device) -> Teachers:
        """Return the teachers after labelling every frame of the seed into the cache that all rows and seeds share."""
        labels = job.config.labels
        loaded = load_teachers(job.config, scenes.vocabulary, self.cache, device)
        teachers = self.adapt(loaded, job.seed)
        known = (job.seed, job.config.teachers, labels.image_size, labels.latent_width)
        if known not in self._labelled:
            label_frames(scenes.train, teachers, device, "label training scenes")
            label_frames(scenes.held_out, teachers, device, "label held-out scenes")
            if scenes.pictures is not None:
                label_frames(scenes.pictures, teachers, device, "label held-out images")
            self._labelled.add(known)
        return teachers


def _measured(scenes: TableScenes, labeller: Labeller, title: str) -> MethodResult:
    """Return the result on the held-out scenes; in 2D on the separate images, if there are any."""
    names, pictures = scenes.vocabulary, scenes.pictures
    method = measure(scenes.held_out, (labeller,), names, title, scenes.measured)[0]
    if pictures is None:
        return method
    pixels = measure(pictures, (labeller,), names, title, pictures.measured)[0]
    return replace(method, evaluation_2d=pixels.evaluation_2d)
