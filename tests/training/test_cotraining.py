from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from helpers.process_group import ProcessGroup
from helpers.toy_training import (
    SCENES,
    assert_processes_agree,
    cpu,
    gradients,
    killed_at,
    lines,
    still_batch,
    toy_networks,
    toy_plan,
    weights,
)
from labelfree import InputError
from labelfree.config.training import TrainConfig
from labelfree.training import cotraining as loop
from labelfree.training.checkpoint import Position
from labelfree.training.cotraining import new_optimiser, train
from labelfree.training.schedule import rate_factor, steps_per_epoch
from labelfree.weights.stored import CHECKPOINT


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    networks = toy_networks()
    train(cpu(), networks, SCENES, toy_plan(epochs=2), folder)
    return weights(networks), lines(folder)


@pytest.mark.parametrize("at_step", [0, 1, 4])
def test_interrupted_equals_undisturbed_bit_for_bit(
    at_step: int,
    undisturbed: tuple[dict[str, torch.Tensor], list[dict[str, float]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with killed_at(monkeypatch, loop, "training_step", at_step):
        train(cpu(), toy_networks(), SCENES, toy_plan(epochs=2), tmp_path)
    resumed = toy_networks(seed=99)  # whatever it starts from is overwritten by the checkpoint, if there is one
    if not (tmp_path / CHECKPOINT).exists():
        resumed = toy_networks()
    train(cpu(), resumed, SCENES, toy_plan(epochs=2), tmp_path)
    (expected, metrics), found = undisturbed, weights(resumed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert lines(tmp_path) == metrics


def test_metrics_show_both_stages(tmp_path: Path, two_threads: None) -> None:
    train(cpu(), toy_networks(), SCENES, toy_plan(epochs=2, start_epoch=1), tmp_path)
    records = lines(tmp_path)
    assert [record["stage"] for record in records] == [1] * 3 + [2] * 3
    assert len(records) == 2 * steps_per_epoch(5, toy_plan().train)
    assert all(torch.isfinite(torch.tensor(record["ce_2d"] + record["ce_3d"])) for record in records)


def test_other_settings_do_not_take_up_the_checkpoint(tmp_path: Path) -> None:
    train(cpu(), toy_networks(), SCENES, toy_plan(epochs=1), tmp_path)
    with pytest.raises(InputError, match="other settings"):
        train(cpu(), toy_networks(), SCENES, toy_plan(epochs=1, seed=6), tmp_path)


def test_broken_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"checkpoint\.pt: not a readable checkpoint"):
        train(cpu(), toy_networks(), SCENES, toy_plan(epochs=1), tmp_path)


def test_cosine_per_epoch_after_warm_up() -> None:
    config = TrainConfig(epochs=10, learning_rate=0.1)
    rates = [0.1 * rate_factor(config, epoch) for epoch in range(10)]
    assert rates[0] == 0.1
    assert rates[5] == pytest.approx(0.05)
    assert rates == sorted(rates, reverse=True)
    warm = TrainConfig(epochs=10, learning_rate=0.1, warmup_epochs=3)
    assert [round(0.1 * rate_factor(warm, epoch), 3) for epoch in range(4)] == [0.025, 0.05, 0.075, 0.1]


def test_networks_may_have_rates_of_their_own() -> None:
    networks = toy_networks()
    for name in ("sgd", "adamw"):
        config = TrainConfig(optimiser=name, learning_rate=0.1, learning_rate_3d=0.3)
        assert [group["lr"] for group in new_optimiser(networks, config).param_groups] == [0.1, 0.3]
    assert new_optimiser(networks, TrainConfig()).param_groups[1]["lr"] == TrainConfig().learning_rate


def test_what_may_start_from_trained_weights_has_a_rate_of_its_own() -> None:
    networks = toy_networks()
    config = TrainConfig(learning_rate=0.1, learning_rate_3d=0.3, backbone_rate=0.5)
    groups = new_optimiser(networks, config).param_groups
    assert [group["lr"] for group in groups] == [0.1, 0.05, 0.3, 0.15]
    held = [weight for group in groups for weight in group["params"]]
    assert len({id(weight) for weight in held}) == len(held) == len(list(networks.parameters()))
    resnet, minkunet = networks.net_2d.network.backbone, networks.net_3d.network
    assert {id(weight) for weight in groups[1]["params"]} == {id(weight) for weight in resnet.parameters()}
    assert {id(weight) for weight in groups[3]["params"]} == {id(weight) for weight in minkunet.parameters()}


def gradient_step(fabric: Fabric) -> dict[str, torch.Tensor]:
    """One step with stored batch statistics and without dropout: a pure function of the batch."""
    networks = toy_networks()
    optimiser = torch.optim.SGD(networks.parameters(), lr=0.0)
    model, wrapped = fabric.setup(networks, optimiser)
    model.eval()
    batch = still_batch(fabric.global_rank, fabric.world_size)
    loop.training_step(fabric, model, wrapped, batch, toy_plan(start_epoch=0), Position())
    return gradients(networks)


def test_two_processes_have_the_gradients_of_one(process_group: ProcessGroup) -> None:
    assert_processes_agree(process_group.run(gradient_step), gradient_step(cpu()))
