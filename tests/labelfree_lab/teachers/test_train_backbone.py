from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from labelfree.nets.resnet import ResNet
from labelfree_lab.teachers.crops import TaggedPictures
from labelfree_lab.teachers.train_backbone import (
    WIDTH,
    Settings,
    average_precision,
    draw_batch,
    export,
    load_tag_net,
    new_tag_net,
    tag_precision,
    train_step,
)
from labelfree_lab.teachers.training_log import save_checkpoint, warm_cosine

SETTINGS = Settings(steps=4, batch=6, warm_up=2)


@pytest.fixture(scope="module")
def pictures() -> TaggedPictures:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 48, 64, 3), dtype=np.uint8)
    classes = rng.integers(0, 16, (12, 3, 4), dtype=np.uint8).repeat(16, 1).repeat(16, 2)
    return TaggedPictures.index(images, classes, 16)


@pytest.mark.parametrize(
    ("scores", "truth", "expected"),
    [
        ([3, 2, 1], [True, False, True], (1 + 2 / 3) / 2),
        ([1, 2, 3], [True, False, False], 1 / 3),
        ([3, 2, 1], [True, True, True], float("nan")),
        ([3, 2, 1], [False, False, False], float("nan")),
    ],
)
def test_average_precision(scores: list[float], truth: list[bool], expected: float) -> None:
    found = average_precision(np.asarray(scores, np.float32), np.asarray(truth))
    assert found == pytest.approx(expected, nan_ok=True)


def test_two_steps_reach_every_weight_and_ship_a_backbone(pictures: TaggedPictures, tmp_path: Path) -> None:
    model = new_tag_net(0, 16)
    optimiser = torch.optim.AdamW(model.parameters())
    for step in range(2):
        loss = train_step(model, optimiser, draw_batch(pictures, SETTINGS, step), SETTINGS, step)
        assert np.isfinite(loss)
    assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())
    assert tag_precision(model, pictures, SETTINGS).shape == (16,)
    save_checkpoint(tmp_path / "checkpoint.pt", model, optimiser, 2)
    frozen = load_tag_net(tmp_path / "checkpoint.pt", 16)
    pixels = draw_batch(pictures, SETTINGS, 0)[0]
    assert torch.equal(frozen(pixels), model.eval()(pixels))

    export(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    backbone = ResNet(config["model_type"], config["width"])
    weights = load_file(tmp_path / "model.safetensors")
    backbone.load_state_dict(weights)
    assert config["width"] == WIDTH
    assert weights["conv1.weight"].dtype == torch.float16


def test_a_draw_depends_on_seed_and_step_alone(pictures: TaggedPictures) -> None:
    first, again, other = (draw_batch(pictures, SETTINGS, step) for step in (5, 5, 6))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_rate_rises_then_falls() -> None:
    rates = [warm_cosine(step, 100, 10) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == 1
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0.02 < rates[-1] < 0.03
