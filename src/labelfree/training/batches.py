"""The batches of one process over all epochs, prepared by worker processes while the device trains."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from labelfree.config.training import TrainConfig, TrainingPlan
from labelfree.training.checkpoint import Position
from labelfree.training.samples import scene_random

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MOST_WORKERS = 8
"""Largest number of workers that is chosen automatically for a process."""

SHARED_BYTES = 512 * 2**20
"""Shared memory that must be free for each worker chosen automatically: two batches of ScanNet's size, doubled."""

SHARED = Path("/dev/shm")

BatchT = TypeVar("BatchT")
ReadyT = TypeVar("ReadyT", covariant=True)


class Packed(Protocol[ReadyT]):
    """A batch that is prepared on the CPU."""

    def to(self, device: torch.device) -> ReadyT:
        """Return the batch as the training step reads it, on a device."""


class SceneBatches(Dataset[Packed[BatchT]]):
    """The batches of one process by (epoch, step in the epoch); each is prepared on access."""

    def __init__(
        self,
        scenes: int,
        plan: TrainingPlan,
        build: Callable[[int, list[int]], Packed[BatchT]],
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.scenes, self.plan, self.build = scenes, plan, build
        self.rank, self.processes = rank, processes
        self._epoch: tuple[int, list[list[int]]] | None = None

    def of_epoch(self, epoch: int) -> list[list[int]]:
        """Return the scenes of each batch of an epoch, over all processes."""
        if self._epoch is None or self._epoch[0] != epoch:
            order = scene_random(self.plan.seed, epoch, self.scenes).permutation(self.scenes).tolist()
            size = min(self.plan.train.scenes_per_batch, self.scenes)
            batches = (order[start : start + size] for start in range(0, len(order), size))
            # At least one scene per process
            self._epoch = epoch, [batch for batch in batches if len(batch) >= self.processes]
        return self._epoch[1]

    def __getitem__(self, place: tuple[int, int]) -> Packed[BatchT]:
        epoch, step = place
        return self.build(epoch, self.of_epoch(epoch)[step][self.rank :: self.processes])


class _Places:
    """The (epoch, step in the epoch) of all batches from a position on, in order."""

    def __init__(self, batches: SceneBatches[BatchT], epochs: int, start: Position) -> None:
        self.batches, self.epochs = batches, epochs
        self.epoch, self.step = start.epoch, start.step_in_epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for epoch in range(self.epoch, self.epochs):
            first = self.step if epoch == self.epoch else 0
            yield from ((epoch, step) for step in range(first, len(self.batches.of_epoch(epoch))))


def batch_stream(
    fabric: Fabric,
    build: Callable[[int, list[int]], Packed[BatchT]],
    scenes: int,
    plan: TrainingPlan,
    start: Position,
) -> Iterator[BatchT]:
    """Return the batches of this process on its device, from a position to the last epoch.

    Each batch depends only on plan, epoch and step, whatever the number of workers. `build` returns the batch of an
    epoch from scenes given by index.
    """
    batches = SceneBatches(scenes, plan, build, fabric.global_rank, fabric.world_size)
    loader = _loader(batches, _Places(batches, plan.train.epochs, start), plan, fabric)
    return (packed.to(fabric.device) for packed in loader)


def _loader(
    batches: SceneBatches[BatchT], places: _Places, plan: TrainingPlan, fabric: Fabric
) -> DataLoader[Packed[BatchT]]:
    workers = worker_count(plan.train, fabric.device, fabric.world_size)
    return DataLoader(
        batches,
        batch_size=None,
        sampler=places,
        num_workers=workers,
        pin_memory=fabric.device.type == "cuda" and torch.cuda.is_available(),
        # The loader draws a seed at its start; its own generator leaves the global one as it is.
        generator=torch.Generator().manual_seed(plan.seed),
        # Workers inherit scenes and teachers; started afresh they would need a copy of both.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )


def worker_count(config: TrainConfig, device: torch.device, processes: int) -> int:
    """Return the number of worker processes: `train.workers`, or as many as pay on this machine.

    A CPU that trains has no core to spare. With a GPU the cores are divided among the processes on this machine.
    """
    if config.workers is not None:
        return config.workers
    here = min(processes, torch.cuda.device_count())
    if device.type != "cuda" or not here:
        return 0
    return max(0, min(MOST_WORKERS, usable_cores() // here - 1, _free_shared_bytes() // (here * SHARED_BYTES)))


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _free_shared_bytes() -> int:
    """Return the free shared memory, through which workers hand over batches; containers often have only 64 MB."""
    return shutil.disk_usage(SHARED).free if SHARED.is_dir() else sys.maxsize
