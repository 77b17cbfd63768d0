"""Corrections as fixed labels of training: on pixels, on pairs, in every stage, and in the identity of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.toy_training import CLASSES, STILL, collate, toy_scene
from labelfree.config.training import AugmentConfig, Modality, SwitchConfig
from labelfree.method.openscene import FusedFeatures
from labelfree.training.fused_scenes import corrected_features
from labelfree.training.labelled_scenes import with_corrections
from labelfree.training.samples import Batch, LabelledScene, draw_sample, scene_random
from labelfree.training.step import step_labels

FIXED = np.full(120, 255, np.uint8)
FIXED[::3] = 1


def corrected(scene: LabelledScene) -> LabelledScene:
    return replace(scene, frames=tuple(with_corrections(frame, FIXED) for frame in scene.frames))


def batch_of(*scenes: LabelledScene, augment: AugmentConfig = STILL) -> Batch:
    return collate([draw_sample(scene, 2, augment, scene_random(0, 0, i)) for i, scene in enumerate(scenes)], 0.2)


def logits_of(batch: Batch) -> dict[Modality, torch.Tensor]:
    images, height, width = batch.labels.shape
    generator = torch.Generator().manual_seed(0)
    return {
        "2d": torch.randn(images, CLASSES, height, width, generator=generator),
        "3d": torch.randn(len(batch.pair_voxel), CLASSES, generator=generator),
    }


def test_pixels_that_see_corrected_points_have_their_labels() -> None:
    before = toy_scene(0)
    for old, new in zip(before.frames, corrected(before).frames):
        expected, where = old.labels.copy(), np.zeros(old.labels.shape, np.bool_)
        for point, row, column in zip(old.pair_point, old.pair_row, old.pair_column):
            if FIXED[point] != 255:
                expected[row, column], where[row, column] = FIXED[point], True
        assert new.fixed is not None
        assert np.array_equal(new.labels, expected)
        assert np.array_equal(new.fixed, where)
        assert 0 < where.sum() < where.size


def test_points_of_earlier_sweeps_have_no_corrections() -> None:
    frame = toy_scene(0).frames[0]
    found = with_corrections(frame, FIXED[:30])
    assert found.fixed is not None
    seen = {(int(r), int(c)) for p, r, c in zip(frame.pair_point, frame.pair_row, frame.pair_column) if p < 30}
    assert set(map(tuple, np.argwhere(found.fixed).tolist())) <= seen


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("augment", [STILL, AugmentConfig()])
def test_corrections_hold_in_every_stage_and_from_every_source(stage: int, augment: AugmentConfig) -> None:
    batch = batch_of(corrected(toy_scene(0)), toy_scene(1), augment=augment)
    assert batch.fixed is not None
    assert batch.fixed[:2].any()
    assert not batch.fixed[2:].any()
    for source in ("net_2d", "net_3d"):
        switch = SwitchConfig(0, (source,), (source,))
        labels = step_labels(batch, logits_of(batch), stage, switch, torch.Generator())
        assert (labels["2d"][batch.fixed] == 1).all()
        pairs = batch.pairs.gather(batch.fixed)
        assert pairs.any()
        assert (labels["3d"][pairs] == 1).all()
    free = replace(batch, fixed=None)
    plain = step_labels(free, logits_of(batch), stage, switch, torch.Generator())
    assert torch.equal(plain["2d"][~batch.fixed], labels["2d"][~batch.fixed])
    assert torch.equal(plain["3d"][~pairs], labels["3d"][~pairs])


def test_without_corrections_nothing_is_carried() -> None:
    batch = batch_of(toy_scene(0), toy_scene(1))
    assert batch.fixed is None


def test_openscene_distils_the_text_of_corrected_classes() -> None:
    features = torch.arange(6.0).view(3, 2)
    fused = FusedFeatures(torch.tensor([0, 2, 3]), features)
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = corrected_features(fused, torch.tensor([255, 1, 0, 255, 255], dtype=torch.uint8), text)
    assert found.point.tolist() == [0, 1, 2, 3]
    assert found.features.tolist() == [[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [4.0, 5.0]]
