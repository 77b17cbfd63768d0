"""Training data of OpenScene: scenes with fused CLIP features at their points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.config.training import AugmentConfig
from labelfree.corrections.value import CorrectionSet
from labelfree.labelling.openscene import fuse_scene
from labelfree.method.openscene import FusedFeatures, voxel_directions
from labelfree.nets.point_features import point_features
from labelfree.nets.sparse.voxels import Voxels, voxelise
from labelfree.scene import Scene
from labelfree.teachers.teachers import Teachers
from labelfree.training.augment import move_points
from labelfree.training.prepared_scenes import PreparedScenes
from labelfree.vocabulary import IGNORE_LABEL


@dataclass(frozen=True, eq=False)
class FusedScene:
    """A scene with the fused features of its points, ready for distillation."""

    name: str
    points: NDArray[np.float32]  # [N, 3] metres, z up
    features: NDArray[np.float32]  # [N, C] network input per point
    seen: NDArray[np.int64]  # [n] index of the points that a view sees
    fused: NDArray[np.float16]  # [n, E]

    def nbytes(self) -> int:
        """Return the size in memory in bytes."""
        return self.points.nbytes + self.features.nbytes + self.seen.nbytes + self.fused.nbytes


class FusedScenes(PreparedScenes[FusedScene]):
    """The training scenes with fused features; features of frames are read from the teachers' cache.

    Corrected points have the text embedding of their class in place of a fused feature.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        teachers: Teachers,
        memory_gb: float = 4.0,
        corrections: CorrectionSet | None = None,
    ) -> None:
        super().__init__(scenes, memory_gb)
        self.teachers = teachers
        self.corrections = corrections or CorrectionSet()

    def build(self, scene: Scene) -> FusedScene:
        """Return one scene with its fused features."""
        fused = fuse_scene(scene, self.teachers)
        fixed = self.corrections.labels(scene)
        if fixed is not None:
            fused = corrected_features(fused, torch.from_numpy(fixed), self.teachers.namer.text)
        points, features = scene.upright_points(), point_features(scene)
        return FusedScene(scene.name, points, features, fused.point.numpy(), fused.features.half().numpy())


def corrected_features(
    fused: FusedFeatures,
    fixed: Tensor,  # [N] uint8 class of each point, 255 = not corrected
    text: Tensor,  # [K, E] unit
) -> FusedFeatures:
    """Return fused features in which every corrected point, seen or not, has the text embedding of its class."""
    kept = fixed[fused.point] == IGNORE_LABEL
    corrected = torch.nonzero(fixed != IGNORE_LABEL)[:, 0]
    point = torch.cat([fused.point[kept], corrected])
    features = torch.cat([fused.features[kept], text[fixed[corrected].long()].to(fused.features.dtype)])
    order = point.argsort()
    return FusedFeatures(point[order], features[order])


@dataclass(frozen=True, eq=False)
class FusedBatch:
    """A batch of scenes as tensors: voxels and the target direction of each."""

    voxels: Voxels
    directions: Tensor  # [V, E] target of each voxel's features
    seen: Tensor  # scalar: number of points with a fused feature

    def to(self, device: torch.device) -> FusedBatch:
        """Return the batch on a device."""
        if device == self.seen.device:
            return self
        held = self.voxels
        parts = (held.coords, held.inverse, held.features, held.spread, self.directions, self.seen)
        coords, inverse, features, spread, directions, seen = (part.to(device, non_blocking=True) for part in parts)
        return FusedBatch(Voxels(coords, inverse, features, spread), directions, seen)


def collate_fused(
    scenes: Sequence[FusedScene],
    augment: AugmentConfig,
    randoms: Sequence[np.random.Generator],  # one per scene
    voxel_m: float,
) -> FusedBatch:
    """Return a batch: augment the points of each scene, join the scenes and voxelise them."""
    sizes = [len(scene.points) for scene in scenes]
    moved = np.concatenate([move_points(scene.points, augment, random) for scene, random in zip(scenes, randoms)])
    features = np.concatenate([scene.features for scene in scenes])
    owner = torch.from_numpy(np.repeat(np.arange(len(scenes)), sizes))
    voxels = voxelise(torch.from_numpy(moved), voxel_m, owner, torch.from_numpy(features))
    first = np.cumsum([0, *sizes[:-1]])
    seen = torch.from_numpy(np.concatenate([scene.seen + start for scene, start in zip(scenes, first)]))
    fused = torch.from_numpy(np.concatenate([scene.fused for scene in scenes]))
    directions = voxel_directions(fused, voxels.inverse[seen], len(voxels))
    return FusedBatch(voxels, directions, torch.tensor(float(len(seen))))
