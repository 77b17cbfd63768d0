"""Trained networks and teachers' labels as predictions for pixels and points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from labelfree.errors import InputError
from labelfree.method.extensions.test_time import Move, moves
from labelfree.method.openscene import text_cosines
from labelfree.nets.point_features import COLOUR_CHANNELS, input_name, point_features
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
from labelfree.nets.sparse.voxels import Voxels, voxelise
from labelfree.prediction import Prediction
from labelfree.raster import resize_image
from labelfree.runtime.precision import fast_autocast
from labelfree.scene import Scene
from labelfree.vocabulary import Vocabulary

MOST_LOGITS = 1 << 28
"""Values of the logits of one image that are held at once: 1 GiB."""
BAND_LOGITS = 1 << 21
"""Values of a band of rows that is labelled at once: its 8 MiB stay in a processor's cache, which halves the time."""


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
    """Return labels and scores at a size, a band of rows after the other; so are the logits of a large image."""
    step = max(1, BAND_LOGITS // (logits.shape[1] * size[1]))
    whole = None
    if logits.shape[1] * size[0] * size[1] <= MOST_LOGITS:
        whole = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)[0].cpu()
    labels, scores = np.empty(size, np.uint8), np.empty(size, np.float32)
    for top in range(0, size[0], step):
        end = min(top + step, size[0])
        band = _band(logits, size, top, end).cpu() if whole is None else whole[:, top:end]
        labels[top:end], scores[top:end] = _best(band)
    return labels, scores


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


@torch.inference_mode()
def point_log_p(net: Segmenter3D, scene: Scene, turns: int = 1) -> Tensor:  # [N, K] float32
    """Return the log of each point's mean class probabilities over moved copies of the scene; the first is unmoved."""
    net.eval()
    total = torch.zeros(len(scene), len(net.vocabulary))
    for move in moves(turns, net.config.voxel_m):
        voxels = _whole_scene(net, scene, move)
        with fast_autocast(voxels.features.device):
            logits = net(voxels).logits.float()
        total += logits.softmax(dim=1)[voxels.inverse].cpu()
    return (total / turns).clamp(min=1e-12).log()


@torch.inference_mode()
def pixel_log_p(net: Segmenter2D, image: NDArray[np.uint8], mirror: bool = True) -> Tensor:  # [H, W, 3] -> [K, h, w]
    """Return the log of the mean class probabilities over an image and its mirror image, at the network's output."""
    net.eval()
    device = next(net.parameters()).device
    seen = image if net.config.image_size is None else resize_image(image, net.config.image_size)
    pixels = torch.from_numpy(np.array(seen)).permute(2, 0, 1)[None].to(device).float() / 255.0
    both = torch.cat([pixels, pixels.flip(3)]) if mirror else pixels
    with fast_autocast(device):
        found = net(both.contiguous(memory_format=torch.channels_last)).logits.float().softmax(dim=1)
    mean = (found[0] + found[1].flip(2)) / 2 if mirror else found[0]
    return mean.clamp(min=1e-12).log().cpu()


def of_points(
    scene: Scene,
    labels: NDArray[np.uint8],  # [N]
    vocabulary: Vocabulary,
    scores: NDArray[np.float32] | None = None,  # [N]
    seen: NDArray[np.bool_] | None = None,  # [N]
) -> Prediction:
    """Return labels of a scene's points as a prediction with the coordinates and the order of the cloud's file."""
    return Prediction(labels, vocabulary, scores, scene.output_points(), scene.name, seen, kept=scene.kept)


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


def _whole_scene(net: Segmenter3D, scene: Scene, move: Move | None = None) -> Voxels:
    """Put the network in evaluation mode and return the scene, which may be moved, as it reads it, on its device."""
    require_features(net, scene)
    net.eval()
    device = next(net.parameters()).device
    points, features = torch.from_numpy(scene.upright_points()), torch.from_numpy(point_features(scene))
    points = points if move is None else move.apply(points)
    one_scene = torch.zeros(len(points), dtype=torch.int64, device=device)
    return voxelise(points.to(device), net.config.voxel_m, one_scene, features.to(device))


def _best(logits: Tensor) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:  # [K, ...]
    scores, labels = logits.softmax(dim=0).max(dim=0)
    return labels.to(torch.uint8).numpy(), scores.numpy()
