"""Labellers without training: the consensus of images and shape, and a vote of CLIP's labels inside segments."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.config.consensus import ConsensusConfig
from labelfree.config.training import MODALITIES, Modality
from labelfree.labelling.consensus import ConsensusNamer
from labelfree.labelling.labellers import TeacherLabels
from labelfree.labelling.pixel_groups import NO_GROUP, PixelGroups, pixel_groups, segment_map
from labelfree.labelling.projection import nearby_seen
from labelfree.labelling.scene_evidence import (
    SceneEvidence,
    frame_scores,
    paired_segments,
    point_segments,
    scene_evidence,
)
from labelfree.method.extensions.pooled_scores import support_share
from labelfree.method.mask_vote import mask_winners
from labelfree.prediction import Prediction
from labelfree.scene import Frame, Scene
from labelfree.teachers.teachers import Teachers
from labelfree.vocabulary import IGNORE_LABEL


@dataclass(frozen=True, eq=False)
class NamedScene:
    """A scene's segments with their class probabilities."""

    evidence: SceneEvidence
    log_p: Tensor
    """[G, K] log probabilities."""


class ConsensusLabels:
    """Consensus labels of any scene from a namer that was fitted on training scenes; nothing else is trained."""

    name = "consensus-labels"
    note = "consensus of images and shape per segment, without training"
    modalities: tuple[Modality, ...] = MODALITIES

    def __init__(self, teachers: Teachers, namer: ConsensusNamer) -> None:
        self.teachers, self.namer = teachers, namer
        self._last: tuple[Scene, NamedScene] | None = None

    def named(self, scene: Scene) -> NamedScene:
        """Return the scene's segments with their probabilities; the last scene is kept for its frames."""
        if self._last is None or self._last[0] is not scene:
            evidence = scene_evidence(scene, self.teachers, self.namer.config)
            self._last = scene, NamedScene(evidence, self.namer.name(evidence))
        return self._last[1]

    def points(self, scene: Scene) -> Prediction:
        """Return the label of each point with confidence, support and segment.

        Points that nothing names take the label of a near named point.
        """
        named = self.named(scene)
        seen = named.evidence.seen[torch.from_numpy(named.evidence.segments)]
        return segment_prediction(scene, named, None if self.namer.namers else seen, self.teachers)

    def pixels(self, scene: Scene, frame: Frame) -> Prediction:
        """Return the label of each pixel with its confidence, at the working size."""
        own, found = frame_groups(self.teachers, self.namer, scene, frame, self.named(scene))
        log_p = torch.where((found.group == NO_GROUP)[..., None], own.permute(1, 2, 0), found.log_p[found.group])
        best = log_p.max(dim=2)
        labels, scores = best.indices.to(torch.uint8).numpy(), best.values.exp().numpy()
        return Prediction(labels, self.teachers.vocabulary, scores, name=frame.name)


def segment_prediction(
    scene: Scene, named: NamedScene, known: Tensor | None, teachers: Teachers
) -> Prediction:  # known: [N] bool, None if all are
    """Return the most probable class of each point's segment, with confidence, support and segment."""
    segments = torch.from_numpy(named.evidence.segments)
    best = named.log_p.max(dim=1)
    source = torch.arange(len(segments))
    if known is not None and bool(known.any()):
        source = nearby_seen(torch.from_numpy(scene.points_world), known)
    views = named.evidence.views[segments]
    return Prediction(
        best.indices[segments][source].to(torch.uint8).numpy(),
        teachers.vocabulary,
        best.values.exp()[segments].numpy(),
        scene.output_points(),
        scene.name,
        seen=(views > 0).numpy(),
        support=views.numpy().astype(np.int32),
        segments=named.evidence.segments.astype(np.int32),
        kept=scene.kept,
    )


def frame_groups(
    teachers: Teachers, namer: ConsensusNamer, scene: Scene, frame: Frame, named: NamedScene
) -> tuple[Tensor, PixelGroups]:  # [K, H, W]
    """Return what the image says about each pixel of a frame, and the groups of its pixels."""
    config, evidence = namer.config, named.evidence
    scores = frame_scores(teachers, frame, config.mask_share)
    own = namer.image_log_p(scores.flatten(1).T).T.reshape(scores.shape)
    masks = torch.from_numpy(teachers.mask_ids(frame).astype(np.int64))
    pairs = teachers.pairs(scene, frame)
    near = segment_map(pairs, paired_segments(pairs, evidence.segments), teachers.size, config.reach_px)
    return own, pixel_groups(near, masks, named.log_p, support_share(evidence.views), own)


@dataclass(frozen=True, eq=False)
class SegmentVote:
    """CLIP's labels after the vote inside masks, then a vote of the points of each segment."""

    labeller: TeacherLabels
    config: ConsensusConfig
    name: str = "clip+sam+segments"
    note: str = "CLIP labels after the vote inside SAM's masks, then inside segments"
    modalities: tuple[Modality, ...] = MODALITIES

    def points(self, scene: Scene) -> Prediction:
        """Return the points' labels after the vote; points that no image sees do not vote."""
        prediction = self.labeller.points(scene)
        segments, winners = self._winners(scene, prediction)
        voted = winners[segments]
        labels = np.where(voted == IGNORE_LABEL, prediction.labels, voted)
        return replace(prediction, labels=labels, scores=None, segments=segments.astype(np.int32))

    def pixels(self, scene: Scene, frame: Frame) -> Prediction:
        """Return the labels of the segments at pixels near a pair, and the labels of the masks elsewhere."""
        teachers = self.labeller.teachers
        segments, winners = self._winners(scene, self.labeller.points(scene))
        pairs = teachers.pairs(scene, frame)
        near = segment_map(pairs, paired_segments(pairs, segments), teachers.size, self.config.reach_px).numpy()
        voted = np.where(near == NO_GROUP, IGNORE_LABEL, winners[near])
        own = self.labeller.pixels(scene, frame).labels
        return Prediction(np.where(voted == IGNORE_LABEL, own, voted), teachers.vocabulary, name=frame.name)

    def _winners(self, scene: Scene, prediction: Prediction) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return the segment of each point and the label of each segment, 255 for one that no image sees."""
        segments = point_segments(scene, self.labeller.teachers, self.config)
        seen = np.ones(len(segments), np.bool_) if prediction.seen is None else prediction.seen
        votes = torch.from_numpy(np.where(seen, prediction.labels, IGNORE_LABEL).astype(np.int64))
        count = int(segments.max()) + 1
        # mask ids start at 1
        winners = mask_winners(votes, torch.from_numpy(segments) + 1, count, len(prediction.vocabulary))
        return segments, winners[1:].to(torch.uint8).numpy()
