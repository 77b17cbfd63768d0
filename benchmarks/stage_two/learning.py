"""Training epoch by epoch with a step that can take own labels from other networks than those of the step.

With guide `online` it takes the same steps as `labelfree.training.cotraining`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from benchmarks.stage_two.variants import AVERAGE_DECAY, Guide
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfree.config.training import Modality, TrainingPlan
from labelfree.nets.cotrained import CoTrained, HeldVoxels, NetworkOutput
from labelfree.training.batches import batch_stream
from labelfree.training.checkpoint import Position, load_checkpoint, require_finite, save_checkpoint
from labelfree.training.cotraining import build_batch, new_optimiser
from labelfree.training.fit import step_seed
from labelfree.training.prepared_scenes import scene_names
from labelfree.training.samples import Batch, LabelledScene
from labelfree.training.schedule import rate_factor, steps_per_epoch
from labelfree.training.step import loss_record, stage_of, step_labels, step_losses
from labelfree.training.weight_average import WeightAverage

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Learners(nn.Module):
    """The trained networks and, if they do not make their own labels themselves, their guide."""

    def __init__(self, networks: CoTrained, guide: CoTrained | None = None) -> None:
        super().__init__()
        self.networks = networks
        self.guide = guide

    @property
    def labeller(self) -> CoTrained:
        """Return the networks that make the own labels."""
        return self.networks if self.guide is None else self.guide


@dataclass
class Training:
    """A training that stands at the end of an epoch and can go on; its folder holds the checkpoint of that epoch."""

    learners: Learners
    optimiser: Optimizer
    average: WeightAverage | None
    plan: TrainingPlan
    guide: Guide
    scenes: Sequence[LabelledScene]
    folder: Path
    digest: str
    """Digest of everything that determines the weights; a checkpoint of another training is refused."""
    position: Position

    def delivered(self) -> CoTrained:
        """Return a copy of the networks as a run would deliver them: with averaged weights if `average_decay` is on."""
        networks = copy.deepcopy(self.learners.networks)
        if self.average is not None:
            self.average.put_into(networks)
        return networks.eval()


def opened(
    networks: CoTrained,
    plan: TrainingPlan,
    scenes: Sequence[LabelledScene],
    folder: Path,
    identity: str,
    start: Training | None = None,
    guide: Guide = "online",
) -> Training:
    """Return the training of a folder where its checkpoint stands; without one at epoch 0, or where `start` stands.

    `networks` hold the initial weights. `start` is a finished stage one, which the training continues: weights and the
    optimiser's state, and the guide starts as a copy of its networks.
    """
    digest = plan.digest(scene_names(scenes), extra=f"{identity} {guide} {start.digest if start else ''}")
    optimiser = new_optimiser(networks, plan.train)
    average = WeightAverage.of(networks, plan.train.average_decay) if plan.train.average_decay else None
    position = Position()
    learners = Learners(networks)
    if start is not None:
        position = load_checkpoint(start.folder, learners, optimiser, start.digest, average) or position
        learners = Learners(networks, None if guide == "online" else copy.deepcopy(networks).requires_grad_(False))
    folder.mkdir(parents=True, exist_ok=True)
    position = load_checkpoint(folder, learners, optimiser, digest, average) or position
    return Training(learners, optimiser, average, plan, guide, scenes, folder, digest, position)


def train_to(training: Training, fabric: Fabric, epoch: int) -> None:
    """Train to the end of the given number of epochs, with a checkpoint after each."""
    learners, plan, position = training.learners, training.plan, training.position
    voxel_m = learners.networks.net_3d.config.voxel_m
    build = partial(build_batch, training.scenes, plan, voxel_m)
    steps = steps_per_epoch(len(training.scenes), plan.train)
    starting = [group["lr"] for group in new_optimiser(learners.networks, plan.train).param_groups]
    while position.epoch < epoch:
        learners.networks.train()
        for group, rate in zip(training.optimiser.param_groups, starting):
            group["lr"] = rate * rate_factor(plan.train, position.epoch)
        for batch in islice(batch_stream(fabric, build, len(training.scenes), plan, position), steps):
            take_step(training, batch)
            position.step_in_epoch, position.step = position.step_in_epoch + 1, position.step + 1
        position.epoch, position.step_in_epoch = position.epoch + 1, 0
        save_checkpoint(training.folder, learners, training.optimiser, position, training.digest, training.average)
        print(f"{training.folder.parent.name}: epoch {position.epoch} of {plan.train.epochs}", flush=True)


def take_step(training: Training, batch: Batch) -> None:
    """Take one optimiser step and update the averages."""
    learners, plan, position = training.learners, training.plan, training.position
    torch.manual_seed(step_seed(plan, position, 0, purpose=1))
    outputs = forward(learners.networks, batch)
    logits = logits_at_labels(outputs, batch)
    guiding = logits if learners.guide is None else guided(learners.guide, batch)
    generator = torch.Generator().manual_seed(step_seed(plan, position, 0, purpose=2))
    labels = step_labels(batch, guiding, stage_of(position.epoch, plan.switch), plan.switch, generator)
    losses = step_losses(batch, outputs, logits, labels, lambda value: value, plan.train.class_balance)
    require_finite(loss_record(losses), position, training.folder)
    training.optimiser.zero_grad(set_to_none=True)
    for each in losses.values():
        each.total(plan.train.latent_weight).backward()
    training.optimiser.step()
    if training.average is not None:
        training.average.update(learners.networks, position.step)
    if learners.guide is not None and training.guide == "average":
        follow(learners.guide, learners.networks, AVERAGE_DECAY)


@torch.no_grad()
def follow(guide: nn.Module, networks: nn.Module, decay: float) -> None:
    """Move the guide's weights and statistics towards those of the networks: a moving average over the steps."""
    for mean, value in zip(guide.state_dict().values(), networks.state_dict().values()):
        if value.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def forward(networks: CoTrained, batch: Batch) -> dict[Modality, NetworkOutput]:
    """Return the outputs of both networks."""
    outputs = networks({"2d": batch.images, "3d": HeldVoxels(batch.voxels)})
    return {modality: NetworkOutput(logits.float(), latent.float()) for modality, (logits, latent) in outputs.items()}


def logits_at_labels(outputs: dict[Modality, NetworkOutput], batch: Batch) -> dict[Modality, Tensor]:
    """Return the logits of the pixels [B, K, H, W] and of the pairs [P, K]."""
    return {"2d": outputs["2d"].logits, "3d": outputs["3d"].logits.index_select(0, batch.pair_voxel)}


@torch.no_grad()
def guided(networks: CoTrained, batch: Batch) -> dict[Modality, Tensor]:
    """Return the logits of networks in evaluation mode at the pixels and pairs of a batch."""
    networks.eval()
    return logits_at_labels(forward(networks, batch), batch)
