"""From labelled scenes to training batches: augmentation, voxels and pairs, drawn from (seed, epoch, scene).

A batch is packed on the CPU in the smallest number types and unpacked on the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.config.training import AugmentConfig
from labelfree.method.label_switching import PairedPixels
from labelfree.method.mask_vote import joint_mask_ids
from labelfree.method.resample import sample_at_pixels
from labelfree.nets.point_features import unpacked_features
from labelfree.nets.sparse.voxels import Voxels, voxelise
from labelfree.training.augment import draw_crop, mean_point, move_points


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """One frame with its teachers' outputs at the working size, and the points it sees."""

    image: NDArray[np.uint8]  # [H, W, 3]
    labels: NDArray[np.uint8] | NDArray[np.int32]
    """[H, W] labels to train on: CLIP's after the vote (P*), unless refinement is off; int32 rows of `soft_scenes`."""
    mask_ids: NDArray[np.uint16]  # [H, W] 0 = no mask
    pair_point: NDArray[np.int32]  # [P] index into the scene's points
    pair_row: NDArray[np.int32]  # [P]
    pair_column: NDArray[np.int32]  # [P]
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
    features: NDArray[np.uint8] | NDArray[np.float32]  # [N, C] of each point, see `stored_features`
    frames: tuple[LabelledFrame, ...]
    clouds: tuple[int, ...] = ()  # number of points of the key frame and of each earlier sweep; empty for one cloud

    @cached_property
    def mean(self) -> NDArray[np.float64]:  # [3]
        """Return the mean of the points in metres, which is computed once."""
        return mean_point(self.points)

    def nbytes(self) -> int:
        """Return the size in memory in bytes."""
        return self.points.nbytes + self.features.nbytes + sum(frame.nbytes() for frame in self.frames)


@dataclass(frozen=True, eq=False)
class View:
    """One augmented frame, and its P pairs that lie inside the crop."""

    image: NDArray[np.uint8]  # [H, W, 3]
    labels: NDArray[np.uint8] | NDArray[np.int32]  # [H, W]
    mask_ids: NDArray[np.uint16]  # [H, W]
    pair_point: NDArray[np.int32]  # [P]
    pair_row: NDArray[np.int32]  # [P] pixel in the crop
    pair_column: NDArray[np.int32]  # [P]
    source_row: NDArray[np.int32]  # [P] pixel in the frame before augmentation, where the latent target is sampled
    source_column: NDArray[np.int32]  # [P]
    target: NDArray[np.float16] | None  # [D, h, w] of the whole frame


@dataclass(frozen=True, eq=False)
class Sample:
    """One augmented scene: its views and its points."""

    views: tuple[View, ...]
    points: NDArray[np.float32]  # [N, 3] augmented
    features: NDArray[np.uint8] | NDArray[np.float32]  # [N, C]
    clouds: tuple[int, ...] = ()  # as in the scene


@dataclass(frozen=True, eq=False)
class LatentTargets:
    """The latent targets of a batch (Eq. 7): a coarse map per image, and the pixel of each pair in it.

    The maps take about a tenth of the memory of their values at the pairs, which are sampled on the device.
    """

    maps: tuple[Tensor, ...]  # [D, h, w] float16 of each image, or none at all without a latent target
    pairs: tuple[int, ...]  # number of pairs of each image; pairs are sorted by image
    row: Tensor  # [P] integer pixel before augmentation
    column: Tensor  # [P]
    size: tuple[int, int]  # H, W of the image before augmentation

    def __len__(self) -> int:
        """Return the number of pairs with a target."""
        return sum(self.pairs) if self.maps else 0

    def at_pairs(self) -> Tensor:  # [P, D] float32, or [0, 1] without a latent target
        """Sample each map bilinearly at the centres of its pairs' pixels."""
        if not self.maps:
            return torch.zeros(0, 1, device=self.row.device)
        places = zip(self.maps, self.row.split(self.pairs), self.column.split(self.pairs))
        return torch.cat([sample_at_pixels(each, row, column, self.size) for each, row, column in places])


@dataclass(frozen=True, eq=False)
class Batch:
    """Several samples as tensors on the device; image and mask indices are unique over the batch."""

    images: Tensor  # [B, 3, H, W] float in 0..1
    labels: Tensor  # [B, H, W] int64
    mask_ids: Tensor  # [B, H, W] int64
    image_scene: Tensor  # [B] int64 sample that each image belongs to
    voxels: Voxels
    pairs: PairedPixels
    pair_voxel: Tensor  # [P] int64
    pair_scene: Tensor  # [P] int64
    targets: LatentTargets


