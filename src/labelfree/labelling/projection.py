"""Projection of labels from images to points, and the vote on finished predictions."""

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
    """Return the labels of points from label maps (Eq. 2): each view votes, ties go to the lowest class id.

    Unseen points take the label of a nearby seen point, since the protocol requires a class at every point.
    """
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
    """Return the labels of points from score maps: the class with the highest mean over a point's views.

    These are MaskCLIP's 3D labels. Unseen points take the label of a nearby seen point.
    """
    sums, counts = torch.zeros(len(scene), len(vocabulary)), torch.zeros(len(scene))
    for pairs, scores in views:
        sums.index_add_(0, pairs.point, scores[:, pairs.row, pairs.column].T)
        counts[pairs.point] += 1
    return _every_point(scene, sums.argmax(dim=1), counts > 0, None, vocabulary)


def fused_labels(scene: Scene, scores: Tensor, vocabulary: Vocabulary) -> Prediction:  # [N, K], -inf where unseen
    """Return the labels of points from the cosines of their fused features; unseen points take a nearby label."""
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
    """Return a finished 3D prediction after the vote inside SAM's masks.

    In each view, the points paired with a mask take the most frequent label among them. Then the views of a point
    vote; ties go to the lowest class id. Points that no view sees keep their label.
    """
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
    """Return a prediction in which unseen points take a nearby label; all are ignored if no point is seen."""
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
    """Return the index of each point itself if it is seen, else that of a nearby seen point.

    The nearby point is in the same cell of a grid whose cells double from `smallest_m` until one contains a seen
    point. An exact nearest neighbour takes minutes for half a million points; this takes one sort per doubling.
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
