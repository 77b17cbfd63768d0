"""The training loop: epochs, learning rates, batches per process, metrics, checkpoints and resume."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from labelfree.config.training import TrainConfig, TrainingPlan
from labelfree.errors import InputError
from labelfree.nets.segmenters import Segmenter
from labelfree.runtime.progress import Progress
from labelfree.runtime.together import gathered, guarded, joint_mean, same_in_all, together, zero_first
from labelfree.training.batches import BatchT, Packed, batch_stream
from labelfree.training.checkpoint import MetricsLog, Position, load_checkpoint, require_finite, save_checkpoint
from labelfree.training.schedule import rate_factor, steps_per_epoch
from labelfree.training.weight_average import WeightAverage

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Course(Generic[BatchT]):
    """One kind of training: its networks, optimiser, batches and step function."""

    networks: nn.Module
    """The modules that are trained in place and stored in the checkpoint."""
    optimiser: Optimizer
    """The optimiser of all trained weights."""
    scene_names: tuple[str, ...]
    """The training scenes."""
    build: Callable[[int, list[int]], Packed[BatchT]]
    """Return the batch of an epoch from scenes given by index."""
    step: Callable[[nn.Module, Optimizer, BatchT, Position], dict[str, float | int | str]]
    """Take one optimiser step; return its record for metrics.jsonl."""
    kind: str = ""
    """Name of this kind of training; checkpoints of another kind are refused."""


class Exchanged(nn.Module):
    """The networks as DDP exchanges their gradients: in the same order at all steps.

    By default, DDP arranges the gradients anew after the first step. More than two processes then add them in another
    order, so that a run that resumes would differ in the last bits. DDP does not with `find_unused_parameters`
    (`runtime.devices`), and it warns if none is unused, so there is one.
    """

    def __init__(self, networks: nn.Module) -> None:
        super().__init__()
        self.networks = networks
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, *inputs: Any) -> Any:
        """Run the networks."""
        return self.networks(*inputs)


def fit(
    fabric: Fabric,
    course: Course[BatchT],
    plan: TrainingPlan,
    folder: Path,
    identity: str = "",
    until: int | None = None,
) -> None:
    """Train a course's networks in place; resume from a checkpoint in `folder`. `identity` is that of `train`.

    `until` stops before an epoch; a later call with a new optimiser resumes there.
    Raises an `InputError` if `folder` holds a damaged checkpoint or one of another run, or if a loss is not finite.
    """
    with guarded(fabric):
        _fit(fabric, course, plan, folder, identity, plan.train.epochs if until is None else until)


def _fit(fabric: Fabric, course: Course[BatchT], plan: TrainingPlan, folder: Path, identity: str, until: int) -> None:
    # Move to the device, then resume there
    with same_in_all(fabric):
        _require_scenes(len(course.scene_names), plan.train, fabric.world_size)
    folder.mkdir(parents=True, exist_ok=True)
    networks, optimiser = course.networks, course.optimiser
    digest = plan.digest(course.scene_names, extra=f"{fabric.world_size}{course.kind}{identity}")
    starting_rates = [group["lr"] for group in optimiser.param_groups]
    model, wrapped = fabric.setup(networks if fabric.world_size == 1 else Exchanged(networks), optimiser)
    average = WeightAverage.of(networks, plan.train.average_decay) if plan.train.average_decay else None
    scaling = fabric.strategy.precision
    resume = partial(load_checkpoint, folder, networks, optimiser, digest, average, scaling)
    position = _same_position(fabric, zero_first(fabric, resume) or Position(), folder)
    # Prepare the loop
    with together(fabric):
        log = MetricsLog(folder, position, fabric.is_global_zero, plan.train.tensorboard)
    steps = steps_per_epoch(len(course.scene_names), plan.train, fabric.world_size)
    total = plan.train.epochs * steps
    batches = batch_stream(fabric, course.build, len(course.scene_names), plan, position)
    saved = time.monotonic()
    # Train
    model.train()
    with Progress("train", total, done=position.step, enabled=fabric.is_global_zero) as progress:
        while position.epoch < until:
            _set_rates(wrapped, starting_rates, plan.train, position.epoch)
            for batch in islice(batches, steps - position.step_in_epoch):
                record = joint_record(fabric, course.step(model, wrapped, batch, position))
                with same_in_all(fabric):
                    require_finite(record, position, folder)
                rate = starting_rates[0] * rate_factor(plan.train, position.epoch)
                if average is not None:
                    average.update(networks, position.step)
                log.write({"epoch": position.epoch, "step": position.step, "learning_rate": rate} | record)
                position.step_in_epoch, position.step = position.step_in_epoch + 1, position.step + 1
                progress.advance(f"stage {record['stage']}" if "stage" in record else "")
                if time.monotonic() - saved > plan.train.checkpoint_seconds and fabric.is_global_zero:
                    save_checkpoint(folder, networks, optimiser, position, digest, average, scaling)
                    saved = time.monotonic()
            position.epoch, position.step_in_epoch = position.epoch + 1, 0
    # Save the result
    if fabric.is_global_zero:
        save_checkpoint(folder, networks, optimiser, position, digest, average, scaling)
    if average is not None:
        average.put_into(networks)
    networks.eval()


def step_seed(plan: TrainingPlan, position: Position, rank: int, purpose: int) -> int:
    """Return the random seed of one step in one process; each `purpose` has its own."""
    return int(np.random.SeedSequence([plan.seed, position.step, rank, purpose]).generate_state(1, np.uint64)[0] >> 1)


def joint_record(fabric: Fabric, record: dict[str, float | int | str]) -> dict[str, float | int | str]:
    """Return the record of a step with the means of its numbers over all processes, the losses of the joint batch.

    A loss that is not finite in one process is not finite in the mean, so that all processes stop at the same step.
    """
    losses = {name: value for name, value in record.items() if isinstance(value, float)}
    if fabric.world_size == 1 or not losses:
        return record
    means = joint_mean(fabric, torch.tensor(list(losses.values()), device=fabric.device))
    return record | dict(zip(losses, means.tolist()))


def _require_scenes(scenes: int, config: TrainConfig, processes: int) -> None:
    """Raise an InputError if no batch has a scene for each process."""
    batch = min(config.scenes_per_batch, scenes)
    if processes > batch:
        raise InputError(
            f"{processes} processes train but a batch has {batch} scene(s): start at most {batch} processes, or raise "
            f"train.scenes_per_batch (now {config.scenes_per_batch}) where there are more scenes."
        )


def _same_position(fabric: Fabric, position: Position, folder: Path) -> Position:
    """Return the position. Raises an InputError if the processes have read different checkpoints."""
    found = gathered(fabric, position)
    other = next((rank for rank, each in enumerate(found) if each != found[0]), None)
    if other is not None:
        with same_in_all(fabric):
            raise InputError(
                f"{folder}: process {other} resumes at step {found[other].step}, process 0 at step {found[0].step}; "
                "give an --out that all machines share."
            )
    return position


def optimiser_of(
    networks: list[tuple[Segmenter, float]],  # with their rates
    config: TrainConfig,
) -> Optimizer:
    """Return the configured optimiser of all weights of the networks that are not frozen."""
    rated = [group for network, rate in networks for group in _rated(network, rate, config.backbone_rate)]
    if config.optimiser == "adamw":
        return torch.optim.AdamW(rated, weight_decay=config.weight_decay, fused=True)
    momentum, dampening = config.momentum, config.dampening
    return torch.optim.SGD(rated, momentum=momentum, dampening=dampening, weight_decay=config.weight_decay)


def _rated(network: Segmenter, rate: float, backbone_rate: float) -> list[dict[str, Any]]:
    """Return a network's parameter groups: one, or two if the backbone has its own learning rate."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    if backbone_rate == 1.0:
        return [{"params": weights, "lr": rate}]
    trunk = set(network.backbone().parameters())
    return [
        {"params": [weight for weight in weights if weight not in trunk], "lr": rate},
        {"params": [weight for weight in weights if weight in trunk], "lr": rate * backbone_rate},
    ]


def _set_rates(optimiser: Optimizer, starting: list[float], config: TrainConfig, epoch: int) -> None:
    for group, rate in zip(optimiser.param_groups, starting):
        group["lr"] = rate * rate_factor(config, epoch)
