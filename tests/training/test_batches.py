from __future__ import annotations

import os
from dataclasses import dataclass, replace

import pytest
import torch

from helpers.toy_training import cpu
from labelfree.config.training import TrainConfig, TrainingPlan
from labelfree.training import batches as module
from labelfree.training.batches import batch_stream, worker_count
from labelfree.training.checkpoint import Position
from labelfree.training.samples import scene_random
from labelfree.training.schedule import steps_per_epoch

SCENES = 7
PLAN = TrainingPlan(seed=3, train=TrainConfig(epochs=3, scenes_per_batch=2))


@dataclass
class Chosen:
    """A batch that only knows where it belongs and which process prepared it."""

    epoch: int
    scenes: list[int]
    process: int

    def to(self, device: torch.device) -> Chosen:
        return self


def build(epoch: int, scenes: list[int]) -> Chosen:
    return Chosen(epoch, scenes, os.getpid())


def stream(workers: int, start: Position) -> list[Chosen]:
    plan = replace(PLAN, train=replace(PLAN.train, workers=workers))
    return list(batch_stream(cpu(), build, SCENES, plan, start))


def by_epoch(found: list[Chosen]) -> list[tuple[int, list[int]]]:
    return [(batch.epoch, batch.scenes) for batch in found]


def test_every_epoch_has_every_scene_once_in_its_own_order() -> None:
    found = stream(0, Position())
    steps = steps_per_epoch(SCENES, PLAN.train)
    assert [batch.epoch for batch in found] == [0] * steps + [1] * steps + [2] * steps
    for epoch in range(3):
        order = [scene for batch in found for scene in batch.scenes if batch.epoch == epoch]
        assert order == scene_random(3, epoch, SCENES).permutation(SCENES).tolist()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("epoch", "step"), [(0, 0), (1, 3), (2, 1), (3, 0)])
def test_a_stream_starts_at_any_step_whatever_the_number_of_workers(workers: int, epoch: int, step: int) -> None:
    whole = by_epoch(stream(0, Position()))
    position = Position(epoch=epoch, step_in_epoch=step)
    assert by_epoch(stream(workers, position)) == whole[epoch * steps_per_epoch(SCENES, PLAN.train) + step :]


def test_the_same_workers_serve_all_epochs() -> None:
    found = stream(2, Position())
    for epoch in range(3):
        assert len({batch.process for batch in found if batch.epoch == epoch} - {os.getpid()}) == 2
    assert len({batch.process for batch in found}) == 2


@pytest.mark.parametrize(
    ("wanted", "device", "processes", "cores", "shared_gb", "expected"),
    [
        (None, "cpu", 1, 16, 64, 0),  # the cores train
        (None, "cuda", 1, 16, 64, 8),
        (None, "cuda", 1, 4, 64, 3),
        (None, "cuda", 4, 16, 64, 3),  # four GPUs of one machine share its cores
        (None, "cuda", 8, 16, 64, 3),  # two machines of four GPUs
        (None, "cuda", 1, 1, 64, 0),
        (None, "cuda", 1, 16, 0.0625, 0),  # a container's default
        (None, "cuda", 1, 16, 2.2, 4),
        (5, "cpu", 1, 1, 0, 5),
        (0, "cuda", 1, 16, 64, 0),
        (None, "mps", 1, 16, 64, 0),
    ],
)
def test_workers_are_chosen_by_the_machine(
    monkeypatch: pytest.MonkeyPatch,
    wanted: int | None,
    device: str,
    processes: int,
    cores: int,
    shared_gb: float,
    expected: int,
) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    monkeypatch.setattr(module, "_free_shared_bytes", lambda: int(shared_gb * 2**30))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: min(processes, 4))
    assert worker_count(TrainConfig(workers=wanted), torch.device(device), processes) == expected
