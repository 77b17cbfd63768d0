"""Train both networks on consensus labels, which the networks' own probabilities join at fixed epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from labelfree.config.labels import PredictConfig
from labelfree.config.training import TrainingPlan
from labelfree.labelling.consensus import ConsensusNamer
from labelfree.labelling.fusion import FusedLabels, SegmentSource
from labelfree.labelling.labellers import NetworkLabels
from labelfree.labelling.scene_evidence import point_segments
from labelfree.method.extensions.opinion_pool import opinion_pool
from labelfree.method.extensions.pooled_scores import group_means
from labelfree.nets.building import new_networks
from labelfree.nets.cotrained import CoTrained
from labelfree.run import Run
from labelfree.runtime.progress import Progress
from labelfree.runtime.together import zero_first
from labelfree.training.checkpoint import Position
from labelfree.training.consensus_fitting import consensus_file, fitted, read_consensus, write_consensus
from labelfree.training.cotraining import new_optimiser, training_step
from labelfree.training.fit import Course, fit
from labelfree.training.labelled_scenes import LabelledScenes
from labelfree.training.samples import Batch
from labelfree.training.soft_scenes import SoftScenes, build_soft_batch
from labelfree.training.step import loss_record

KIND = "consensus"
"""Kind of these checkpoints."""
ONE_TURN = PredictConfig(fuse=True, fuse_turns=1, fuse_segments=False)
"""Prediction on training scenes for relabelling."""


def train_consensus(run: Run, plan: TrainingPlan) -> CoTrained:
    """Train the networks of a run that has begun on its consensus labels and return them; it resumes at any step.

    The steps are those of co-training. Labels are drawn from the consensus in all epochs, so there is no stage two.
    """
    config, teachers = run.config, run.teachers
    namer, first = fitted(run)
    networks = new_networks(config, teachers.vocabulary, teachers.namer.text, run.scenes[0])
    networks.freeze_all_but(plan.train.modalities)
    plan = replace(plan, switch=replace(plan.switch, start_epoch=plan.train.epochs))
    names = tuple(scene.name for scene in run.scenes)
    labelled = LabelledScenes(run.scenes, teachers, config.memory_gb, config.train.epochs, config.train.sweeps)
    now = first
    for stop in (*relabel_epochs(config.consensus.relabel_at, plan.train.epochs), plan.train.epochs):
        scenes = SoftScenes(labelled, namer, dict(zip(names, now)), config.memory_gb)
        course = _course(run, networks, scenes, names, plan)
        fit(run.fabric, course, plan, run.training_folder, run.identity.digest(), until=stop)
        if stop < plan.train.epochs:
            path = consensus_file(run.training_folder, stop)
            now = zero_first(run.fabric, partial(_relabelled, run, networks, namer, first, path))
    return networks


def relabel_epochs(shares: Sequence[float], epochs: int) -> list[int]:
    """Return the epochs, counted from 0, before which the consensus is made anew."""
    return sorted({epoch for share in shares if 0 < (epoch := round(share * epochs)) < epochs})


def _course(
    run: Run, networks: CoTrained, scenes: SoftScenes, names: tuple[str, ...], plan: TrainingPlan
) -> Course[Batch]:
    def step(
        model: torch.nn.Module, optimiser: torch.optim.Optimizer, batch: Batch, position: Position
    ) -> dict[str, float | int | str]:
        return {"stage": 1, **loss_record(training_step(run.fabric, model, optimiser, batch, plan, position))}

    return Course(
        networks=networks,
        optimiser=new_optimiser(networks, plan.train),
        scene_names=names,
        build=partial(build_soft_batch, scenes, plan, networks.net_3d.config.voxel_m),
        step=step,
        kind=KIND,
    )


def _relabelled(
    run: Run, networks: CoTrained, namer: ConsensusNamer, first: tuple[Tensor, ...], path: Path
) -> tuple[Tensor, ...]:
    """Return the consensus with the networks as one more annotator, from its file if it is there.

    The networks' probabilities are averaged over points and images of each segment; they never vote by their argmax,
    and they join the first consensus, not one that they have joined before.
    """
    stored = read_consensus(path, run.config.consensus)
    if stored is not None:
        return stored[1]
    trained = run.config.train.modalities
    own = NetworkLabels(networks.net_2d if "2d" in trained else None, networks.net_3d if "3d" in trained else None)
    fused = FusedLabels(own, SegmentSource.of(run.teachers, run.config.consensus.level), ONE_TURN)
    now = []
    with Progress("relabel", len(run.scenes)) as progress:
        for scene, log_p in zip(run.scenes, first):
            group = torch.from_numpy(point_segments(scene, run.teachers, run.config.consensus))
            said = group_means(fused.fused(scene).log_p, group, len(log_p)).log_softmax(dim=1)
            now.append(opinion_pool([log_p, said], [1.0, run.config.consensus.network_weight]))
            progress.advance()
    write_consensus(path, namer, now)
    return tuple(now)
