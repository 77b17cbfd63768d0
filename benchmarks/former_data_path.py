"""The former path of a batch to the device, which `data_path.py` compares with: everything in wide types.

Targets of Eq. 7 were sampled at every pair and points voxelised before the batch was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.config.training import AugmentConfig
from labelfree.method.mask_vote import joint_mask_ids
from labelfree.method.resample import sample_at_pixels
from labelfree.nets.point_features import unpacked_features
from labelfree.nets.sparse.voxels import voxelise
from labelfree.training.augment import ImageCrop, draw_crop, move_points
from labelfree.training.samples import LabelledFrame, LabelledScene


@dataclass(frozen=True, eq=False)
class FormerSample:
    arrays: dict[str, NDArray[Any]]
    points: NDArray[np.float32]
    features: NDArray[np.float32]


def former_sample(
    scene: LabelledScene, images: int, augment: AugmentConfig, random: np.random.Generator
) -> FormerSample:
    count = min(images, len(scene.frames))
    chosen = np.sort(random.permutation(len(scene.frames))[:count])
    views = [_view(scene.frames[index], augment, random) for index in chosen]
    arrays = {name: np.stack([view[name] for view in views]) for name in ("image", "labels", "mask_ids")}
    arrays |= {name: np.concatenate([view[name] for view in views]) for name in ("row", "column", "point", "targets")}
    arrays["mask_ids"] = arrays["mask_ids"].astype(np.int32)
    arrays["owner"] = np.repeat(np.arange(count), [len(view["point"]) for view in views])
    features = unpacked_features(torch.from_numpy(scene.features)).numpy()
    return FormerSample(arrays, move_points(scene.points, augment, random), features)


def _view(frame: LabelledFrame, augment: AugmentConfig, random: np.random.Generator) -> dict[str, NDArray[Any]]:
    size = (frame.image.shape[0], frame.image.shape[1])
    crop = draw_crop(augment, size, random)
    old_rows, old_columns = frame.pair_row.astype(np.int64), frame.pair_column.astype(np.int64)
    rows = np.floor((old_rows + 0.5 - crop.top) * size[0] / crop.height).astype(np.int64)
    columns = np.floor((old_columns + 0.5 - crop.left) * size[1] / crop.width).astype(np.int64)
    inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    columns = size[1] - 1 - columns if crop.flip else columns
    where = torch.from_numpy(old_rows[inside]), torch.from_numpy(old_columns[inside])
    assert frame.target is not None
    return {
        "image": crop.image(frame.image),
        "labels": _crop_map(crop, frame.labels),
        "mask_ids": _crop_map(crop, frame.mask_ids),
        "row": rows[inside],
        "column": columns[inside],
        "point": frame.pair_point.astype(np.int64)[inside],
        "targets": sample_at_pixels(torch.from_numpy(frame.target), *where, size).numpy(),
    }


def _crop_map(crop: ImageCrop, values: NDArray[Any]) -> NDArray[Any]:
    height, width = values.shape
    rows = crop.top + ((np.arange(height) + 0.5) * crop.height / height).astype(np.int64)
    columns = crop.left + ((np.arange(width) + 0.5) * crop.width / width).astype(np.int64)
    return np.asarray(values[rows[:, None], (columns[::-1] if crop.flip else columns)[None, :]])


def former_batch(samples: Sequence[FormerSample], voxel_m: float) -> dict[str, Tensor]:
    """Return the tensors that were copied to the device."""
    frames = [len(sample.arrays["image"]) for sample in samples]
    points = [len(sample.points) for sample in samples]
    pairs = [len(sample.arrays["point"]) for sample in samples]
    first_frame = torch.from_numpy(np.repeat(np.cumsum([0, *frames[:-1]]), pairs))
    first_point = torch.from_numpy(np.repeat(np.cumsum([0, *points[:-1]]), pairs))
    owner = torch.from_numpy(np.repeat(np.arange(len(samples)), points))
    moved, features = ([getattr(sample, name) for sample in samples] for name in ("points", "features"))
    voxels = voxelise(
        torch.from_numpy(np.concatenate(moved)), voxel_m, owner, torch.from_numpy(np.concatenate(features))
    )
    images = _join(samples, "image").permute(0, 3, 1, 2).float().div_(255.0)
    return {
        "images": images.contiguous(memory_format=torch.channels_last),
        "labels": _join(samples, "labels").long(),
        "mask_ids": joint_mask_ids(_join(samples, "mask_ids")),
        "image_scene": torch.from_numpy(np.repeat(np.arange(len(samples)), frames)),
        "coords": voxels.coords,
        "inverse": voxels.inverse,
        "features": voxels.features,
        "spread": voxels.spread,
        "pair_image": _join(samples, "owner") + first_frame,
        "pair_row": _join(samples, "row"),
        "pair_column": _join(samples, "column"),
        "pair_voxel": voxels.inverse[_join(samples, "point") + first_point],
        "pair_scene": torch.from_numpy(np.repeat(np.arange(len(samples)), pairs)),
        "targets": _join(samples, "targets"),
    }


def _join(samples: Sequence[FormerSample], name: str) -> Tensor:
    return torch.from_numpy(np.concatenate([sample.arrays[name] for sample in samples]))
