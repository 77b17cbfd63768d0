"""Trained networks and teachers' labels as predictions for pixels and points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from labelfree.errors import InputError
from labelfree.method.feature_fusion import text_cosines
from labelfree.method.mask_vote import refine_labels
from labelfree.method.pairing import Pairs
from labelfree.nets.segmenters import COLOUR_CHANNELS, Segmenter2D, Segmenter3D, input_name
from labelfree.nets.sparse.voxels import Voxels, voxelise
from labelfree.precision import fast_autocast
from labelfree.prediction import Prediction
from labelfree.raster import resize_image, resize_nearest
from labelfree.scene import Scene
from labelfree.training.labelled_scenes import point_features
from labelfree.vocabulary import IGNORE_LABEL, Vocabulary

MOST_LOGITS = 1 << 28
"""Values of the logits of one image that are held at once: 1 GiB."""


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
        labels, scores = _labels_at(logits, (image.shape[0], image.shape[1]))
        name = names[index] if index < len(names) else ""
        predictions.append(Prediction(labels, net.vocabulary, scores, name=name))
    return predictions


def _labels_at(
    logits: Tensor,  # [1, K, h, w]
    size: tuple[int, int],
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:  # [H, W], [H, W]
    """Return labels and scores at a size; of a large image in bands of rows, so that memory stays bounded."""
    if logits.shape[1] * size[0] * size[1] <= MOST_LOGITS:
        whole = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        return _best(whole[0].cpu())
    rows = max(1, MOST_LOGITS // (logits.shape[1] * size[1]))
    bands = [_best(_band(logits, size, top, min(top + rows, size[0])).cpu()) for top in range(0, size[0], rows)]
    return np.concatenate([labels for labels, _ in bands]), np.concatenate([scores for _, scores in bands])


def _band(logits: Tensor, size: tuple[int, int], top: int, end: int) -> Tensor:  # [K, end - top, W]
    """Return some rows of what bilinear interpolation to `size` gives."""
    height = logits.shape[2]
    rows = torch.arange(top, end, device=logits.device)
    position = ((rows + 0.5) * (height / size[0]) - 0.5).clamp(0, height - 1)
    above = position.floor().long()
    below, share = (above + 1).clamp(max=height - 1), (position - above)[:, None]
    mixed = torch.lerp(logits[0, :, above], logits[0, :, below], share)
    wide = functional.interpolate(mixed[None], size=(len(rows), size[1]), mode="bilinear", align_corners=False)
    return wide[0]


@torch.inference_mode()
def predict_points(net: Segmenter3D, scene: Scene) -> Prediction:
    """Label every point of a scene at full resolution, through the voxel each point falls into."""
    voxels = _whole_scene(net, scene)
    with fast_autocast(voxels.features.device):
        logits = net(voxels).logits.float()
    labels, scores = _best(logits[voxels.inverse].T.cpu())
    return of_points(scene, labels, net.vocabulary, scores)


def of_points(
    scene: Scene,
    labels: NDArray[np.uint8],  # [N]
    vocabulary: Vocabulary,
    scores: NDArray[np.float32] | None = None,  # [N]
    seen: NDArray[np.bool_] | None = None,  # [N]
) -> Prediction:
    """Return labels of a scene's points as a prediction with the coordinates and the order of the cloud's file."""
    return Prediction(labels, vocabulary, scores, scene.output_points(), scene.name, seen, scene.kept)


@torch.inference_mode()
def point_cosines(net: Segmenter3D, scene: Scene) -> Tensor:  # [N, K] float32
    """Return the cosine of each point's feature in text space with each class, through its voxel (OpenScene)."""
    voxels = _whole_scene(net, scene)
    with fast_autocast(voxels.features.device):
        features = net.semantic_features(voxels)
    return text_cosines(features, net.text_embeddings)[voxels.inverse].cpu()


def require_features(net: Segmenter3D, scene: Scene, where: str = "") -> None:
    """Raise an `InputError` about the scene, or the file `where`, if its points lack what the network reads."""
    reads, has = net.config.in_channels, point_features(scene).shape[1]
    if has == reads:
        return
    if reads == COLOUR_CHANNELS:
        only = "coordinates" if scene.intensity is None else "coordinates and intensity"
        found, fix = f"only {only}", "add red, green and blue to its points, or train a network on intensity"
    else:
        found, fix = "colours", "leave red, green and blue out of its points, or train a network on colour"
    where = where or f"Scene '{scene.name}'"
    raise InputError(f"{where}: its points have {found}, but the 3D network was trained on {input_name(reads)}: {fix}.")


def _whole_scene(net: Segmenter3D, scene: Scene) -> Voxels:
    """Put the network in evaluation mode and return the scene as it reads it, on its device."""
    require_features(net, scene)
    net.eval()
    device = next(net.parameters()).device
    points, features = torch.from_numpy(scene.upright_points()), torch.from_numpy(point_features(scene))
    one_scene = torch.zeros(len(points), dtype=torch.int64, device=device)
    return voxelise(points.to(device), net.config.voxel_m, one_scene, features.to(device))


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


def _best(logits: Tensor) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:  # [K, ...]
    scores, labels = logits.softmax(dim=0).max(dim=0)
    return labels.to(torch.uint8).numpy(), scores.numpy()
