"""Two processes train as one does on the joint batch, and neither waits for the other, whatever their scenes hold."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from helpers.process_group import ProcessGroup
from helpers.toy_training import SCENES, cpu, lines, toy_networks, toy_plan, weights
from labelfree import InputError
from labelfree.config.training import SwitchConfig, TrainingPlan
from labelfree.files.metrics import METRICS
from labelfree.nets.cotrained import CoTrained
from labelfree.training import fit as fit_module
from labelfree.training.checkpoint import Position
from labelfree.training.cotraining import train
from labelfree.training.samples import LabelledFrame, LabelledScene
from labelfree.weights.stored import CHECKPOINT


def without_dropout(networks: CoTrained) -> CoTrained:
    """Each process draws its own dropout, so that only networks without it can be compared."""
    for module in networks.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return networks


def trained(
    fabric: Fabric, scenes: Sequence[LabelledScene], plan: TrainingPlan, folder: Path
) -> dict[str, torch.Tensor]:
    networks = without_dropout(toy_networks())
    train(fabric, networks, scenes, plan, folder)
    return weights(networks)


def plan_of(scenes_per_batch: int = 4, class_balance: float = 0.0, sync_norm: bool = True) -> TrainingPlan:
    plan = toy_plan(epochs=2, scenes_per_batch=scenes_per_batch)
    pools = SwitchConfig(1, ("clip_2d", "net_3d"), ("clip_3d", "net_2d"))
    chosen = replace(plan.train, class_balance=class_balance, sync_norm=sync_norm, average_decay=0.0)
    return replace(plan, train=chosen, switch=pools)


def losses(folder: Path) -> list[list[float]]:
    return [[line[name] for name in ("ce_2d", "ce_3d", "latent_2d", "latent_3d")] for line in lines(folder)]


@pytest.mark.parametrize(("scenes_per_batch", "class_balance"), [(4, 0.0), (3, 0.5)], ids=["even", "uneven shares"])
def test_two_processes_train_as_one(
    process_group: ProcessGroup, scenes_per_batch: int, class_balance: float, tmp_path: Path
) -> None:
    scenes, plan = SCENES[:scenes_per_batch], plan_of(scenes_per_batch, class_balance)
    expected = trained(cpu(), scenes, plan, tmp_path / "one")
    first, second = process_group.run(trained, scenes, plan, tmp_path / "two")
    assert np.allclose(losses(tmp_path / "one"), losses(tmp_path / "two"), atol=1e-4, rtol=1e-4)
    for name, value in expected.items():
        assert torch.equal(first[name], second[name]), name
        assert torch.allclose(first[name].float(), value.float(), atol=1e-4, rtol=1e-3), name


def test_without_synchronised_norm_they_do_not(process_group: ProcessGroup, tmp_path: Path) -> None:
    plan = plan_of(sync_norm=False)
    trained(cpu(), SCENES[:4], plan, tmp_path / "one")
    process_group.run(trained, SCENES[:4], plan, tmp_path / "two")
    assert not np.allclose(losses(tmp_path / "one")[0], losses(tmp_path / "two")[0], atol=1e-2)


def without_pairs(scene: LabelledScene, latent: bool) -> LabelledScene:
    none = np.zeros(0, dtype=np.int32)

    def emptied(frame: LabelledFrame) -> LabelledFrame:
        target = frame.target if latent else None
        return replace(frame, pair_point=none, pair_row=none, pair_column=none, target=target)

    return replace(scene, frames=tuple(emptied(frame) for frame in scene.frames))


def unlabelled(scene: LabelledScene) -> LabelledScene:
    frames = tuple(replace(frame, labels=np.full_like(frame.labels, 255)) for frame in scene.frames)
    return replace(scene, frames=frames)


POOR: dict[str, Callable[[LabelledScene], LabelledScene]] = {
    "no pairs": lambda scene: without_pairs(scene, latent=True),
    "no pairs and no latent target": lambda scene: without_pairs(scene, latent=False),
    "no labels": unlabelled,
    "neither": lambda scene: unlabelled(without_pairs(scene, latent=False)),
}


@pytest.mark.parametrize(("poverty", "sync_norm"), [*((name, True) for name in POOR), ("neither", False)])
def test_a_process_without_pairs_or_labels_does_not_stop_the_other(
    process_group: ProcessGroup, poverty: str, sync_norm: bool, tmp_path: Path
) -> None:
    scenes = [SCENES[0], POOR[poverty](SCENES[1])]  # of a batch of two, each process has one scene
    plan = plan_of(2, class_balance=0.5, sync_norm=sync_norm)
    first, second = process_group.run(trained, scenes, plan, tmp_path / "two")
    assert all(torch.equal(value, second[name]) for name, value in first.items() if "running" not in name)
    assert np.isfinite(losses(tmp_path / "two")).all()
    if poverty in {"no pairs", "no labels"}:  # others cannot be joined: a batch of one process has targets or none
        expected = trained(cpu(), scenes, plan, tmp_path / "one")
        assert np.allclose(losses(tmp_path / "one"), losses(tmp_path / "two"), atol=1e-4, rtol=1e-4)
        assert all(torch.allclose(first[name], expected[name], atol=1e-4, rtol=1e-3) for name in expected)


def test_a_loss_that_is_no_number_in_one_process_ends_both_with_one_sentence(
    process_group: ProcessGroup, tmp_path: Path
) -> None:
    frames = tuple(replace(frame, target=np.full_like(frame.target, np.nan)) for frame in SCENES[1].frames)
    broken = [SCENES[0], replace(SCENES[1], frames=frames)]
    first, second = process_group.run(trained, broken, plan_of(2, sync_norm=False), tmp_path)
    assert "the loss 'latent_2d' is nan at step 0, so training stopped" in first.text
    assert (first.kind, second.kind) == ("InputError", "Ended")
    assert not (tmp_path / CHECKPOINT).exists()


def test_processes_that_see_other_checkpoints_are_refused(process_group: ProcessGroup, tmp_path: Path) -> None:
    first, second = process_group.run(resumed_apart, tmp_path)
    assert "process 1 resumes at step 0, process 0 at step 2; give an --out that all machines share" in first.text
    assert (first.kind, second.kind) == ("InputError", "Ended")


def resumed_apart(fabric: Fabric, folder: Path) -> None:
    """Resume from a checkpoint that only process 0 finds, as on machines with separate disks."""
    trained(fabric, SCENES[:2], plan_of(2), folder / "0")
    trained(fabric, SCENES[:2], plan_of(2), folder / str(fabric.global_rank))


def test_fewer_scenes_than_processes_are_refused(process_group: ProcessGroup, tmp_path: Path) -> None:
    first, second = process_group.run(trained, SCENES[:1], plan_of(), tmp_path)
    assert first.text.startswith("2 processes train but a batch has 1 scene(s): start at most 1 processes")
    assert (first.kind, second.kind) == ("InputError", "Ended")


def test_the_record_is_the_mean(process_group: ProcessGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    for found in process_group.run(record_of_rank):
        assert found == {"stage": 2, "ce": 0.5, "name": "a"}
    assert fit_module.joint_record(cpu(), {"ce": math.inf, "stage": 1}) == {"ce": math.inf, "stage": 1}


def record_of_rank(fabric: Fabric) -> dict[str, float | int | str]:
    return fit_module.joint_record(fabric, {"stage": 2, "ce": float(fabric.global_rank), "name": "a"})


def test_two_processes_resume_exactly(process_group: ProcessGroup, tmp_path: Path) -> None:
    whole = process_group.run(trained, SCENES[:4], plan_of(2), tmp_path / "whole")
    ended = process_group.run(stopped_at_step_1, tmp_path / "cut")
    assert [(each.kind, each.text) for each in ended] == [("InputError", "stopped"), ("Ended", "2")]
    assert json.loads((tmp_path / "cut" / METRICS).read_text().splitlines()[-1])["step"] == 0
    again = process_group.run(trained, SCENES[:4], plan_of(2), tmp_path / "cut")
    for before, after in zip(whole, again):
        assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert (tmp_path / "whole" / METRICS).read_text() == (tmp_path / "cut" / METRICS).read_text()


def stopped_at_step_1(fabric: Fabric, folder: Path) -> None:
    """Train until the losses of step 1 are refused; the checkpoint of step 0 is kept."""

    def refuse(record: object, position: Position, folder: Path) -> None:
        if position.step == 1:
            raise InputError("stopped")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_module, "require_finite", refuse)
        trained(fabric, SCENES[:4], plan_of(2), folder)


def test_gradients_are_arranged_alike_at_all_steps(process_group: ProcessGroup, tmp_path: Path) -> None:
    """More than two processes resume exactly only then: they add the gradients in an order that follows."""
    assert process_group.run(rearranged, tmp_path) == [False, False]


def rearranged(fabric: Fabric, folder: Path) -> bool:
    models: list[Any] = []

    def setup(*given: Any) -> Any:
        models.append(fabric_setup(*given))
        return models[0]

    fabric_setup = fabric.setup
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fabric, "setup", setup)
        trained(fabric, SCENES[:2], plan_of(2), folder)
    facts = models[0][0]._forward_module._get_ddp_logging_data()
    return bool(facts["has_rebuilt_buckets"])
