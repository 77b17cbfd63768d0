"""Training scenes with soft, weighted targets: a label is drawn for each pixel each time that a scene is used.

A pixel's target is the class distribution of its segment or mask, and its weight is confidence times support. Drawing
its label from the distribution, and leaving it out with probability 1 - weight, gives in expectation the gradient of
the weighted cross-entropy against the distribution. So neither batches nor losses change, and rare classes keep their
share, which an argmax would take from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.config.training import TrainingPlan
from labelfree.labelling.consensus import ConsensusNamer
from labelfree.labelling.consensus_labels import NamedScene, frame_groups
from labelfree.labelling.scene_evidence import scene_evidence
from labelfree.scene import Scene
from labelfree.training.labelled_scenes import LabelledScenes
from labelfree.training.prepared_scenes import PreparedScenes
from labelfree.training.samples import LabelledFrame, LabelledScene, PackedBatch, draw_sample, pack, scene_random
from labelfree.vocabulary import IGNORE_LABEL


@dataclass(frozen=True, eq=False)
class SoftScene:
    """A scene whose frames hold rows of a table in place of labels."""

    labelled: LabelledScene
    """Its frames' labels are int32 rows of the table, -1 = none."""
    cumulative: NDArray[np.float32]
    """[R, K] class probabilities of each row, summed up to each class."""
    weight: NDArray[np.float32]
    """[R] weight of each row in 0..1."""

    @property
    def name(self) -> str:
        """Return the scene's name."""
        return self.labelled.name

    def nbytes(self) -> int:
        """Return the size in memory in bytes."""
        return self.labelled.nbytes() + self.cumulative.nbytes + self.weight.nbytes


def draw_rows(
    rows: NDArray[np.int32],  # [H, W] -1 = none
    cumulative: NDArray[np.float32],  # [R, K]
    weight: NDArray[np.float32],  # [R]
    random: np.random.Generator,
) -> NDArray[np.uint8]:  # [H, W]
    """Return a label for each pixel, drawn from the distribution of its row; 255 with probability 1 - weight."""
    place = np.maximum(rows, 0)
    level = random.random(rows.shape, dtype=np.float32) * cumulative[place, -1]
    drawn = (cumulative[place] <= level[..., None]).sum(axis=-1).clip(max=cumulative.shape[1] - 1)
    kept = (random.random(rows.shape, dtype=np.float32) < weight[place]) & (rows >= 0)
    return np.where(kept, drawn, IGNORE_LABEL).astype(np.uint8)


class SoftScenes(PreparedScenes[SoftScene]):
    """The training scenes with the class distributions of their segments."""

    def __init__(
        self,
        labelled: LabelledScenes,
        namer: ConsensusNamer,
        log_p: Mapping[str, Tensor],  # of each scene by name [G, K]
        memory_gb: float = 4.0,
    ) -> None:
        super().__init__(labelled.scenes, memory_gb)
        self.labelled, self.namer, self.log_p = labelled, namer, log_p

    def build(self, scene: Scene) -> SoftScene:
        """Return one scene with the rows of its pixels."""
        plain, teachers = self.labelled.build(scene), self.labelled.teachers
        named = NamedScene(scene_evidence(scene, teachers, self.namer.config), self.log_p[scene.name])
        segments = len(named.log_p)
        tables, weights, frames = [named.log_p.exp()], list[Tensor](), list[LabelledFrame]()
        used = segments
        for frame, labelled in zip(scene.frames, plain.frames):
            _, found = frame_groups(teachers, self.namer, scene, frame, named)
            group = found.group
            rows = torch.where(group >= segments, group - segments + used, group)
            weights = weights or [found.support[:segments]]
            tables.append(found.log_p[segments:].exp())
            weights.append(found.support[segments:])
            used += len(found.log_p) - segments
            frames.append(replace(labelled, labels=rows.to(torch.int32).numpy()))
        table, support = torch.cat(tables), torch.cat(weights)
        weight = support * table.amax(dim=1)
        return SoftScene(
            replace(plain, frames=tuple(frames)), table.cumsum(dim=1).float().numpy(), weight.float().numpy()
        )


def build_soft_batch(
    scenes: Sequence[SoftScene], plan: TrainingPlan, voxel_m: float, epoch: int, chosen: Sequence[int]
) -> PackedBatch:
    """Return the packed batch of `cotraining.build_batch`, with labels drawn from (seed, epoch, scene)."""
    samples = []
    for index in chosen:
        soft = scenes[index]
        sample = draw_sample(soft.labelled, plan.train.images(), plan.augment, scene_random(plan.seed, epoch, index))
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([plan.seed, epoch, index, 1])))
        views = (
            replace(view, labels=draw_rows(view.labels.astype(np.int32), soft.cumulative, soft.weight, random))
            for view in sample.views
        )
        samples.append(replace(sample, views=tuple(views)))
    return pack(samples, voxel_m)
