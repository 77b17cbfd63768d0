"""Trained networks and teachers' labels as predictions for pixels and points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from labelfree.method.pairing import Pairs
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
from labelfree.nets.sparse.voxels import voxelise
from labelfree.precision import fast_autocast
from labelfree.prediction import Prediction
from labelfree.raster import resize_image
from labelfree.scene import Scene
from labelfree.training.labelled_scenes import point_features
from labelfree.vocabulary import IGNORE_LABEL, Vocabulary


@torch.inference_mode()
def predict_images(
    net: Segmenter2D,
    images: Sequence[NDArray[np.uint8]],  # each [H, W, 3]
    names: Sequence[str] = (),
) -> list[Prediction]:
    """Label images at their own resolution; the network sees them at the size it was trained at."""
    device = next(net.parameters()).device
    net.eval()
    predictions = []
    for index, image in enumerate(images):
        seen = image if net.config.image_size is None else resize_image(image, net.config.image_size)
        pixels = torch.from_numpy(np.array(seen)).permute(2, 0, 1)[None].to(device).float() / 255.0
        with fast_autocast(device):
            logits = net(pixels.contiguous(memory_format=torch.channels_last)).logits.float()
        logits = functional.interpolate(logits, size=image.shape[:2], mode="bilinear", align_corners=False)
        labels, scores = _best(logits[0].cpu())
        name = names[index] if index < len(names) else ""
        predictions.append(Prediction(labels, net.vocabulary, scores, name=name))
    return predictions


@torch.inference_mode()
def predict_points(net: Segmenter3D, scene: Scene) -> Prediction:
    """Label every point of a scene at full resolution, through the voxel each point falls into."""
    device = next(net.parameters()).device
    net.eval()
    points = torch.from_numpy(scene.upright_points())
    one_scene = torch.zeros(len(points), dtype=torch.int64)
    features = torch.from_numpy(point_features(scene))
    voxels = voxelise(points.to(device), net.config.voxel_m, one_scene.to(device), features.to(device))
    with fast_autocast(device):
        logits = net(voxels).logits.float()
    labels, scores = _best(logits[voxels.inverse].T.cpu())
    return Prediction(labels, net.vocabulary, scores, scene.points_world, scene.name)


def project_labels(
    scene: Scene,
    views: Iterable[tuple[Pairs, NDArray[np.uint8]]],  # pairs of a frame and its label map [H, W]
    vocabulary: Vocabulary,
) -> Prediction:
    """Carry label maps to the points (Eq. 2): each view votes, ties go to the lowest class id; unseen points take the
    label of a seen one nearby, so that every point has a class, as the protocol asks."""
    votes = torch.zeros(len(scene), len(vocabulary))
    for pairs, labels in views:
        seen = torch.from_numpy(labels)[pairs.row, pairs.column].long()
        valid = seen != IGNORE_LABEL
        votes.view(-1).index_add_(0, pairs.point[valid] * len(vocabulary) + seen[valid], torch.ones(int(valid.sum())))
    found = votes.sum(dim=1)
    labels_3d = votes.argmax(dim=1)
    scores = votes.amax(dim=1) / found.clamp(min=1)
    if bool((found > 0).any()):
        labels_3d = labels_3d[nearby_seen(torch.from_numpy(scene.points_world), found > 0)]
    else:
        labels_3d = torch.full_like(labels_3d, IGNORE_LABEL)
    return Prediction(labels_3d.to(torch.uint8).numpy(), vocabulary, scores.numpy(), scene.points_world, scene.name)


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


def _best(logits: Tensor) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:  # [K, ...]
    scores, labels = logits.softmax(dim=0).max(dim=0)
    return labels.to(torch.uint8).numpy(), scores.numpy()
