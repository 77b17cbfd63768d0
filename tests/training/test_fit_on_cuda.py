"""The training loop on a fake CUDA device: averages, optimiser state, resume and precision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from helpers.fake_cuda import FakeCuda
from helpers.toy_training import SCENES, cpu, killed_at, lines, toy_networks, toy_plan, weights
from labelfree.config.training import Precision, TrainConfig, TrainingPlan
from labelfree.nets.cotrained import CoTrained
from labelfree.runtime.devices import make_fabric
from labelfree.training import cotraining
from labelfree.training.cotraining import train
from labelfree.training.weight_average import WeightAverage

Optimiser = Literal["sgd", "adamw"]
pytestmark = pytest.mark.usefixtures("one_thread")


FEW = SCENES[:2]


def plan_with(optimiser: Optimiser) -> TrainingPlan:
    """Three steps of both scenes: one in stage one, two in stage two."""
    plan = toy_plan(epochs=3)
    return replace(plan, train=replace(plan.train, optimiser=optimiser))


def train_on_cuda(plan: TrainingPlan, folder: Path, precision: Precision = "float32") -> CoTrained:
    networks = toy_networks()
    train(make_fabric("cuda", precision=precision), networks, FEW, plan, folder)
    return networks


def test_resumed_training_on_the_device_equals_that_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, expected = plan_with("adamw"), toy_networks()
    train(cpu(), expected, FEW, plan, tmp_path / "cpu")
    made: list[torch.optim.Optimizer] = []
    averages: list[WeightAverage] = []
    new_optimiser, put_into = cotraining.new_optimiser, WeightAverage.put_into

    def keep_optimiser(networks: CoTrained, config: TrainConfig) -> torch.optim.Optimizer:
        made.append(new_optimiser(networks, config))
        return made[-1]

    def keep_average(average: WeightAverage, networks: nn.Module) -> None:
        averages.append(average)
        put_into(average, networks)

    monkeypatch.setattr(cotraining, "new_optimiser", keep_optimiser)
    monkeypatch.setattr(WeightAverage, "put_into", keep_average)
    with FakeCuda():
        with killed_at(monkeypatch, cotraining, "training_step", 2):
            train_on_cuda(plan, tmp_path / "cuda")
        found = train_on_cuda(plan, tmp_path / "cuda")
        state = [value for held in made[-1].state.values() for value in held.values() if value is not None]
        assert state
        assert {value.device.type for value in [*state, *averages[-1].mean.values()]} == {"cuda"}
        on_cpu = {name: value.cpu() for name, value in weights(found).items()}
    for name, value in weights(expected).items():
        torch.testing.assert_close(on_cpu[name], value, atol=2e-4, rtol=1e-3, msg=name)
    for ours, other in zip(lines(tmp_path / "cuda"), lines(tmp_path / "cpu"), strict=True):
        assert ours == pytest.approx(other, abs=1e-3)


def test_an_average_built_before_the_move_to_the_device_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, networks = plan_with("sgd"), toy_networks()
    early = WeightAverage.of(networks, plan.train.average_decay)
    monkeypatch.setattr(WeightAverage, "of", lambda networks, decay: early)
    with FakeCuda(), pytest.raises(RuntimeError, match=r"same device.*cuda:0 and cpu.*lerp"):
        train(make_fabric("cuda", precision="float32"), networks, FEW, plan, tmp_path)


def test_optimiser_state_left_on_the_cpu_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_with("adamw")
    with FakeCuda():
        with killed_at(monkeypatch, cotraining, "training_step", 1):
            train_on_cuda(plan, tmp_path)

        def keep_where_it_was(optimiser: torch.optim.Optimizer, state: dict[str, dict[int, dict[str, object]]]) -> None:
            own = [weight for group in optimiser.param_groups for weight in group["params"]]
            optimiser.state.update({own[index]: held for index, held in state["state"].items()})

        monkeypatch.setattr(torch.optim.Optimizer, "load_state_dict", keep_where_it_was)
        with pytest.raises(RuntimeError, match=r"same device.*cuda:0 and cpu.*adamw"):
            train_on_cuda(plan, tmp_path)


@pytest.mark.parametrize("capability", [(8, 0), (7, 0)], ids=["bfloat16", "float16"])
def test_training_in_16_bits_runs_and_resumes_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]
) -> None:
    plan = plan_with("sgd")
    with FakeCuda(capability):
        whole = train_on_cuda(plan, tmp_path / "whole", "auto")
        with killed_at(monkeypatch, cotraining, "training_step", 2):
            train_on_cuda(plan, tmp_path / "cut", "auto")
        resumed = train_on_cuda(plan, tmp_path / "cut", "auto")
        for (name, one), other in zip(weights(whole).items(), weights(resumed).values(), strict=True):
            assert torch.equal(one, other), name


def test_the_scale_of_a_loss_in_float16_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_with("sgd")

    def scaler(fabric: Fabric) -> torch.amp.GradScaler:
        found: torch.amp.GradScaler = fabric.strategy.precision.scaler
        return found

    with FakeCuda((7, 0)):
        first, second = make_fabric("cuda"), make_fabric("cuda")
        scaler(first).load_state_dict(scaler(first).state_dict() | {"scale": 512.0})
        with killed_at(monkeypatch, cotraining, "training_step", 1):
            train(first, toy_networks(), FEW, plan, tmp_path)
        assert scaler(second).get_scale() == 65536.0
        with killed_at(monkeypatch, cotraining, "training_step", 1):
            train(second, toy_networks(), FEW, plan, tmp_path)
        assert scaler(second).get_scale() == 512.0
