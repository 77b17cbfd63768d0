"""Drawn labels have the distribution and the weight of their rows."""

from __future__ import annotations

import numpy as np
import torch

from helpers.noisy_teachers import noisy_teachers, small_room
from labelfree.config.consensus import ConsensusConfig
from labelfree.config.training import AugmentConfig, SwitchConfig, TrainConfig, TrainingPlan
from labelfree.labelling.consensus import fit_consensus
from labelfree.labelling.scene_evidence import scene_evidence
from labelfree.method.prediction_consistency import prediction_consistency
from labelfree.training.labelled_scenes import LabelledScenes
from labelfree.training.soft_scenes import SoftScenes, build_soft_batch, draw_rows

TABLE = np.array([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5]], np.float32)
WEIGHT = np.array([0.5, 1.0], np.float32)


def test_draws_follow_the_table() -> None:
    rows = np.repeat(np.array([0, 1, -1], np.int32), 20_000).reshape(3, -1)
    drawn = draw_rows(rows, TABLE.cumsum(axis=1), WEIGHT, np.random.default_rng(0))
    assert (drawn[2] == 255).all()
    assert abs((drawn[0] == 255).mean() - 0.5) < 0.02
    shares = [np.bincount(each[each != 255], minlength=3) / (each != 255).sum() for each in drawn[:2]]
    np.testing.assert_allclose(shares, TABLE, atol=0.02)


def test_the_expected_loss_is_the_weighted_cross_entropy_against_the_table() -> None:
    logits, rows = (
        torch.tensor([[1.0, -1.0, 0.5], [0.2, 0.1, -0.3]]),
        np.repeat(np.array([[0, 1]], np.int32), 20_000, 0),
    )
    drawn = torch.from_numpy(draw_rows(rows, TABLE.cumsum(axis=1), WEIGHT, np.random.default_rng(1)).astype(np.int64))
    one = torch.tensor(1.0)
    total = prediction_consistency(logits.repeat(20_000, 1), drawn.flatten(), one) / 20_000
    exact = -(torch.from_numpy(TABLE * WEIGHT[:, None]) * logits.log_softmax(dim=1)).sum()
    assert abs(float(total - exact)) < 0.02


def test_batches_hold_labels_drawn_anew_in_each_epoch() -> None:
    scene, teachers, config = small_room(), noisy_teachers(), ConsensusConfig(rounds=1)
    namer, named = fit_consensus([scene_evidence(scene, teachers, config)], config)
    scenes = SoftScenes(LabelledScenes([scene], teachers), namer, {"room": named[0]})
    still = AugmentConfig((1.0, 1.0), (1.0, 1.0), False, False, False)
    plan = TrainingPlan(3, TrainConfig(images_per_scene=4), SwitchConfig(), still)
    first, again, later = (build_soft_batch(scenes, plan, 0.2, epoch, [0]) for epoch in (0, 0, 1))
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.labels, later.labels)
    truth = np.stack([frame.load_labels() for frame in scene.frames])  # type: ignore[misc]
    labels = first.labels.numpy()
    known = labels != 255
    assert 0.2 < known.mean() < 0.9
    assert (labels[known] == truth[known]).mean() > 0.7
    soft = scenes[0]
    np.testing.assert_allclose(soft.cumulative[:, -1], 1.0, atol=1e-4)
    assert soft.nbytes() > soft.labelled.nbytes()
