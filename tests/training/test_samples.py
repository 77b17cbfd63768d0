from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from helpers.toy_training import SIZE, STILL, collate, toy_scene
from labelfree.config.training import AugmentConfig
from labelfree.training.samples import LabelledFrame, draw_sample, draw_view, pack, scene_random


def test_batch_indices_point_into_the_joint_batch() -> None:
    scenes = [toy_scene(0), toy_scene(1, frames=3)]
    samples = [draw_sample(scene, 8, STILL, scene_random(0, 0, i)) for i, scene in enumerate(scenes)]
    batch = collate(samples, voxel_m=0.2)
    assert batch.images.shape == (5, 3, *SIZE)
    assert batch.image_scene.tolist() == [0, 0, 1, 1, 1]
    assert (batch.image_scene[batch.pairs.image] == batch.pair_scene).all()
    # each pair's voxel lies in the pair's own scene and holds the pair's own point
    assert (batch.voxels.coords[batch.pair_voxel, 0] == batch.pair_scene).all()
    points = torch.from_numpy(np.concatenate([sample.points for sample in samples]))
    own = [[view.pair_point for view in sample.views] for sample in samples]
    index = torch.from_numpy(np.concatenate([*own[0], *(point + 120 for point in own[1])]))
    cells = torch.floor(points[index] / 0.2).int()
    assert torch.equal(batch.voxels.coords[batch.pair_voxel, 1:], cells)


def test_masks_of_different_images_have_different_ids() -> None:
    batch = collate([draw_sample(toy_scene(0), 2, STILL, scene_random(0, 0, 0))], 0.2)
    first, second = (set(batch.mask_ids[i].unique().tolist()) - {0} for i in (0, 1))
    assert not first & second


def test_targets_are_the_map_at_the_pixel_before_augmentation() -> None:
    """Frames may have maps of different shapes; each is sampled at the pair's pixel of the whole frame."""
    shapes = [(4, 4, 6), (4, 3, 8), (4, 1, 1)]
    scene = toy_scene(0, frames=3)
    random = np.random.default_rng(0)
    maps = [random.normal(size=shape).astype(np.float16) for shape in shapes]
    scene = replace(scene, frames=tuple(replace(f, target=m) for f, m in zip(scene.frames, maps)))
    sample = draw_sample(scene, 3, AugmentConfig(), scene_random(0, 0, 0))
    targets = collate([sample], 0.2).targets
    found = targets.at_pairs()
    assert len(found) == len(targets) == sum(len(view.pair_point) for view in sample.views) > 30
    expected = [
        by_hand(values, row, column)
        for values, view in zip(maps, sample.views)
        for row, column in zip(view.source_row.tolist(), view.source_column.tolist())
    ]
    assert np.allclose(found, expected, atol=2e-3)


