"""benchmarks/stage_two takes the steps of co-training, resumes, and makes labels, noise and values as it says."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.stage_two import learning
from benchmarks.stage_two.experiment import Entries, table_rows
from benchmarks.stage_two.learning import Learners, Training, follow, opened, take_step, train_to
from benchmarks.stage_two.measuring import label_values, truth_at_pairs, values, whole_batch
from benchmarks.stage_two.noise import symmetric_noise
from benchmarks.stage_two.report import page, results_json
from benchmarks.stage_two.variants import VARIANTS, Guide, chosen_variants
from torch import Tensor

from helpers.toy_training import CLASSES, SCENES, cpu, toy_networks, toy_plan, weights
from labelfree import InputError, Scene, Vocabulary, recipe
from labelfree.config.training import TrainingPlan
from labelfree.evaluation.confusion import ConfusionMatrix
from labelfree.method.mask_vote import refine_labels
from labelfree.training.cotraining import train
from labelfree.training.step import step_losses

NAMES = Vocabulary(tuple("abc"))


def small_plan(average_decay: float = 0.0, start_epoch: int = 1) -> TrainingPlan:
    plan = toy_plan(start_epoch=start_epoch)
    return replace(plan, train=replace(plan.train, average_decay=average_decay))


def continued(folder: Path, plan: TrainingPlan, guide: Guide = "online", epochs: tuple[int, ...] = (3,)) -> Training:
    """Return a training after stage one and then stage two, opened anew before each number of epochs."""
    for epoch in epochs:
        first = opened(toy_networks(), plan, SCENES, folder / "first", "")
        train_to(first, cpu(), 1)
        training = opened(toy_networks(), plan, SCENES, folder / "second", "", first, guide)
        train_to(training, cpu(), epoch)
    return training


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name, value in expected.items() if not torch.equal(found[name], value)] == []


@pytest.mark.parametrize("average_decay", [0.0, 0.9])
def test_the_paper_variant_takes_the_steps_of_cotraining(tmp_path: Path, average_decay: float) -> None:
    plan, expected = small_plan(average_decay), toy_networks()
    train(cpu(), expected, SCENES, plan, tmp_path / "whole")
    assert_same(weights(continued(tmp_path, plan).delivered()), weights(expected))


@pytest.mark.parametrize("guide", ["online", "average", "frozen"])
def test_a_variant_resumes_exactly(tmp_path: Path, guide: Guide) -> None:
    whole = continued(tmp_path / "whole", small_plan(), guide)
    cut = continued(tmp_path / "cut", small_plan(), guide, (2, 3))
    assert_same(weights(cut.learners), weights(whole.learners))


def test_a_checkpoint_of_another_guide_is_refused(tmp_path: Path) -> None:
    continued(tmp_path, small_plan(), "frozen")
    with pytest.raises(InputError, match="other settings"):
        continued(tmp_path, small_plan(), "average")


def test_a_frozen_guide_stays_and_an_average_follows(tmp_path: Path) -> None:
    start = opened(toy_networks(), small_plan(), SCENES, tmp_path / "first", "")
    train_to(start, cpu(), 1)
    frozen, average = (continued(tmp_path / guide, small_plan(), guide) for guide in ("frozen", "average"))
    assert frozen.learners.guide is not None
    assert average.learners.guide is not None
    assert_same(weights(frozen.learners.guide), weights(start.learners.networks))
    moved = [not torch.equal(a, b) for a, b in zip(average.learners.guide.parameters(), start.learners.parameters())]
    assert all(moved)


def test_following_is_a_moving_average() -> None:
    guide, networks = toy_networks(0), toy_networks(1)
    expected = {
        name: 0.9 * value + 0.1 * networks.state_dict()[name]
        for name, value in weights(guide).items()
        if value.is_floating_point()
    }
    follow(guide, networks, 0.9)
    for name, value in expected.items():
        torch.testing.assert_close(guide.state_dict()[name], value)


def test_own_labels_are_those_of_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = small_plan(start_epoch=0)
    plan = replace(plan, switch=replace(plan.switch, pool_2d=("net_2d",), pool_3d=("net_3d",)))
    training = opened(toy_networks(0), plan, SCENES, tmp_path, "")
    guide, seen = toy_networks(7), list[dict[str, Tensor]]()
    training.learners = Learners(training.learners.networks, copy.deepcopy(guide))

    def watched(*args: object) -> object:
        seen.append(args[3])  # type: ignore[arg-type]
        return step_losses(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(learning, "step_losses", watched)
    batch = whole_batch(SCENES[0], 0.2)
    take_step(training, batch)
    logits = learning.guided(guide, batch)
    assert torch.equal(seen[0]["2d"], refine_labels(logits["2d"].argmax(1), batch.mask_ids, CLASSES))
    points = refine_labels(logits["3d"].argmax(1), batch.pairs.gather(batch.mask_ids), CLASSES)
    assert torch.equal(seen[0]["3d"], points)


def test_noise_is_that_of_a_loop_and_changes_masks_as_a_whole() -> None:
    random = np.random.default_rng(0)
    mask_ids = random.integers(0, 4, (6, 8)).astype(np.uint16)
    labels = (mask_ids % 5).astype(np.uint8)
    labels[0, 0] = 255
    noisy = symmetric_noise(labels, mask_ids, 0.5, 5, np.random.default_rng(1))
    twin = np.random.default_rng(1)
    of_mask = [(a, b) for a, b in zip(twin.random(4) < 0.5, twin.integers(1, 5, 4))]
    wrong, shift = twin.random((6, 8)) < 0.5, twin.integers(1, 5, (6, 8))
    for place in np.ndindex(6, 8):
        is_wrong, by = of_mask[mask_ids[place]] if mask_ids[place] else (wrong[place], shift[place])
        expected = 255 if labels[place] == 255 else (labels[place] + by) % 5 if is_wrong else labels[place]
        assert noisy[place] == expected, place


def test_noise_has_its_rate_and_prefers_no_class() -> None:
    labels = np.full((300, 300), 2, np.uint8)
    mask_ids = np.arange(90_000, dtype=np.uint32).reshape(300, 300) % 60_000
    noisy = symmetric_noise(labels, mask_ids.astype(np.uint16), 0.4, 5, np.random.default_rng(0))
    share = np.bincount(noisy.flatten(), minlength=5) / noisy.size
    assert np.abs(share - [0.1, 0.1, 0.6, 0.1, 0.1]).max() < 0.01


def test_variants_change_only_what_they_name() -> None:
    base = recipe("clean")
    configs = {variant.name: variant.config(base) for variant in VARIANTS}
    assert configs["paper"] == base
    assert len(configs) == len(VARIANTS)
    assert configs["clip_75"].switch.pool_3d.count("net_2d") / len(configs["clip_75"].switch.pool_3d) == 1 / 8
    assert configs["low_rate"].train.learning_rate == pytest.approx(0.1 * base.train.learning_rate)
    assert configs["low_rate"].train.learning_rate_3d == pytest.approx(0.1 * base.train.rate_of("3d"))
    assert (configs["drawn"].switch.pick, configs["drawn"].switch.refine) == ("draw", False)
    assert [variant.name for variant in chosen_variants("paper,clip")] == ["paper", "clip"]
    with pytest.raises(InputError, match="'papers'"):
        chosen_variants("papers")


def test_values_of_an_evaluation() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 255]), np.array([0, 0, 1, 1, 1, 1, 0, 0, 255, 2]))
    found = values(matrix.evaluation(NAMES))
    assert (found["frequent"], found["frequent_share_truth"]) == (["a", "b"], pytest.approx(700 / 9, abs=1e-3))
    assert found["frequent_share"] == pytest.approx(800 / 9, abs=1e-3)
    assert found["accuracy"] == pytest.approx(400 / 9, abs=1e-3)
    assert found["iou"] == {"a": pytest.approx(100 / 3, abs=1e-3), "b": 40.0, "c": 0.0}
    assert found["share"]["c"] == 0.0


def test_label_sources_are_compared_with_the_truth_of_their_pairs(tmp_path: Path) -> None:
    labelled = SCENES[0]
    batch = whole_batch(labelled, 0.2)
    scene = Scene("s", labelled.points, (), labels=np.arange(len(labelled.points), dtype=np.uint8) % CLASSES)
    truth = truth_at_pairs(scene, labelled)
    places = [(frame.pair_row, frame.pair_column, frame.pair_point) for frame in labelled.frames]
    assert batch.pairs.row.tolist() == np.concatenate([row for row, _, _ in places]).tolist()
    assert batch.pairs.column.tolist() == np.concatenate([column for _, column, _ in places]).tolist()
    assert truth.tolist() == [int(point) % CLASSES for _, _, points in places for point in points]
    training = opened(toy_networks(), small_plan(), SCENES[:1], tmp_path, "")
    given = batch.pairs.gather(batch.labels).numpy()
    found = label_values(training, [scene], NAMES)
    assert found["clip_2d"]["accuracy"] == pytest.approx(100 * (given == truth).mean(), abs=1e-3)
    logits = learning.guided(training.learners.networks, batch)["3d"]
    own = refine_labels(logits.argmax(1), batch.pairs.gather(batch.mask_ids), CLASSES).numpy()
    assert found["net_3d"]["accuracy"] == pytest.approx(100 * (own == truth).mean(), abs=1e-3)


def test_entries_of_other_settings_are_not_used(tmp_path: Path) -> None:
    Entries(tmp_path, "one").add({"epoch": 2})
    Entries(tmp_path, "one").add({"epoch": 1})
    assert list(Entries(tmp_path, "one").entries) == [1, 2]
    assert Entries(tmp_path, "two").entries == {}


def test_results_have_one_value_per_seed() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([0, 1, 2]), np.array([0, 1, 1]))
    one = values(matrix.evaluation(NAMES))
    entry = {"epoch": 2, "held_out": {"2d": one, "3d": one}, "labels": {"clip_2d": one, "net_2d": one, "net_3d": one}}
    found = {"paper": {1: [entry], 2: [entry]}}
    rows = table_rows(found)
    assert rows["paper"]["after_2"]["miou_3d"] == [50.0, 50.0]
    assert rows["paper"]["after_2"]["frequent_net_2d"] == [one["frequent_share"]] * 2
    head = {"world": "clean", "loss": "paper", "seeds": [1, 2], "command": "c"}
    assert results_json(head, found)["rows"] == rows
    assert "50.0 / 50.0" in page(head, found)
