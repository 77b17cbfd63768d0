"""What the images and the geometry say about each segment of a scene, before any label is chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from labelfree.config.consensus import ConsensusConfig
from labelfree.labelling.scene_segments import scene_graph, scene_segments
from labelfree.method.extensions.pooled_scores import group_sums, pool_in_masks
from labelfree.method.extensions.segment_shape import shape_descriptors
from labelfree.method.pairing import Pairs
from labelfree.scene import Frame, Scene
from labelfree.teachers.labelling import PixelScorer
from labelfree.teachers.teachers import Teachers

LABEL_SCORE = 0.05
"""Score of a label without scores: as far above the others as CLIP's best class is above a typical one."""


@dataclass(frozen=True, eq=False)
class SceneEvidence:
    """The evidence about the G segments of a scene."""

    name: str
    segments: NDArray[np.int64]
    """[N] segment of each point."""
    scores: Tensor
    """[G, K] mean class score over all views of all points; 0 for a segment that no view sees."""
    views: Tensor
    """[G] number of views that see the segment."""
    sizes: Tensor
    """[G] number of points."""
    shapes: Tensor
    """[G, D] descriptors of shape and place."""

    @property
    def seen(self) -> Tensor:  # [G]
        """Return whether a view sees the segment."""
        return self.views > 0


def scene_evidence(scene: Scene, teachers: Teachers, config: ConsensusConfig) -> SceneEvidence:
    """Return the evidence about a scene's segments; without `consensus.segments` each point is a segment."""
    segments = point_segments(scene, teachers, config) if config.segments else np.arange(len(scene))
    count, of_point = int(segments.max()) + 1, torch.from_numpy(segments)
    sums, sizes = torch.zeros(count, len(teachers.vocabulary), dtype=torch.float64), torch.zeros(count)
    views = torch.zeros(count)
    for frame in scene.frames:
        pairs = teachers.pairs(scene, frame)
        scores = frame_scores(teachers, frame, config.mask_share)[:, pairs.row, pairs.column].T
        added, number = group_sums(scores, of_point[pairs.point], count)
        sums, sizes, views = sums + added, sizes + number, views + (number > 0)
    means = (sums / sizes.clamp(min=1)[:, None]).float()
    points = torch.bincount(of_point, minlength=count).float()
    return SceneEvidence(scene.name, segments, means, views, points, _shapes(scene, segments, config))


def point_segments(scene: Scene, teachers: Teachers, config: ConsensusConfig) -> NDArray[np.int64]:  # [N]
    """Return the segment of each point at the level of the settings, numbered from 0."""
    found = scene_segments(scene, teachers.masks, teachers.size, teachers.pairing, cache=teachers.cache)
    return found.at(config.level)


def frame_scores(teachers: Teachers, frame: Frame, mask_share: float) -> Tensor:  # [K, H, W]
    """Return the class scores of a frame's pixels: a mixture of their own and the mean of their mask.

    Labels without scores, such as those of files, count as scores of 0 and 1.
    """
    own = _scores(teachers, frame)
    if mask_share == 0:
        return own
    masks = torch.from_numpy(teachers.mask_ids(frame).astype(np.int64))
    return (1 - mask_share) * own + mask_share * pool_in_masks(own, masks)


def _scores(teachers: Teachers, frame: Frame) -> Tensor:  # [K, H, W]
    if isinstance(teachers.namer, PixelScorer):
        return teachers.clip_scores(frame)
    labels = torch.from_numpy(teachers.clip_labels(frame).astype(np.int64))
    classes = len(teachers.vocabulary)
    known = labels.clamp(max=classes)  # 255 becomes one more class, which is left out
    return functional.one_hot(known, classes + 1)[..., :classes].permute(2, 0, 1).float() * LABEL_SCORE


def _shapes(scene: Scene, segments: NDArray[np.int64], config: ConsensusConfig) -> Tensor:  # [G, D]
    if not (config.segments and config.rounds):
        return torch.zeros(int(segments.max()) + 1, 0)
    graph = scene_graph(scene)
    steepness = np.abs(graph.normals @ scene.up_world())[graph.grid.inverse]
    described = shape_descriptors(scene.upright_points(), steepness, segments, graph.grid.voxel_m)
    return torch.from_numpy(described)


def paired_segments(pairs: Pairs, segments: NDArray[np.int64]) -> Tensor:  # [P]
    """Return the segment of each pair of a frame."""
    return torch.from_numpy(segments)[pairs.point]
