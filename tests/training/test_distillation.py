"""OpenScene's training on toy scenes: it learns, resumes exactly, and runs in two processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from helpers.process_group import ProcessGroup
from helpers.toy_training import (
    STILL,
    assert_processes_agree,
    assert_resumed,
    cpu,
    gradients,
    killed_at,
    lines,
    toy_networks,
    toy_plan,
    toy_scene,
    weights,
)
from labelfree import InputError
from labelfree.method.openscene import feature_distillation
from labelfree.nets.segmenters import Segmenter3D
from labelfree.training import distillation as distil_module
from labelfree.training.checkpoint import Position
from labelfree.training.distillation import Distilled, build_fused_batch, distil, distillation_step
from labelfree.training.fit import optimiser_of
from labelfree.training.fused_scenes import FusedScene, collate_fused
from labelfree.training.samples import scene_random


def fused_scene(seed: int) -> FusedScene:
    scene, random = toy_scene(seed), np.random.default_rng(seed)
    seen = np.sort(random.permutation(120)[:70])
    # the feature of a point follows its colour, which the network sees: there is something to learn
    fused = np.concatenate([scene.features[seen], random.normal(0, 0.1, (70, 5))], axis=1).astype(np.float16)
    return FusedScene(scene.name, scene.points, np.asarray(scene.features, np.float32), seen, fused)


SCENES = [fused_scene(i) for i in range(5)]


def network(seed: int = 0) -> Segmenter3D:
    return toy_networks(seed).net_3d


def test_it_learns(tmp_path: Path) -> None:
    distil(cpu(), network(), SCENES, toy_plan(epochs=8), tmp_path)
    losses = [line["distillation_3d"] for line in lines(tmp_path)]
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.1
    assert len(losses) == 24


def test_the_batch_is_the_scenes_moved_as_in_co_training() -> None:
    plan = toy_plan()
    batch = build_fused_batch(SCENES, plan, 0.2, 3, [4, 1])
    assert float(batch.seen) == 140
    still = collate_fused([SCENES[4], SCENES[1]], STILL, [scene_random(0, 0, 0)] * 2, 0.2)
    fused = torch.from_numpy(np.concatenate([SCENES[4].fused, SCENES[1].fused]))
    index = torch.from_numpy(np.concatenate([SCENES[4].seen, SCENES[1].seen + 120]))
    features = torch.randn(len(still.voxels), 8)
    at_points = features[still.voxels.inverse[index]]
    expected = (1 - torch.cosine_similarity(at_points, fused.float(), dim=1)).mean()
    torch.testing.assert_close(feature_distillation(features, still.directions, still.seen), expected)


def test_interrupted_equals_undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = network()
    distil(cpu(), expected, SCENES, toy_plan(epochs=2), tmp_path / "whole")
    with killed_at(monkeypatch, distil_module, "distillation_step", 4):
        distil(cpu(), network(), SCENES, toy_plan(epochs=2), tmp_path / "cut")
    resumed = network(seed=99)
    distil(cpu(), resumed, SCENES, toy_plan(epochs=2), tmp_path / "cut")
    assert_resumed(expected, resumed, tmp_path / "whole", tmp_path / "cut")


def test_the_checkpoint_of_another_kind_of_training_is_refused(tmp_path: Path) -> None:
    from labelfree.training.cotraining import train

    train(cpu(), toy_networks(), [toy_scene(i) for i in range(5)], toy_plan(epochs=1), tmp_path)
    with pytest.raises(InputError, match="other settings"):
        distil(cpu(), network(), SCENES, toy_plan(epochs=1), tmp_path)


def one_step(fabric: Fabric) -> dict[str, torch.Tensor]:
    net, plan = network(), toy_plan()
    net.varphi_f.requires_grad_(False)
    networks = Distilled(net)
    model, wrapped = fabric.setup(networks, optimiser_of([(networks.net_3d, 1e-9)], plan.train))
    model.eval()
    plan = replace(plan, augment=STILL)
    chosen = list(range(4))[fabric.global_rank :: fabric.world_size]
    batch = build_fused_batch(SCENES, plan, 0.2, 0, chosen)
    distillation_step(fabric, model, wrapped, batch, plan, Position())
    return gradients(networks)


def test_two_processes_have_the_gradients_of_one(process_group: ProcessGroup) -> None:
    assert_processes_agree(process_group.run(one_step), one_step(cpu()))


def distilled(fabric: Fabric, scenes: list[FusedScene], folder: Path) -> dict[str, torch.Tensor]:
    net, plan = network(), toy_plan(epochs=2)
    distil(fabric, net, scenes, replace(plan, train=replace(plan.train, average_decay=0.0)), folder)
    return weights(net)


def test_two_processes_train_as_one_also_where_one_sees_no_point(process_group: ProcessGroup, tmp_path: Path) -> None:
    unseen = replace(SCENES[1], seen=SCENES[1].seen[:0], fused=SCENES[1].fused[:0])
    scenes = [SCENES[0], unseen]  # each process has one of them
    expected = distilled(cpu(), scenes, tmp_path / "one")
    first, second = process_group.run(distilled, scenes, tmp_path / "two")
    for name, value in expected.items():
        assert torch.equal(first[name], second[name]), name
        assert torch.allclose(first[name], value, atol=1e-4, rtol=1e-3), name
    one, two = ([line["distillation_3d"] for line in lines(tmp_path / part)] for part in ("one", "two"))
    assert np.allclose(one, two, atol=1e-4)
