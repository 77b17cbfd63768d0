"""Co-training of two networks, or of one of them, with one optimiser in two stages; it resumes at any step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from labelfree.config.training import MODALITIES, Modality, TrainConfig, TrainingPlan
from labelfree.nets.cotrained import CoTrained, HeldVoxels, Inputs, NetworkOutput
from labelfree.nets.norm import synchronise
from labelfree.runtime.side_by_side import side_by_side
from labelfree.runtime.together import joint_mean
from labelfree.training.checkpoint import Position
from labelfree.training.fit import Course, fit, optimiser_of, step_seed
from labelfree.training.prepared_scenes import scene_names
from labelfree.training.samples import Batch, LabelledScene, PackedBatch, draw_sample, pack, scene_random
from labelfree.training.step import StepLosses, loss_record, stage_of, step_labels, step_losses

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def new_optimiser(networks: CoTrained, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimiser of the networks of `config.modalities`, each with its own learning rate."""
    return optimiser_of([(networks.network(m), config.rate_of(m)) for m in ordered(config.modalities)], config)


def train(
    fabric: Fabric,
    networks: CoTrained,
    scenes: Sequence[LabelledScene],
    plan: TrainingPlan,
    folder: Path,
    identity: str = "",
) -> None:
    """Train the networks of `plan.train.modalities` in place; resume from a checkpoint in `folder`.

    `identity` is a digest of what determines the weights besides plan and scene names (`labelfree.run`).
    """
    networks.freeze_all_but(plan.train.modalities)
    if plan.train.sync_norm and fabric.world_size > 1:
        synchronise(networks)

    def step(
        model: nn.Module, optimiser: torch.optim.Optimizer, batch: Batch, position: Position
    ) -> dict[str, float | int | str]:
        losses = training_step(fabric, model, optimiser, batch, plan, position)
        return {"stage": stage_of(position.epoch, plan.switch), **loss_record(losses)}

    course = Course(
        networks=networks,
        optimiser=new_optimiser(networks, plan.train),
        scene_names=scene_names(scenes),
        build=partial(build_batch, scenes, plan, networks.net_3d.config.voxel_m),
        step=step,
    )
    fit(fabric, course, plan, folder, identity)


def build_batch(
    scenes: Sequence[LabelledScene], plan: TrainingPlan, voxel_m: float, epoch: int, chosen: Sequence[int]
) -> PackedBatch:
    """Return the packed batch of the `chosen` scenes in an epoch, augmented by seed, epoch and scene."""
    images = plan.train.images()
    samples = [
        draw_sample(scenes[scene], images, plan.augment, scene_random(plan.seed, epoch, scene)) for scene in chosen
    ]
    return pack(samples, voxel_m)


def training_step(
    fabric: Fabric,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    plan: TrainingPlan,
    position: Position,
) -> StepLosses:
    """Take one optimiser step on one batch and return its losses; random draws depend on seed, step and process."""
    torch.manual_seed(step_seed(plan, position, fabric.global_rank, purpose=1))
    # Forward
    outputs = _forward(fabric, model, _inputs(batch, plan.train.modalities))
    logits = {modality: _logits_at_labels(batch, modality, output) for modality, output in outputs.items()}
    # Labels of this step
    stage, generator = stage_of(position.epoch, plan.switch), _switch_generator(plan, position, fabric.global_rank)
    labels = step_labels(batch, logits, stage, plan.switch, generator)
    # Losses and update
    balance, sweeps = plan.train.class_balance, plan.train.sweeps > 0
    losses = step_losses(batch, outputs, logits, labels, partial(joint_mean, fabric), balance, sweeps)
    optimiser.zero_grad(set_to_none=True)
    _backward(fabric, losses, plan.train.latent_weight)
    optimiser.step()
    return losses


def _inputs(batch: Batch, modalities: Sequence[Modality]) -> Inputs:
    """Return the input of each network that is trained, 2D first."""
    inputs: dict[Modality, Tensor | HeldVoxels] = {"2d": batch.images, "3d": HeldVoxels(batch.voxels)}
    return {modality: inputs[modality] for modality in ordered(modalities)}


def _logits_at_labels(batch: Batch, modality: Modality, output: NetworkOutput) -> Tensor:
    """Return the logits of the pixels [B, K, H, W] or of the pairs [P, K]."""
    return output.logits if modality == "2d" else output.logits.index_select(0, batch.pair_voxel)


def _alone(fabric: Fabric) -> bool:
    """Return whether a single process trains on a CPU: no gradients to exchange, no loss to scale."""
    return fabric.device.type == "cpu" and fabric.world_size == 1


def _forward(fabric: Fabric, model: nn.Module, inputs: Inputs) -> dict[Modality, NetworkOutput]:
    """Run the networks. A single CPU process skips Fabric's wrapper, whose backward takes one thread at a time."""
    if _alone(fabric):
        with fabric.autocast():
            outputs = cast(nn.Module, model.module)(inputs)
    else:
        outputs = model(inputs)
    return {modality: NetworkOutput(logits.float(), latent.float()) for modality, (logits, latent) in outputs.items()}


def _backward(fabric: Fabric, losses: StepLosses, latent_weight: float) -> None:
    """Compute the gradients. The networks share no weight, so their backward passes can run side by side."""
    first, *others = (each.total(latent_weight) for each in losses.values())
    if not _alone(fabric):  # processes exchange the gradients of all networks at once
        fabric.backward(sum(others, first))
    elif others:
        side_by_side(first.backward, others[0].backward)
    else:
        first.backward()


def _switch_generator(plan: TrainingPlan, position: Position, rank: int) -> torch.Generator:
    """Return the generator of label sources: equal in all processes if one draw serves the batch, else per process."""
    part = 0 if plan.switch.granularity == "batch" else rank
    return torch.Generator().manual_seed(step_seed(plan, position, part, purpose=2))


def ordered(modalities: Sequence[Modality]) -> list[Modality]:
    """Return the modalities in fixed order, 2D first."""
    return [modality for modality in MODALITIES if modality in modalities]