def by_hand(values: NDArray[np.float16], row: int, column: int) -> NDArray[np.float32]:
    """Sample a map bilinearly: cell centres at (i + 0.5) * cell size, clamped at the border."""
    _, height, width = values.shape
    y = min(max((row + 0.5) * height / SIZE[0] - 0.5, 0), height - 1)
    x = min(max((column + 0.5) * width / SIZE[1] - 0.5, 0), width - 1)
    top, left = int(y), int(x)
    below, right = min(top + 1, height - 1), min(left + 1, width - 1)
    by, bx = y - top, x - left
    upper = values[:, top, left] * (1 - bx) + values[:, top, right] * bx
    lower = values[:, below, left] * (1 - bx) + values[:, below, right] * bx
    return np.asarray(upper * (1 - by) + lower * by, np.float32)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_view_shows_each_pair_at_its_pixel(seed: int) -> None:
    frame = toy_scene(seed, frames=1).frames[0]
    numbers = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE)
    view = draw_view(replace(frame, mask_ids=numbers), AugmentConfig(), np.random.default_rng(seed))
    assert 0 < len(view.pair_point) < len(frame.pair_point)
    where = {point: (row, column) for point, row, column in zip(*paired(frame))}
    for point, row, column in zip(view.pair_point, view.source_row, view.source_column):
        assert where[point] == (row, column)
    shown = view.mask_ids[view.pair_row, view.pair_column].astype(int)
    assert np.abs(shown // SIZE[1] - view.source_row).max() <= 1
    assert np.abs(shown % SIZE[1] - view.source_column).max() <= 1


def paired(frame: LabelledFrame) -> tuple[list[int], list[int], list[int]]:
    return frame.pair_point.tolist(), frame.pair_row.tolist(), frame.pair_column.tolist()


def test_a_packed_batch_holds_the_smallest_types() -> None:
    scenes = [replace(toy_scene(i), features=np.full((120, 3), i, np.uint8)) for i in range(2)]
    samples = [draw_sample(scene, 2, AugmentConfig(), scene_random(0, 0, i)) for i, scene in enumerate(scenes)]
    packed = pack(samples, 0.2)
    bytes_of_pair = sum(getattr(packed, name).element_size() for name in ("pair_point", "pair_row", "pair_column"))
    assert bytes_of_pair == 8
    pixels = 4 * SIZE[0] * SIZE[1]
    assert (packed.images.nbytes, packed.labels.nbytes, packed.mask_ids.nbytes) == (3 * pixels, pixels, pixels)
    assert packed.features.dtype == torch.uint8
    assert packed.maps.nbytes == 4 * 4 * 4 * 6 * 2
    batch = packed.to(torch.device("cpu"))
    assert (batch.voxels.features[batch.voxels.coords[:, 0] == 0] == -1.0).all()
    expected = np.stack([view.image for sample in samples for view in sample.views]).transpose(0, 3, 1, 2) / 255
    assert np.allclose(batch.images, expected, atol=1e-6)


@pytest.mark.parametrize(("largest", "size"), [(255, 1), (256, 2), (32_767, 2), (32_768, 4), (65_535, 4)])
def test_mask_ids_take_the_bytes_they_need(largest: int, size: int) -> None:
    scene = toy_scene(0, frames=1)
    ids = scene.frames[0].mask_ids.copy()
    ids[:2] = largest
    scene = replace(scene, frames=(replace(scene.frames[0], mask_ids=ids),))
    packed = pack([draw_sample(scene, 1, STILL, scene_random(0, 0, 0))], 0.2)
    assert packed.mask_ids.element_size() == size
    assert (packed.to(torch.device("cpu")).mask_ids[0].numpy() == ids).all()


def test_same_seed_same_sample_whatever_else_was_drawn() -> None:
    scene = toy_scene(2, frames=4)
    first = draw_sample(scene, 2, AugmentConfig(), scene_random(1, 2, 3))
    draw_sample(scene, 2, AugmentConfig(), scene_random(1, 2, 4))
    again = draw_sample(scene, 2, AugmentConfig(), scene_random(1, 2, 3))
    assert (first.points == again.points).all()
    for view, other in zip(first.views, again.views, strict=True):
        assert all((getattr(view, name) == getattr(other, name)).all() for name in ("image", "labels", "pair_row"))


def test_all_frames_have_a_target_or_none_has() -> None:
    scene = toy_scene(0)
    mixed = replace(scene, frames=(scene.frames[0], replace(scene.frames[1], target=None)))
    with pytest.raises(ValueError, match="1 of 2 frames have a latent target"):
        pack([draw_sample(mixed, 2, STILL, scene_random(0, 0, 0))], 0.2)


def test_a_view_may_have_no_pairs() -> None:
    scene = toy_scene(0)
    lonely: dict[str, Any] = {name: np.zeros(0, np.int32) for name in ("pair_point", "pair_row", "pair_column")}
    scene = replace(scene, frames=(replace(scene.frames[0], **lonely), scene.frames[1]))
    batch = collate([draw_sample(scene, 2, STILL, scene_random(0, 0, 0))], 0.2)
    assert batch.targets.at_pairs().shape == (60, 4)
    assert batch.pairs.image.tolist() == [1] * 60


def test_no_pairs_and_no_target() -> None:
    scene = toy_scene(0, latent=False)
    sample = draw_sample(scene, 2, STILL, scene_random(0, 0, 0))
    targets = collate([sample], 0.2).targets
    assert len(targets) == len(targets.at_pairs()) == 0
