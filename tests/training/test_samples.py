from __future__ import annotations

import numpy as np
import torch

from helpers.toy_training import SIZE, STILL, toy_scene
from labelfree.config.training import AugmentConfig
from labelfree.training.samples import collate, draw_sample, scene_random


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
    index = torch.cat([torch.from_numpy(samples[0].pair_point), torch.from_numpy(samples[1].pair_point) + 120])
    cells = torch.floor(points[index] / 0.2).int()
    assert torch.equal(batch.voxels.coords[batch.pair_voxel, 1:], cells)


def test_masks_of_different_images_have_different_ids() -> None:
    batch = collate([draw_sample(toy_scene(0), 2, STILL, scene_random(0, 0, 0))], 0.2)
    first, second = (set(batch.mask_ids[i].unique().tolist()) - {0} for i in (0, 1))
    assert not first & second


def test_targets_are_the_map_at_the_pixel() -> None:
    scene = toy_scene(0, frames=1)
    sample = draw_sample(scene, 1, STILL, scene_random(0, 0, 0))
    frame = scene.frames[0]
    assert frame.target is not None
    for pair in range(5):
        # bilinear by hand: cell centres at (i + 0.5) * cell size
        y = (frame.pair_row[pair] + 0.5) * 4 / SIZE[0] - 0.5
        x = (frame.pair_column[pair] + 0.5) * 6 / SIZE[1] - 0.5
        y, x = np.clip(y, 0, 3), np.clip(x, 0, 5)
        top, left = min(int(y), 2), min(int(x), 4)
        corners = frame.target[:, top : top + 2, left : left + 2].astype(np.float32)
        by, bx = y - top, x - left
        expected = corners @ np.array([1 - bx, bx], np.float32) @ np.array([1 - by, by], np.float32)
        assert np.allclose(sample.targets[pair], expected, atol=2e-3)


def test_same_seed_same_sample_whatever_else_was_drawn() -> None:
    scene = toy_scene(2, frames=4)
    first = draw_sample(scene, 2, AugmentConfig(), scene_random(1, 2, 3))
    draw_sample(scene, 2, AugmentConfig(), scene_random(1, 2, 4))
    again = draw_sample(scene, 2, AugmentConfig(), scene_random(1, 2, 3))
    assert all((getattr(first, name) == getattr(again, name)).all() for name in ("images", "labels", "points"))


def test_no_pairs_and_no_target() -> None:
    scene = toy_scene(0, latent=False)
    sample = draw_sample(scene, 2, STILL, scene_random(0, 0, 0))
    assert collate([sample], 0.2).targets.shape[0] == 0
