"""The training loop: two networks, one optimiser, two stages; resumable at every step."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from labelfree.errors import InputError
from labelfree.nets.segmenters import Output2D, Output3D, Segmenter2D, Segmenter3D
from labelfree.nets.sparse.voxels import Voxels
from labelfree.progress import Progress
from labelfree.side_by_side import side_by_side
from labelfree.training.augment import AugmentConfig
from labelfree.training.checkpoint import MetricsLog, Position, load_checkpoint, save_checkpoint
from labelfree.training.samples import Batch, LabelledScene, collate, draw_sample, scene_random
from labelfree.training.step import StepLosses, SwitchConfig, stage_of, step_labels, step_losses


@dataclass(frozen=True)
class TrainConfig:
    """The optimisation of the paper; defaults are its ScanNet setting."""

    epochs: int = 30
    """Passes over the training scenes."""
    scenes_per_batch: int = 8
    """Scenes in one step, over all processes."""
    images_per_scene: int = 16
    """Images drawn from each scene in one step."""
    optimiser: Literal["sgd", "adamw"] = "sgd"
    """`sgd` is the paper's; `adamw` needs fewer steps, which is what the lab's small budget asks for."""
    learning_rate: float = 0.1
    """Rate at the start; a cosine takes it to zero, epoch by epoch."""
    learning_rate_3d: float | None = None
    """Rate of the 3D network; None is the same as the 2D network's, as in the paper."""
    momentum: float = 0.9
    """SGD's momentum."""
    dampening: float = 0.1
    """SGD's dampening (CLIP2Scene)."""
    weight_decay: float = 1e-4
    """Weight decay."""
    warmup_epochs: int = 0
    """Epochs over which the rate rises linearly; 0 in the paper."""
    latent_weight: float = 1.0
    """Weight of Eq. 7 beside the cross-entropies."""
    workers: int = 0
    """Processes that prepare batches; 0 prepares them in the main process."""
    tensorboard: bool = False
    """Write curves for TensorBoard (extra `tensorboard`) beside metrics.jsonl."""
    checkpoint_seconds: float = 60.0
    """Time between checkpoints."""

    def __post_init__(self) -> None:
        for name in ("epochs", "scenes_per_batch", "images_per_scene"):
            if getattr(self, name) < 1:
                raise InputError(f"train.{name} is {getattr(self, name)}: give 1 or more.")
        if not self.learning_rate > 0:
            raise InputError(f"train.learning_rate is {self.learning_rate}: give a positive number.")


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides what training computes, besides the scenes and the starting weights."""

    seed: int = 0
    train: TrainConfig = field(default_factory=TrainConfig)
    switch: SwitchConfig = field(default_factory=SwitchConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def digest(self, scene_names: Sequence[str], extra: str = "") -> str:
        """Return a digest of what must not change between a run and its continuation."""
        same = replace(self.train, workers=0, checkpoint_seconds=0.0, tensorboard=False)
        text = json.dumps([asdict(replace(self, train=same)), list(scene_names), extra], default=str, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class HeldVoxels:
    """Voxels on their way through Fabric's wrapper, which refuses frozen dataclasses and casts bare tensors."""

    def __init__(self, voxels: Voxels) -> None:
        self.voxels = voxels


