"""From labelled scenes to training batches: augmentation, voxels and pairs, drawn from (seed, epoch, scene)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.config.training import AugmentConfig
from labelfree.method.label_switching import PairedPixels
from labelfree.method.mask_vote import joint_mask_ids
from labelfree.method.resample import sample_at_pixels
from labelfree.nets.sparse.voxels import Voxels, voxelise
from labelfree.training.augment import draw_crop, move_points


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """One frame with its teachers' outputs at the working size, and the points it sees."""

    image: NDArray[np.uint8]  # [H, W, 3]
    labels: NDArray[np.uint8]  # [H, W] the labels to train on: CLIP's after the vote (P*), unless refinement is off
    mask_ids: NDArray[np.uint16]  # [H, W] 0 = no mask
    pair_point: NDArray[np.int64]  # [P] index into the scene's points
    pair_row: NDArray[np.int64]  # [P]
    pair_column: NDArray[np.int64]  # [P]
    target: NDArray[np.float16] | None  # [D, h, w] phi_f of the latent target, covering the whole image

    def nbytes(self) -> int:
        """Return the size in memory in bytes."""
        arrays = (self.image, self.labels, self.mask_ids, self.pair_point, self.pair_row, self.pair_column, self.target)
        return sum(array.nbytes for array in arrays if array is not None)


@dataclass(frozen=True, eq=False)
class LabelledScene:
    """A scene with its labelled frames, ready for training."""

    name: str
    points: NDArray[np.float32]  # [N, 3] metres, z up
    features: NDArray[np.float32]  # [N, C] network input per point
    frames: tuple[LabelledFrame, ...]

    def nbytes(self) -> int:
        """Return the size in memory in bytes."""
        return self.points.nbytes + self.features.nbytes + sum(frame.nbytes() for frame in self.frames)


@dataclass(frozen=True, eq=False)
class Sample:
    """One augmented scene: F images, its points, and the P pairs that lie inside the crops."""

    images: NDArray[np.uint8]  # [F, H, W, 3]
    labels: NDArray[np.uint8]  # [F, H, W]
    mask_ids: NDArray[np.int32]  # [F, H, W]
    points: NDArray[np.float32]  # [N, 3] augmented
    features: NDArray[np.float32]  # [N, C]
    pair_image: NDArray[np.int64]  # [P]
    pair_row: NDArray[np.int64]  # [P]
    pair_column: NDArray[np.int64]  # [P]
    pair_point: NDArray[np.int64]  # [P]
    targets: NDArray[np.float32]  # [P, D], or [0, D] without a latent target


@dataclass(frozen=True, eq=False)
class Batch:
    """Several samples as tensors; image and mask indices are unique over the batch."""

    images: Tensor  # [B, 3, H, W] float in 0..1
    labels: Tensor  # [B, H, W] int64
    mask_ids: Tensor  # [B, H, W] int64
    image_scene: Tensor  # [B] int64 sample that each image belongs to
    voxels: Voxels
    pairs: PairedPixels
    pair_voxel: Tensor  # [P] int64
    pair_scene: Tensor  # [P] int64
    targets: Tensor  # [P, D] or [0, D]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        if device == self.images.device:
            return self
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: _move(value, device) for name, value in moved.items()})


