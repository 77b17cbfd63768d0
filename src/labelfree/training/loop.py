"""Co-training: two networks (or one of them), one optimiser, two stages; resumable at every step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from labelfree.nets.segmenters import Output2D, Output3D, Segmenter2D, Segmenter3D
from labelfree.nets.sparse.voxels import Voxels
from labelfree.side_by_side import side_by_side
from labelfree.training.checkpoint import Position
from labelfree.training.fit import Course, fit, joint_mean, optimiser_of, step_seed
from labelfree.training.labelled_scenes import scene_names
from labelfree.training.plan import Modality, TrainConfig, TrainingPlan
from labelfree.training.samples import Batch, LabelledScene, collate, draw_sample, scene_random
from labelfree.training.step import StepLosses, stage_of, step_labels, step_losses


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

    def network(self, modality: Modality) -> Segmenter2D | Segmenter3D:
        """Return one of the two."""
        return self.net_2d if modality == "2d" else self.net_3d

    def freeze_all_but(self, modalities: Sequence[Modality]) -> None:
        """Take the weights of a network that is not trained out of gradients and of their exchange."""
        for modality in ("2d", "3d"):
            if modality not in modalities:
                self.network(modality).requires_grad_(False)

    def forward(
        self, images: Tensor | None, held: HeldVoxels | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        """Run both networks: logits and latent maps of the images, then of the voxels; None skips a network."""

        def run_2d() -> Output2D | None:
            return None if images is None else self.net_2d(images)

        def run_3d() -> Output3D | None:
            return None if held is None else self.net_3d(held.voxels)

        if images is not None and held is not None and images.device.type == "cpu":
            output_2d, output_3d = side_by_side(run_2d, run_3d)
        else:
            output_2d, output_3d = run_2d(), run_3d()
        seen = (None, None) if output_2d is None else (output_2d.logits, output_2d.latent)
        felt = (None, None) if output_3d is None else (output_3d.logits, output_3d.latent)
        return *seen, *felt


def new_optimiser(networks: CoTrained, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimiser over everything that is trained."""
    return optimiser_of([(networks.network(m), config.rate_of(m)) for m in _ordered(config.modalities)], config)


def train(
    fabric: Fabric,
    networks: CoTrained,
    scenes: Sequence[LabelledScene],
    plan: TrainingPlan,
    folder: Path,
    identity: str = "",
) -> None:
    """Train the networks of `plan.train.modalities` in place; resumes from a checkpoint in `folder`.

    `identity` is a digest of what determines the weights besides plan and scene names (`labelfree.identity`).
    """
    networks.freeze_all_but(plan.train.modalities)

    def step(
        model: nn.Module, optimiser: torch.optim.Optimizer, batch: Batch, position: Position
    ) -> dict[str, float | int | str]:
        losses = training_step(fabric, model, optimiser, batch, plan, position)
        return {"stage": stage_of(position.epoch, plan.switch), **losses.record()}

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
) -> Batch:
    """Return the batch of some scenes in an epoch, augmented by seed, epoch and scene."""
    images = plan.train.images()
    samples = [
        draw_sample(scenes[scene], images, plan.augment, scene_random(plan.seed, epoch, scene)) for scene in chosen
    ]
    return collate(samples, voxel_m)


def training_step(
    fabric: Fabric,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    plan: TrainingPlan,
    position: Position,
) -> StepLosses:
    """Take one optimiser step on one batch; dropout and switch depend on seed and step alone."""
    torch.manual_seed(step_seed(plan, position, fabric.global_rank, purpose=1))
    trained = plan.train.modalities
    images, held = batch.images if "2d" in trained else None, HeldVoxels(batch.voxels) if "3d" in trained else None
    output_2d, output_3d = _forward(fabric, model, images, held)
    labels = step_labels(
        batch,
        None if output_2d is None else output_2d.logits,
        None if output_3d is None else output_3d.logits.index_select(0, batch.pair_voxel),
        stage_of(position.epoch, plan.switch),
        plan.switch,
        _switch_generator(plan, position, fabric.global_rank),
    )
    mean, balance = partial(joint_mean, fabric), plan.train.class_balance
    losses = step_losses(batch, output_2d, output_3d, labels, mean, balance)
    optimiser.zero_grad(set_to_none=True)
    _backward(fabric, losses, plan.train.latent_weight)
    optimiser.step()
    return losses


def _alone(fabric: Fabric) -> bool:
    """Whether one process trains on a CPU: no gradients to exchange, no loss to scale."""
    return fabric.device.type == "cpu" and fabric.world_size == 1


def _forward(
    fabric: Fabric, model: nn.Module, images: Tensor | None, held: HeldVoxels | None
) -> tuple[Output2D | None, Output3D | None]:
    """Run the networks; alone, without Fabric's wrapper, whose backward serves one thread at a time."""
    if _alone(fabric):
        with fabric.autocast():
            logits_2d, latent_2d, logits_3d, latent_3d = cast(nn.Module, model.module)(images, held)
    else:
        logits_2d, latent_2d, logits_3d, latent_3d = model(images, held)
    return (
        None if logits_2d is None else Output2D(logits_2d.float(), latent_2d.float()),
        None if logits_3d is None else Output3D(logits_3d.float(), latent_3d.float()),
    )


def _backward(fabric: Fabric, losses: StepLosses, latent_weight: float) -> None:
    """Differentiate; the networks share no weight, so that each has a gradient of its own."""
    first, *others = (network.total(latent_weight) for network in losses.trained())
    if not _alone(fabric):  # several processes exchange gradients in one go
        fabric.backward(sum(others, first))
    elif others:
        side_by_side(first.backward, others[0].backward)
    else:
        first.backward()


def _switch_generator(plan: TrainingPlan, position: Position, rank: int) -> torch.Generator:
    """Draw alike in every process where one draw serves the whole batch, apart where each process draws its own."""
    part = 0 if plan.switch.granularity == "batch" else rank
    return torch.Generator().manual_seed(step_seed(plan, position, part, purpose=2))


def _ordered(modalities: Sequence[Modality]) -> list[Modality]:
    """Return the modalities in one order, 2D first, however they were written."""
    return [modality for modality in ("2d", "3d") if modality in modalities]