class CoTrained(nn.Module):
    """The 2D and the 3D network as one module, so that one optimiser and one process group hold both."""

    def __init__(self, net_2d: Segmenter2D, net_3d: Segmenter3D) -> None:
        super().__init__()
        self.net_2d = net_2d
        self.net_3d = net_3d

    def forward(self, images: Tensor, held: HeldVoxels) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Run both networks: logits and latent maps of the images, then of the voxels."""
        output_2d: Output2D
        output_3d: Output3D
        if images.device.type == "cpu":
            output_2d, output_3d = side_by_side(lambda: self.net_2d(images), lambda: self.net_3d(held.voxels))
        else:
            output_2d, output_3d = self.net_2d(images), self.net_3d(held.voxels)
        return output_2d.logits, output_2d.latent, output_3d.logits, output_3d.latent


class _EpochBatches(Dataset[Batch]):
    """The batches of one epoch for one process, each built when asked for."""

    def __init__(self, scenes: Sequence[LabelledScene], plan: TrainingPlan, epoch: int, voxel_m: float) -> None:
        self.scenes, self.plan, self.epoch, self.voxel_m = scenes, plan, epoch, voxel_m
        self.rank, self.processes = 0, 1
        order = scene_random(plan.seed, epoch, len(scenes)).permutation(len(scenes)).tolist()
        size = min(plan.train.scenes_per_batch, len(scenes))
        self.batches = [order[start : start + size] for start in range(0, len(order), size)]

    def share(self, rank: int, processes: int) -> _EpochBatches:
        """Keep this process's part of every batch; a batch needs at least one scene per process."""
        self.batches = [batch for batch in self.batches if len(batch) >= processes]
        self.rank, self.processes = rank, processes
        return self

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        mine = self.batches[index][self.rank :: self.processes]
        samples = [
            draw_sample(
                self.scenes[scene],
                self.plan.train.images_per_scene,
                self.plan.augment,
                scene_random(self.plan.seed, self.epoch, scene),
            )
            for scene in mine
        ]
        return collate(samples, self.voxel_m)


def steps_per_epoch(scenes: int, config: TrainConfig, processes: int = 1) -> int:
    """Return how many optimiser steps one pass takes."""
    size = min(config.scenes_per_batch, scenes)
    return scenes // size + int(scenes % size >= processes)


def rate_factor(config: TrainConfig, epoch: int) -> float:
    """Return the share of the starting rate in an epoch: linear warm-up, then a cosine to zero (CLIP2Scene's)."""
    if epoch < config.warmup_epochs:
        return (epoch + 1) / (config.warmup_epochs + 1)
    done = (epoch - config.warmup_epochs) / max(1, config.epochs - config.warmup_epochs)
    return 0.5 * (1.0 + math.cos(math.pi * done))


