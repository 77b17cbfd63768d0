"""Fused predictions of trained networks: moved copies of the cloud, the 2D network, and the mean per segment.

The same for every system, so that a comparison of systems compares what they learned. Without images, or without a 2D
network, only the 3D network and segments by geometry remain.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from labelfree.config.labels import PairingConfig, PredictConfig
from labelfree.config.training import Modality
from labelfree.data.pairs import pair_points
from labelfree.labelling.inference import pixel_log_p, point_log_p
from labelfree.labelling.labellers import NetworkLabels
from labelfree.labelling.pixel_groups import NO_GROUP, segment_map
from labelfree.labelling.scene_segments import scene_segments
from labelfree.method.extensions.opinion_pool import opinion_pool
from labelfree.method.extensions.pooled_scores import group_means, group_sums
from labelfree.method.pairing import Pairs
from labelfree.prediction import Prediction
from labelfree.raster import resize_nearest
from labelfree.scene import Frame, Scene
from labelfree.teachers.cache import TeacherCache
from labelfree.teachers.labelling import MaskMaker, Size
from labelfree.teachers.teachers import Teachers


@dataclass(frozen=True, eq=False)
class SegmentSource:
    """What segments need besides a scene: masks, the size of their maps, and the rule for pairs."""

    masks: MaskMaker
    size: Size
    pairing: PairingConfig
    cache: TeacherCache | None = None
    level: float = 0.7

    @classmethod
    def of(cls, teachers: Teachers, level: float) -> SegmentSource:
        """Return the source with a run's teachers."""
        return cls(teachers.masks, teachers.size, teachers.pairing, teachers.cache, level)

    def segments(self, scene: Scene) -> NDArray[np.int64]:  # [N]
        """Return the segment of each point."""
        return scene_segments(scene, self.masks, self.size, self.pairing, cache=self.cache).at(self.level)

    def pairs(self, scene: Scene, frame: Frame) -> Pairs:
        """Return the pixel-point pairs of a frame."""
        return pair_points(scene, frame, self.size, self.pairing)


@dataclass(frozen=True, eq=False)
class FusedScene:
    """The fused evidence about a scene's points."""

    log_p: Tensor
    """[N, K] log probabilities: of the point's segment, if there are segments."""
    segments: NDArray[np.int64] | None
    """[N] segment of each point."""
    views: Tensor
    """[N] number of images that see the point."""


@dataclass(frozen=True, eq=False)
class FusedLabels:
    """The fused labels of trained networks."""

    networks: NetworkLabels
    source: SegmentSource
    config: PredictConfig
    reach_px: int = 3
    _last: list[tuple[Scene, FusedScene]] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        """Return the row name."""
        return f"{self.networks.name}, fused"

    @property
    def note(self) -> str:
        """Return a short description of the row."""
        return f"{self.networks.note}; probabilities averaged over moved clouds, images and segments"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Return the modalities of the networks."""
        return self.networks.modalities

    def points(self, scene: Scene) -> Prediction:
        """Return the points' labels with confidence, number of images and segment."""
        fused = self.fused(scene)
        best = fused.log_p.max(dim=1)
        return Prediction(
            best.indices.to(torch.uint8).numpy(),
            self.networks.vocabulary,
            best.values.exp().numpy(),
            scene.output_points(),
            scene.name,
            support=fused.views.numpy().astype(np.int32) if scene.frames else None,
            segments=None if fused.segments is None else fused.segments.astype(np.int32),
            kept=scene.kept,
        )

    def pixels(self, scene: Scene, frame: Frame) -> Prediction:
        """Return the 2D network's labels, pooled with those of the points near each pixel, at the working size."""
        log_p = self._image_log_p(frame)
        if self.networks.net_3d is not None and len(scene):
            near = self._nearest_point(scene, frame)
            there = self.fused(scene).log_p[near.clamp(min=0)].permute(2, 0, 1)
            log_p = torch.where(near == NO_GROUP, log_p, (log_p + there).log_softmax(dim=0))
        best = log_p.max(dim=0)
        labels, scores = best.indices.to(torch.uint8).numpy(), best.values.exp().numpy()
        size = frame.size
        return Prediction(
            resize_nearest(labels, size), self.networks.vocabulary, resize_nearest(scores, size), name=frame.name
        )

    def fused(self, scene: Scene) -> FusedScene:
        """Return the fused evidence about a scene; the last scene is kept for its frames."""
        if not self._last or self._last[0][0] is not scene:
            self._last[:] = [(scene, self._fuse(scene))]
        return self._last[0][1]

    def _fuse(self, scene: Scene) -> FusedScene:
        net = self.networks.net_3d
        if net is None:
            return self._fused_images(scene)
        log_p, views = point_log_p(net, scene, self.config.fuse_turns), torch.zeros(len(scene))
        if self.networks.net_2d is not None and self.config.fuse_images and scene.frames:
            seen, views = self._from_images(scene)
            pooled = opinion_pool([log_p, seen], [1.0, self.config.fuse_images])
            log_p = torch.where((views > 0)[:, None], pooled, log_p)
        return self._by_segment(scene, log_p, views)

    def _fused_images(self, scene: Scene) -> FusedScene:
        seen, views = self._from_images(scene)
        return self._by_segment(scene, seen, views)

    def _by_segment(self, scene: Scene, log_p: Tensor, views: Tensor) -> FusedScene:
        if not self.config.fuse_segments:
            return FusedScene(log_p, None, views)
        segments = self.source.segments(scene)
        return FusedScene(segment_mean(log_p, segments), segments, views)

    def _from_images(self, scene: Scene) -> tuple[Tensor, Tensor]:  # [N, K], [N]
        """Return the 2D network's mean log probabilities over the views of each point, and their number."""
        sums = torch.zeros(len(scene), len(self.networks.vocabulary), dtype=torch.float64)
        views = torch.zeros(len(scene), dtype=torch.float64)
        for frame in scene.frames:
            pairs, log_p = self.source.pairs(scene, frame), self._image_log_p(frame)
            added, number = group_sums(log_p[:, pairs.row, pairs.column].T, pairs.point, len(scene))
            sums, views = sums + added, views + number
        return (sums / views.clamp(min=1)[:, None]).float().log_softmax(dim=1), views.float()

    def _image_log_p(self, frame: Frame) -> Tensor:  # [K, H, W] at the working size
        if self.networks.net_2d is None:
            return torch.zeros(len(self.networks.vocabulary), *self.source.size)
        log_p = pixel_log_p(self.networks.net_2d, frame.load_image())
        resized = functional.interpolate(log_p[None], size=self.source.size, mode="bilinear", align_corners=False)
        return resized[0].log_softmax(dim=0)

    def _nearest_point(self, scene: Scene, frame: Frame) -> Tensor:  # [H, W]
        pairs = self.source.pairs(scene, frame)
        return segment_map(pairs, pairs.point, self.source.size, self.reach_px)


def segment_mean(log_p: Tensor, segments: NDArray[np.int64]) -> Tensor:  # [N, K], [N] -> [N, K]
    """Return for each point the mean log probabilities of its segment's points, as log probabilities."""
    group = torch.from_numpy(segments)
    return group_means(log_p, group, int(group.max()) + 1).log_softmax(dim=1)[group]
