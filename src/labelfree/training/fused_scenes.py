"""Scenes joined with their points' fused CLIP features: what OpenScene's distillation reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.errors import InputError
from labelfree.method.feature_distillation import voxel_directions
from labelfree.method.feature_fusion import FusedFeatures, View, fuse_features
from labelfree.nets.sparse.voxels import Voxels, voxelise
from labelfree.scene import Frame, Scene
from labelfree.teachers.labelling import PixelNamer
from labelfree.training.augment import AugmentConfig, move_points
from labelfree.training.labelled_scenes import KeptScenes, PairingConfig, pair_points, point_features


def fuse_scene(scene: Scene, namer: PixelNamer, size: tuple[int, int], pairing: PairingConfig) -> FusedFeatures:
    """Return the fused features of a scene's points, from every frame seen at (height, width)."""

    def view(frame: Frame) -> View:
        features = namer.features(frame, size)
        if features is None:
            raise InputError(
                f"system is openscene but the labels come from {namer.describe()}, which has no dense features: set "
                "teachers.clip to a CLIP model."
            )
        return View(pair_points(scene, frame, size, pairing), torch.from_numpy(features), size)

    return fuse_features(len(scene), (view(frame) for frame in scene.frames))


@dataclass(frozen=True, eq=False)
class FusedScene:
    """A scene ready for distillation."""

    name: str
    points: NDArray[np.float32]  # [N, 3] metres, z up
    features: NDArray[np.float32]  # [N, C] network input per point
    seen: NDArray[np.int64]  # [n] points that some view sees
    fused: NDArray[np.float16]  # [n, E]

    def nbytes(self) -> int:
        """Return the memory it takes."""
        return self.points.nbytes + self.features.nbytes + self.seen.nbytes + self.fused.nbytes


class FusedScenes(KeptScenes[FusedScene]):
    """The training scenes with fused features; features of frames come from the teacher's cache."""

    def __init__(
        self,
        scenes: Sequence[Scene],
        namer: PixelNamer,
        size: tuple[int, int],
        pairing: PairingConfig,
        memory_gb: float = 4.0,
    ) -> None:
        super().__init__(scenes, memory_gb)
        self.namer, self.size, self.pairing = namer, size, pairing

    def build(self, scene: Scene) -> FusedScene:
        """Fuse one scene."""
        fused = fuse_scene(scene, self.namer, self.size, self.pairing)
        points, features = scene.upright_points(), point_features(scene)
        return FusedScene(scene.name, points, features, fused.point.numpy(), fused.features.half().numpy())


@dataclass(frozen=True, eq=False)
class FusedBatch:
    """Several scenes as tensors."""

    voxels: Voxels
    directions: Tensor  # [V, E] what the voxels' features follow
    seen: Tensor  # scalar: points with a fused feature

    def to(self, device: torch.device) -> FusedBatch:
        """Return the batch on a device."""
        if device == self.seen.device:
            return self
        held = self.voxels
        voxels = replace(
            held, coords=held.coords.to(device), inverse=held.inverse.to(device), features=held.features.to(device)
        )
        return FusedBatch(voxels, self.directions.to(device), self.seen.to(device))


def collate_fused(
    scenes: Sequence[FusedScene],
    augment: AugmentConfig,
    randoms: Sequence[np.random.Generator],  # one per scene
    voxel_m: float,
) -> FusedBatch:
    """Move the points of each scene, join the scenes and voxelise them."""
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
