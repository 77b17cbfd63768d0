"""Training of OpenScene: the 3D network alone, with co-training's optimiser, schedule, augmentation and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from labelfree.config.training import TrainingPlan
from labelfree.method.openscene import feature_distillation
from labelfree.nets.cotrained import HeldVoxels
from labelfree.nets.norm import synchronise
from labelfree.nets.segmenters import Segmenter3D
from labelfree.runtime.together import joint_mean
from labelfree.training.checkpoint import Position
from labelfree.training.fit import Course, fit, optimiser_of, step_seed
from labelfree.training.fused_scenes import FusedBatch, FusedScene, collate_fused
from labelfree.training.prepared_scenes import scene_names
from labelfree.training.samples import scene_random

if TYPE_CHECKING:
    from lightning_fabric import Fabric

KIND = "openscene"


class Distilled(nn.Module):
    """A module for Fabric that returns the semantic features of the 3D network."""

    def __init__(self, net_3d: Segmenter3D) -> None:
        super().__init__()
        self.net_3d = net_3d

    def forward(self, held: HeldVoxels) -> Tensor:  # [V, E]
        """Return the semantic features varphi_s of the voxels, in the space of the text embeddings."""
        return self.net_3d.semantic_features(held.voxels)


def distil(
    fabric: Fabric,
    net_3d: Segmenter3D,
    scenes: Sequence[FusedScene],
    plan: TrainingPlan,
    folder: Path,
    identity: str = "",
) -> None:
    """Train the 3D network on fused features in place; resume from a checkpoint in `folder`.

    `identity` is that of `training.cotraining.train`.
    """
    net_3d.varphi_f.requires_grad_(False)  # unused here; processes would wait for its gradient
    networks = Distilled(net_3d)
    if plan.train.sync_norm and fabric.world_size > 1:
        synchronise(networks)

    def step(
        model: nn.Module, optimiser: torch.optim.Optimizer, batch: FusedBatch, position: Position
    ) -> dict[str, float | int | str]:
        return {"distillation_3d": distillation_step(fabric, model, optimiser, batch, plan, position)}

    course = Course(
        networks=networks,
        optimiser=optimiser_of([(net_3d, plan.train.rate_of("3d"))], plan.train),
        scene_names=scene_names(scenes),
        build=partial(build_fused_batch, scenes, plan, net_3d.config.voxel_m),
        step=step,
        kind=KIND,
    )
    fit(fabric, course, plan, folder, identity)


def build_fused_batch(
    scenes: Sequence[FusedScene], plan: TrainingPlan, voxel_m: float, epoch: int, chosen: Sequence[int]
) -> FusedBatch:
    """Return the batch of the `chosen` scenes in an epoch, augmented by seed, epoch and scene."""
    randoms = [scene_random(plan.seed, epoch, scene) for scene in chosen]
    return collate_fused([scenes[scene] for scene in chosen], plan.augment, randoms, voxel_m)


def distillation_step(
    fabric: Fabric,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: FusedBatch,
    plan: TrainingPlan,
    position: Position,
) -> float:
    """Take one optimiser step on one batch and return its loss."""
    torch.manual_seed(step_seed(plan, position, fabric.global_rank, purpose=1))
    features = model(HeldVoxels(batch.voxels))
    loss = feature_distillation(features, batch.directions, batch.seen, joint_mean(fabric, batch.seen))
    optimiser.zero_grad(set_to_none=True)
    fabric.backward(loss)
    optimiser.step()
    return float(loss.detach())
