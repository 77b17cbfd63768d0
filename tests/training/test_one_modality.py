"""Training one network alone: the other one costs nothing, changes nothing, and its sources are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from helpers import toy_training as toy
from helpers.process_group import ProcessGroup
from labelfree import InputError
from labelfree.config.training import MODALITIES, Modality, SwitchConfig, TrainConfig, TrainingPlan
from labelfree.files.metrics import METRICS
from labelfree.method.sources import Source
from labelfree.training import cotraining as loop
from labelfree.training.checkpoint import Position
from labelfree.training.cotraining import new_optimiser, train
from labelfree.weights.stored import CHECKPOINT

OWN: dict[Modality, tuple[Source, ...]] = {"2d": ("clip_2d", "net_2d"), "3d": ("clip_3d", "net_3d")}


def plan_of(modality: Modality, epochs: int = 2, start_epoch: int = 1) -> TrainingPlan:
    plan = toy.toy_plan(epochs)
    train_config = replace(plan.train, modalities=(modality,))
    return replace(plan, train=train_config, switch=SwitchConfig(start_epoch, OWN["2d"], OWN["3d"]))


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_other_network_is_not_touched_and_not_logged(modality: Modality, tmp_path: Path) -> None:
    other: Modality = "3d" if modality == "2d" else "2d"
    networks, start = toy.toy_networks(), toy.weights(toy.toy_networks())
    networks.network(other).register_forward_hook(lambda *_: pytest.fail("the other network ran"))
    train(toy.cpu(), networks, toy.SCENES, plan_of(modality), tmp_path)
    end = toy.weights(networks)
    assert all(torch.equal(start[name], end[name]) for name in start if name.startswith(f"net_{other}"))
    assert not all(torch.equal(start[name], end[name]) for name in start if name.startswith(f"net_{modality}"))
    assert all(set(line) & {f"ce_{other}", f"latent_{other}"} == set() for line in toy.lines(tmp_path))
    assert all(line[f"latent_{modality}"] > 0 for line in toy.lines(tmp_path))


@pytest.mark.parametrize("modality", MODALITIES)
def test_interrupted_equals_undisturbed(modality: Modality, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = toy.toy_networks()
    train(toy.cpu(), expected, toy.SCENES, plan_of(modality), tmp_path / "whole")
    with toy.killed_at(monkeypatch, loop, "training_step", 3):
        train(toy.cpu(), toy.toy_networks(), toy.SCENES, plan_of(modality), tmp_path / "cut")
    assert (tmp_path / "cut" / CHECKPOINT).is_file()
    resumed = toy.toy_networks(seed=99)
    train(toy.cpu(), resumed, toy.SCENES, plan_of(modality), tmp_path / "cut")
    toy.assert_resumed(expected, resumed, tmp_path / "whole", tmp_path / "cut")


@pytest.mark.usefixtures("one_thread")
def test_stage_one_alone_equals_the_same_network_of_a_pair(tmp_path: Path) -> None:
    """Without a switch the networks do not depend on each other (dropout aside, which the 3D network has none of)."""
    together, alone = toy.toy_networks(), toy.toy_networks()
    train(toy.cpu(), together, toy.SCENES, toy.toy_plan(epochs=1, start_epoch=9), tmp_path / "both")
    train(toy.cpu(), alone, toy.SCENES, plan_of("3d", epochs=1, start_epoch=9), tmp_path / "one")
    pair, single = toy.weights(together.net_3d), toy.weights(alone.net_3d)
    assert all(torch.equal(value, single[name]) for name, value in pair.items())


def one_step(fabric: Fabric, modality: Modality) -> dict[str, torch.Tensor]:
    networks, plan = toy.toy_networks(), plan_of(modality, start_epoch=0)
    networks.freeze_all_but((modality,))
    model, wrapped = fabric.setup(networks, new_optimiser(networks, replace(plan.train, learning_rate=1e-9)))
    model.eval()
    batch = toy.still_batch(fabric.global_rank, fabric.world_size)
    loop.training_step(fabric, model, wrapped, batch, plan, Position())
    return toy.gradients(networks)


@pytest.mark.parametrize("modality", MODALITIES)
def test_two_processes_have_the_gradients_of_one(process_group: ProcessGroup, modality: Modality) -> None:
    single = one_step(toy.cpu(), modality)
    assert all(name.startswith(f"net_{modality}") for name in single)
    toy.assert_processes_agree(process_group.run(one_step, modality), single)


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_source_that_is_not_trained_is_refused(modality: Modality) -> None:
    other = "3d" if modality == "2d" else "2d"
    message = rf"take net_{other} out of switch\.pool_{modality}, or add '{other}' to train\.modalities"
    with pytest.raises(InputError, match=message):
        TrainingPlan(train=TrainConfig(modalities=(modality,)))
    pools = {f"pool_{modality}": OWN[modality]}  # the other pool is not drawn from and may stay as it is
    TrainingPlan(train=TrainConfig(modalities=(modality,)), switch=SwitchConfig(**pools))  # type: ignore[arg-type]


@pytest.mark.parametrize("modalities", [(), ("2d", "2d"), ("4d",), ("3d", "4d")])
def test_bad_modalities(modalities: tuple[Modality, ...]) -> None:
    with pytest.raises(InputError, match=r"train\.modalities is .*: give \['2d', '3d'\], \['2d'\] or \['3d'\]"):
        TrainConfig(modalities=modalities)


@pytest.mark.parametrize(
    ("images", "factor", "drawn"), [(16, 1.0, 16), (16, 0.5, 8), (3, 0.5, 2), (3, 2.0, 6), (1, 0.2, 1)]
)
def test_the_factor_scales_the_images(images: int, factor: float, drawn: int) -> None:
    assert TrainConfig(images_per_scene=images, images_factor=factor).images() == drawn


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_factors(factor: float) -> None:
    with pytest.raises(InputError, match=r"train\.images_factor is"):
        TrainConfig(images_factor=factor)


def test_the_factor_reaches_the_batch() -> None:
    plan = toy.toy_plan()
    plan = replace(plan, train=replace(plan.train, images_factor=0.5))
    assert len(loop.build_batch(toy.SCENES, plan, 0.2, 0, [0, 1]).images) == 2


def test_records_are_json(tmp_path: Path) -> None:
    train(toy.cpu(), toy.toy_networks(), toy.SCENES, plan_of("2d", epochs=1), tmp_path)
    assert [json.loads(text)["step"] for text in (tmp_path / METRICS).read_text().splitlines()] == [0, 1, 2]