def new_optimiser(networks: CoTrained, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimiser over everything that is trained."""
    rates = (config.learning_rate, config.learning_rate_3d or config.learning_rate)
    groups = [
        {"params": [parameter for parameter in network.parameters() if parameter.requires_grad], "lr": rate}
        for network, rate in zip((networks.net_2d, networks.net_3d), rates)
    ]
    if config.optimiser == "adamw":
        return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)
    momentum, dampening = config.momentum, config.dampening
    return torch.optim.SGD(groups, momentum=momentum, dampening=dampening, weight_decay=config.weight_decay)


def train(
    fabric: Fabric,
    networks: CoTrained,
    scenes: Sequence[LabelledScene],
    plan: TrainingPlan,
    folder: Path,
) -> None:
    """Train both networks in place; a checkpoint in `folder` is taken up where it stands."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = plan.digest([scene.name for scene in scenes], extra=str(fabric.world_size))
    optimiser = new_optimiser(networks, plan.train)
    starting_rates = [group["lr"] for group in optimiser.param_groups]
    position = load_checkpoint(folder, networks, optimiser, digest) or Position()
    model, wrapped = fabric.setup(networks, optimiser)
    log = MetricsLog(folder, position, fabric.is_global_zero, plan.train.tensorboard)
    total = plan.train.epochs * steps_per_epoch(len(scenes), plan.train, fabric.world_size)
    saved = time.monotonic()
    model.train()
    with Progress("train", total, done=position.step, enabled=fabric.is_global_zero) as progress:
        while position.epoch < plan.train.epochs:
            for group, rate in zip(wrapped.param_groups, starting_rates):
                group["lr"] = rate * rate_factor(plan.train, position.epoch)
            for batch in _batches(fabric, scenes, plan, position, networks.net_3d.config.voxel_m):
                losses = training_step(fabric, model, wrapped, batch, plan, position)
                log.write(_record(losses, plan, position))
                _advance(position)
                progress.advance(f"stage {stage_of(position.epoch, plan.switch)}")
                if time.monotonic() - saved > plan.train.checkpoint_seconds and fabric.is_global_zero:
                    save_checkpoint(folder, networks, optimiser, position, digest)
                    saved = time.monotonic()
            position.epoch, position.step_in_epoch = position.epoch + 1, 0
    if fabric.is_global_zero:
        save_checkpoint(folder, networks, optimiser, position, digest)
    networks.eval()


def training_step(
    fabric: Fabric,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    plan: TrainingPlan,
    position: Position,
) -> StepLosses:
    """Take one optimiser step on one batch; dropout and switch depend on seed and step alone."""
    torch.manual_seed(_step_seed(plan, position, fabric.global_rank, purpose=1))
    logits_2d, latent_2d, logits_3d, latent_3d = model(batch.images, HeldVoxels(batch.voxels))
    output_2d, output_3d = Output2D(logits_2d, latent_2d), Output3D(logits_3d, latent_3d)
    labels = step_labels(
        batch,
        output_2d.logits,
        output_3d.logits[batch.pair_voxel],
        stage_of(position.epoch, plan.switch),
        plan.switch,
        _switch_generator(plan, position, fabric.global_rank),
    )
    losses = step_losses(batch, output_2d, output_3d, labels, lambda value: _joint_mean(fabric, value))
    optimiser.zero_grad(set_to_none=True)
    _backward(fabric, losses, plan.train.latent_weight)
    optimiser.step()
    return losses


def _backward(fabric: Fabric, losses: StepLosses, latent_weight: float) -> None:
    """Differentiate; the networks share no weight, so that each has a gradient of its own."""
    loss_2d, loss_3d = losses.of_2d(latent_weight), losses.of_3d(latent_weight)
    if fabric.device.type == "cpu" and fabric.world_size == 1:
        side_by_side(lambda: fabric.backward(loss_2d), lambda: fabric.backward(loss_3d))
    else:  # several processes exchange gradients in one go
        fabric.backward(loss_2d + loss_3d)


def _switch_generator(plan: TrainingPlan, position: Position, rank: int) -> torch.Generator:
    """Draw alike in every process where one draw serves the whole batch, apart where each process draws its own."""
    part = 0 if plan.switch.granularity == "batch" else rank
    return torch.Generator().manual_seed(_step_seed(plan, position, part, purpose=2))


def _step_seed(plan: TrainingPlan, position: Position, rank: int, purpose: int) -> int:
    return int(np.random.SeedSequence([plan.seed, position.step, rank, purpose]).generate_state(1, np.uint64)[0] >> 1)


def _batches(
    fabric: Fabric, scenes: Sequence[LabelledScene], plan: TrainingPlan, position: Position, voxel_m: float
) -> Iterator[Batch]:
    epoch = _EpochBatches(scenes, plan, position.epoch, voxel_m).share(fabric.global_rank, fabric.world_size)
    remaining = range(position.step_in_epoch, len(epoch))
    workers = plan.train.workers
    # A generator of its own: the loader draws a seed whenever it starts, which a resumed epoch does once more.
    own = torch.Generator().manual_seed(plan.seed)
    loader: DataLoader[Batch] = DataLoader(
        epoch, batch_size=None, sampler=remaining, num_workers=workers, generator=own
    )
    for batch in loader:
        yield batch.to(fabric.device)


def _joint_mean(fabric: Fabric, value: Tensor) -> Tensor:
    if fabric.world_size == 1:
        return value
    reduced = fabric.all_reduce(value, reduce_op="mean")
    if not isinstance(reduced, Tensor):
        raise TypeError(f"all_reduce returned {type(reduced)}")
    return reduced


def _advance(position: Position) -> None:
    position.step_in_epoch += 1
    position.step += 1


def _record(losses: StepLosses, plan: TrainingPlan, position: Position) -> dict[str, float | int | str]:
    return {
        "epoch": position.epoch,
        "step": position.step,
        "stage": stage_of(position.epoch, plan.switch),
        "learning_rate": plan.train.learning_rate * rate_factor(plan.train, position.epoch),
        "ce_2d": float(losses.ce_2d.detach()),
        "ce_3d": float(losses.ce_3d.detach()),
        "latent_2d": float(losses.latent_2d.detach()),
        "latent_3d": float(losses.latent_3d.detach()),
    }
