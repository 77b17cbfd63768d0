"""Labels carried from images to points and refined by masks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.labelling.inference import of_points
from labelfree.method.mask_vote import refine_labels
from labelfree.method.pairing import Pairs
from labelfree.prediction import Prediction
from labelfree.raster import resize_nearest
from labelfree.scene import Scene
from labelfree.vocabulary import IGNORE_LABEL, Vocabulary


def project_labels(
    scene: Scene,
    views: Iterable[tuple[Pairs, NDArray[np.uint8]]],  # pairs of a frame and its label map [H, W]
    vocabulary: Vocabulary,
) -> Prediction:
    """Carry label maps to the points (Eq. 2): each view votes, ties go to the lowest class id; unseen points take the
    label of a seen one nearby, so that every point has a class, as the protocol asks."""
    votes = _votes(
        scene, ((pairs, torch.from_numpy(labels)[pairs.row, pairs.column]) for pairs, labels in views), vocabulary
    )
    found = votes.sum(dim=1)
    confidence = votes.amax(dim=1) / found.clamp(min=1)
    return _every_point(scene, votes.argmax(dim=1), found > 0, confidence, vocabulary)


def project_scores(
    scene: Scene,
    views: Iterable[tuple[Pairs, Tensor]],  # pairs of a frame and its score map [K, H, W]
    vocabulary: Vocabulary,
) -> Prediction:
    """Carry score maps to the points: the mean over a point's views, then the best class (MaskCLIP in 3D); unseen
    points take the label of a seen one nearby."""
    sums, counts = torch.zeros(len(scene), len(vocabulary)), torch.zeros(len(scene))
    for pairs, scores in views:
        sums.index_add_(0, pairs.point, scores[:, pairs.row, pairs.column].T)
        counts[pairs.point] += 1
    return _every_point(scene, sums.argmax(dim=1), counts > 0, None, vocabulary)


def fused_labels(scene: Scene, scores: Tensor, vocabulary: Vocabulary) -> Prediction:  # [N, K], -inf where unseen
    """Label points by the cosines of their fused features; unseen points take the label of a seen one nearby."""
    return _every_point(scene, scores.argmax(dim=1), scores[:, 0] > -torch.inf, None, vocabulary)


def refine_image(
    prediction: Prediction,
    mask_ids: NDArray[np.uint16],  # [h, w]
) -> Prediction:
    """Return a finished 2D prediction after the vote inside SAM's masks, at the prediction's own size."""
    height, width = prediction.labels.shape
    masks = torch.from_numpy(resize_nearest(mask_ids, (height, width)).astype(np.int64))
    labels = refine_labels(torch.from_numpy(prediction.labels), masks, len(prediction.vocabulary))
    return replace(prediction, labels=labels.numpy(), scores=None)


def refine_cloud(
    scene: Scene,
    prediction: Prediction,
    views: Iterable[tuple[Pairs, NDArray[np.uint16]]],  # pairs of a frame and its mask ids [H, W]
) -> Prediction:
    """Return a finished 3D prediction after the vote inside SAM's masks: in each view a point takes the label that most
    points paired with its mask have, then its views vote, ties to the lowest class id; unseen points keep theirs."""
    own = torch.from_numpy(prediction.labels.astype(np.int64))
    classes = len(prediction.vocabulary)

    def refined(pairs: Pairs, mask_ids: NDArray[np.uint16]) -> tuple[Pairs, Tensor]:
        masks = torch.from_numpy(mask_ids.astype(np.int64))[pairs.row, pairs.column]
        return pairs, refine_labels(own[pairs.point], masks, classes)

    votes = _votes(scene, (refined(pairs, mask_ids) for pairs, mask_ids in views), prediction.vocabulary)
    labels = torch.where(votes.sum(dim=1) > 0, votes.argmax(dim=1), own)
    return replace(prediction, labels=labels.numpy(), scores=None)


def _votes(
    scene: Scene,
    views: Iterable[tuple[Pairs, Tensor]],  # pairs of a frame and a label for each
    vocabulary: Vocabulary,
) -> Tensor:  # [N, K]
    votes = torch.zeros(len(scene), len(vocabulary))
    for pairs, labels in views:
        valid = labels != IGNORE_LABEL
        ballots = pairs.point[valid] * len(vocabulary) + labels[valid].long()
        votes.view(-1).index_add_(0, ballots, torch.ones(len(ballots)))
    return votes


def _every_point(
    scene: Scene,
    labels: Tensor,  # [N] int64
    seen: Tensor,  # [N] bool
    confidence: Tensor | None,  # [N]
    vocabulary: Vocabulary,
) -> Prediction:
    """Give the points that no view sees a label nearby; without any seen point nothing has a label."""
    if bool(seen.any()):
        labels = labels[nearby_seen(torch.from_numpy(scene.points_world), seen)]
    else:
        labels = torch.full_like(labels, IGNORE_LABEL)
    scores = None if confidence is None else confidence.numpy()
    return of_points(scene, labels.to(torch.uint8).numpy(), vocabulary, scores, seen.numpy())


def nearby_seen(
    points: Tensor,  # [N, 3]
    seen: Tensor,  # [N] bool, at least one
    smallest_m: float = 0.05,
) -> Tensor:  # [N] int64
    """Return for each point itself if seen, else a seen point in the smallest cell of a doubling grid that holds one.

    An exact nearest neighbour costs minutes on a scan of half a million points; this costs a sort for each doubling.
    """
    index = torch.arange(len(points))
    missing = index[~seen]
    low = points.amin(dim=0)
    cell = smallest_m
    while len(missing):
        cells = ((points - low) / cell).long()
        shape = cells.amax(dim=0) + 1
        keys = (cells[:, 0] * shape[1] + cells[:, 1]) * shape[2] + cells[:, 2]
        known, order = keys[seen].sort(stable=True)
        place = torch.searchsorted(known, keys[missing]).clamp(max=len(known) - 1)
        found = known[place] == keys[missing]
        index[missing[found]] = torch.nonzero(seen)[:, 0][order[place[found]]]
        missing = missing[~found]
        cell *= 2
    return index