@dataclass(frozen=True, eq=False)
class PackedBatch:
    """A batch as processes exchange it and as it is copied to the device: the smallest types, nothing derived."""

    images: Tensor  # [B, H, W, 3] uint8
    labels: Tensor  # [B, H, W] uint8
    mask_ids: Tensor  # [B, H, W] uint8, int16 or int32, ids of each image from 1
    points: Tensor  # [N, 3] float32
    features: Tensor  # [N, C] uint8 or float32, see `stored_features`
    pair_point: Tensor  # [P] int32 index into `points`
    pair_row: Tensor  # [P] int16
    pair_column: Tensor  # [P] int16
    source_row: Tensor  # [P] int16
    source_column: Tensor  # [P] int16
    maps: Tensor  # [M] float16, the latent targets' maps one after the other
    map_shapes: tuple[tuple[int, ...], ...]  # (D, h, w) of each image, or none
    images_of: tuple[int, ...]  # number of images of each sample
    points_of: tuple[int, ...]  # number of points of each cloud: of each sample, or of each of its sweeps
    pairs_of: tuple[int, ...]  # number of pairs of each image
    voxel_m: float

    def nbytes(self) -> int:
        """Return the bytes that are copied to the device."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, Tensor))

    def pin_memory(self) -> PackedBatch:
        """Return the batch in pinned memory, from which the device copies while the CPU goes on."""
        return self._each(Tensor.pin_memory)

    def to(self, device: torch.device) -> Batch:
        """Copy the batch to a device and unpack it there: wide types, joint mask ids, voxels, indices of the pairs."""
        return self._each(lambda value: value.to(device, non_blocking=True))._unpacked()

    def _each(self, change: Callable[[Tensor], Tensor]) -> PackedBatch:
        tensors: dict[str, Any] = {
            name: change(value) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)

    def _unpacked(self) -> Batch:
        image_scene, pair_image = self._owners(self.images_of), self._owners(self.pairs_of)
        features = unpacked_features(self.features)
        voxels = voxelise(self.points, self.voxel_m, self._owners(self.points_of), features)
        images = self.images.permute(0, 3, 1, 2).float().div_(255.0)
        sizes = [math.prod(shape) for shape in self.map_shapes]
        maps = (flat.view(shape) for flat, shape in zip(self.maps.split(sizes), self.map_shapes))
        height, width = self.labels.shape[1:]
        return Batch(
            images=images.contiguous(memory_format=torch.channels_last),
            labels=self.labels.long(),
            mask_ids=joint_mask_ids(self.mask_ids),
            image_scene=image_scene,
            voxels=voxels,
            pairs=PairedPixels(pair_image, self.pair_row.long(), self.pair_column.long()),
            pair_voxel=voxels.inverse.index_select(0, self.pair_point),
            pair_scene=image_scene[pair_image],
            targets=LatentTargets(tuple(maps), self.pairs_of, self.source_row, self.source_column, (height, width)),
        )

    def _owners(self, counts: tuple[int, ...]) -> Tensor:  # [sum(counts)] int64
        """Return for each element the position of the group, of `counts` elements each, that it belongs to."""
        sizes = torch.tensor(counts, device=self.images.device)
        return torch.repeat_interleave(sizes, output_size=sum(counts))


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
    views = tuple(draw_view(scene.frames[index], augment, random) for index in chosen)
    return Sample(views, move_points(scene.points, augment, random, scene.mean), scene.features, scene.clouds)


def draw_view(frame: LabelledFrame, augment: AugmentConfig, random: np.random.Generator) -> View:
    """Return a random crop of a frame."""
    size = (frame.image.shape[0], frame.image.shape[1])
    crop = draw_crop(augment, size, random)
    inside = crop.holds(frame.pair_row, frame.pair_column)
    rows, columns = frame.pair_row[inside], frame.pair_column[inside]
    new_rows, new_columns = crop.pixels(rows, columns, size)
    return View(
        image=crop.image(frame.image),
        labels=crop.map(frame.labels),
        mask_ids=crop.map(frame.mask_ids),
        pair_point=frame.pair_point[inside],
        pair_row=new_rows,
        pair_column=new_columns,
        source_row=rows,
        source_column=columns,
        target=frame.target,
    )


def pack(samples: Sequence[Sample], voxel_m: float) -> PackedBatch:
    """Return the packed batch of several samples; `voxel_m` is the edge of a voxel in metres.

    Raises a `ValueError` if some frames have a latent target and others have none.
    """
    views = [view for sample in samples for view in sample.views]
    points = [len(sample.points) for sample in samples]
    # A pair's point is counted in its scene; in the batch the points of earlier scenes come first.
    first = np.repeat(np.cumsum([0, *points[:-1]]), [len(sample.views) for sample in samples])
    targets = [view.target for view in views if view.target is not None]
    if len(targets) not in (0, len(views)):
        raise ValueError(f"{len(targets)} of {len(views)} frames have a latent target: give one to all, or to none.")
    mask_ids = np.stack([view.mask_ids for view in views])
    smallest = next(kind for kind in (np.uint8, np.int16, np.int32) if mask_ids.max() <= np.iinfo(kind).max)
    return PackedBatch(
        images=torch.from_numpy(np.stack([view.image for view in views])),
        labels=torch.from_numpy(np.stack([view.labels for view in views])),
        mask_ids=torch.from_numpy(mask_ids.astype(smallest)),
        points=_joined((sample.points for sample in samples), np.float32),
        features=torch.from_numpy(np.concatenate([sample.features for sample in samples])),
        pair_point=_joined((view.pair_point + start for view, start in zip(views, first)), np.int32),
        pair_row=_joined((view.pair_row for view in views), np.int16),
        pair_column=_joined((view.pair_column for view in views), np.int16),
        source_row=_joined((view.source_row for view in views), np.int16),
        source_column=_joined((view.source_column for view in views), np.int16),
        maps=_joined([np.zeros(0), *(target.ravel() for target in targets)], np.float16),
        map_shapes=tuple(target.shape for target in targets),
        images_of=tuple(len(sample.views) for sample in samples),
        points_of=tuple(size for sample in samples for size in sample.clouds or (len(sample.points),)),
        pairs_of=tuple(len(view.pair_point) for view in views),
        voxel_m=voxel_m,
    )


def _joined(parts: Iterable[NDArray[Any]], dtype: type[np.generic]) -> Tensor:
    return torch.from_numpy(np.concatenate(list(parts), dtype=dtype, casting="unsafe"))