def scene_random(seed: int, epoch: int, scene: int) -> np.random.Generator:
    """Return the random generator of one scene in one epoch; it is the same in all processes and after a resume."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, scene])))


def draw_sample(
    scene: LabelledScene,
    images_per_scene: int,
    augment: AugmentConfig,
    random: np.random.Generator,
) -> Sample:
    """Return a sample of random frames of a scene, with images and points augmented independently.

    Labels, masks and pairs are transformed with their images.
    """
    count = min(images_per_scene, len(scene.frames))
    chosen = np.sort(random.permutation(len(scene.frames))[:count])
    views = [_draw_view(scene.frames[index], augment, random) for index in chosen]
    return Sample(
        images=np.stack([view.image for view in views]),
        labels=np.stack([view.labels for view in views]),
        mask_ids=np.stack([view.mask_ids for view in views]).astype(np.int32),
        points=move_points(scene.points, augment, random),
        features=scene.features,
        pair_image=np.repeat(np.arange(count), [len(view.pair_point) for view in views]),
        pair_row=np.concatenate([view.pair_row for view in views]),
        pair_column=np.concatenate([view.pair_column for view in views]),
        pair_point=np.concatenate([view.pair_point for view in views]),
        targets=np.concatenate([view.targets for view in views]),
    )


@dataclass(frozen=True, eq=False)
class _View:
    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    mask_ids: NDArray[np.uint16]
    pair_row: NDArray[np.int64]
    pair_column: NDArray[np.int64]
    pair_point: NDArray[np.int64]
    targets: NDArray[np.float32]


def _draw_view(frame: LabelledFrame, augment: AugmentConfig, random: np.random.Generator) -> _View:
    size = (frame.image.shape[0], frame.image.shape[1])
    crop = draw_crop(augment, size, random)
    rows, columns, inside = crop.pixels(frame.pair_row, frame.pair_column, size)
    return _View(
        image=crop.image(frame.image),
        labels=crop.map(frame.labels),
        mask_ids=crop.map(frame.mask_ids),
        pair_row=rows[inside],
        pair_column=columns[inside],
        pair_point=frame.pair_point[inside],
        targets=_targets_at(frame, frame.pair_row[inside], frame.pair_column[inside], size),
    )


def _targets_at(
    frame: LabelledFrame,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    size: tuple[int, int],
) -> NDArray[np.float32]:  # [P, D]
    """Sample the latent target bilinearly at the centres of unaugmented pixels."""
    if frame.target is None:
        return np.zeros((0, 1), dtype=np.float32)
    target = torch.from_numpy(frame.target)
    return sample_at_pixels(target, torch.from_numpy(rows), torch.from_numpy(columns), size).numpy()


def collate(samples: Sequence[Sample], voxel_m: float) -> Batch:
    """Return the batch of several samples; `voxel_m` is the edge of a voxel in metres."""
    # Offsets of the samples in the batch
    frames = [len(sample.images) for sample in samples]
    points = [len(sample.points) for sample in samples]
    pairs = [len(sample.pair_point) for sample in samples]
    first_frame = np.repeat(np.cumsum([0, *frames[:-1]]), pairs)
    first_point = np.repeat(np.cumsum([0, *points[:-1]]), pairs)
    scene_of_point = torch.from_numpy(np.repeat(np.arange(len(samples)), points))
    # Tensors of the batch
    voxels = voxelise(_join(samples, "points"), voxel_m, scene_of_point, _join(samples, "features"))
    images = _join(samples, "images").permute(0, 3, 1, 2).float().div_(255.0)
    return Batch(
        images=images.contiguous(memory_format=torch.channels_last),
        labels=_join(samples, "labels").long(),
        mask_ids=joint_mask_ids(_join(samples, "mask_ids")),
        image_scene=torch.from_numpy(np.repeat(np.arange(len(samples)), frames)),
        voxels=voxels,
        pairs=PairedPixels(
            image=_join(samples, "pair_image") + torch.from_numpy(first_frame),
            row=_join(samples, "pair_row"),
            column=_join(samples, "pair_column"),
        ),
        pair_voxel=voxels.inverse[_join(samples, "pair_point") + torch.from_numpy(first_point)],
        pair_scene=torch.from_numpy(np.repeat(np.arange(len(samples)), pairs)),
        targets=_join(samples, "targets"),
    )


def _join(samples: Sequence[Sample], field: str) -> Tensor:
    return torch.from_numpy(np.concatenate([getattr(sample, field) for sample in samples]))


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    moved = {f.name: _move(getattr(value, f.name), device) for f in fields(value)}
    return replace(value, **moved)
