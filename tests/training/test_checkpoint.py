"""Checkpoints and metrics: nothing damaged is used, and the checkpoint before a damaged one is."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.damage import single_bit_flips
from helpers.toy_training import SCENES, cpu, lines, toy_networks, toy_plan, weights
from labelfree.errors import DataWarning, InputError
from labelfree.files.metrics import METRICS
from labelfree.results.curves import read_metrics
from labelfree.training.checkpoint import PREVIOUS, MetricsLog, Position, load_checkpoint, save_checkpoint
from labelfree.training.cotraining import train
from labelfree.weights.stored import CHECKPOINT


class Toy:
    """A network with an optimiser that has taken a step."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.BatchNorm1d(8))
        self.optimiser = torch.optim.AdamW(self.model.parameters(), 0.1)

    def step(self) -> None:
        self.model(torch.rand(4, 8)).square().sum().backward()
        self.optimiser.step()

    def save(self, folder: Path, step: int, digest: str = "digest") -> None:
        save_checkpoint(folder, self.model, self.optimiser, Position(0, step, step), digest)

    def load(self, folder: Path, digest: str = "digest") -> Position | None:
        return load_checkpoint(folder, self.model, self.optimiser, digest)


def test_a_flipped_bit_never_gives_other_weights(tmp_path: Path) -> None:
    toy = Toy()
    toy.step()
    toy.save(tmp_path, 1)
    other, fresh = Toy(seed=1), weights(Toy(seed=1).model)
    for _ in single_bit_flips(tmp_path / CHECKPOINT, 90):
        with pytest.raises(InputError, match=r"checkpoint\.pt: not a readable checkpoint \(its checksum .* delete it"):
            other.load(tmp_path)
    assert all(torch.equal(value, fresh[name]) for name, value in weights(other.model).items())  # nothing was used
    assert other.load(tmp_path) == Position(0, 1, 1)


@pytest.mark.parametrize("damaged", [CHECKPOINT, PREVIOUS])
def test_the_checkpoint_before_stands_in(tmp_path: Path, damaged: str, recwarn: pytest.WarningsRecorder) -> None:
    toy = Toy()
    for step in (1, 2, 3):
        toy.step()
        toy.save(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == [PREVIOUS, CHECKPOINT]
    (tmp_path / damaged).write_bytes(b"damaged")
    for _ in range(2):  # the second time as if nothing had happened
        position = Toy(seed=1).load(tmp_path)
        assert position is not None
        assert position.step == (2 if damaged == CHECKPOINT else 3)
    told = [str(warning.message) for warning in recwarn]
    assert any("training resumes from checkpoint-previous.pt" in text for text in told) == (damaged == CHECKPOINT)
    toy.save(tmp_path, 4)
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    assert Toy(seed=1).load(tmp_path) is not None


def test_deleting_the_checkpoint_starts_anew(tmp_path: Path) -> None:
    toy = Toy()
    toy.save(tmp_path, 1)
    toy.save(tmp_path, 2)
    (tmp_path / CHECKPOINT).unlink()
    assert toy.load(tmp_path) is None
    toy.save(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


def test_others_errors_are_our_sentences(tmp_path: Path) -> None:
    toy = Toy()
    toy.save(tmp_path, 1)
    with pytest.raises(InputError, match="other settings"):
        toy.load(tmp_path, "another digest")
    larger = torch.nn.Linear(9, 9)
    with pytest.raises(InputError, match="does not fit these networks"):
        load_checkpoint(tmp_path, larger, torch.optim.AdamW(larger.parameters()), "digest")
    for content in (pickle.dumps({"model": Position()}), b""):
        (tmp_path / CHECKPOINT).write_bytes(content)
        with pytest.raises(InputError) as raised:
            toy.load(tmp_path)
        assert "weights_only" not in str(raised.value)
    torch.save({"position": Position()}, tmp_path / CHECKPOINT)  # an object, which torch advises how to load
    with pytest.raises(InputError) as raised:
        toy.load(tmp_path)
    assert "weights_only" not in str(raised.value)


def test_weights_that_are_no_numbers_are_not_kept(tmp_path: Path) -> None:
    toy = Toy()
    toy.save(tmp_path, 1)
    torch.nn.init.constant_(toy.model[0].bias, float("nan"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"'0\.bias' holds NaN or infinite values at step 2; lower train"):
        toy.save(tmp_path, 2)
    assert toy.load(tmp_path) == Position(0, 1, 1)


def test_training_stops_at_a_loss_that_is_no_number(tmp_path: Path) -> None:
    train(cpu(), toy_networks(), SCENES, toy_plan(epochs=1), tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    broken = [
        replace(
            scene, frames=tuple(replace(frame, target=np.full_like(frame.target, np.nan)) for frame in scene.frames)
        )
        for scene in SCENES
    ]
    with pytest.raises(InputError, match=r"the loss 'latent_.d' is nan at step 0, so training stopped"):
        train(cpu(), toy_networks(), broken, toy_plan(epochs=1), tmp_path / "new")
    assert not (tmp_path / "new" / CHECKPOINT).exists()
    assert (tmp_path / CHECKPOINT).read_bytes() == before


DAMAGED_LINES = [
    b"\xff\xfe\x00garbage",
    b"[1, 2]",
    b"null",
    b'{"epoch": 0}',
    b'{"step": 1}',
    b'{"epoch": 0, "step": "two"}',
    b'{"epoch": 0, "step": Infinity}',
    b'{"epoch": 1' + b"0" * 400 + b', "step": 1}',
    b'{"epoch": 0, "step": ' + b"[" * 100_000,
    b'{"epoch": 0, "step": 1, "name": "' + b"x" * 3_000_000 + b'"}',
]


@pytest.mark.parametrize("damage", DAMAGED_LINES, ids=lambda line: str(line[:20]))
def test_damaged_metrics_are_dropped_and_counted(tmp_path: Path, damage: bytes) -> None:
    records = [json.dumps({"epoch": 0, "step": step, "ce": 1.0}).encode() for step in range(4)]
    path = tmp_path / METRICS
    path.write_bytes(b"\n".join([*records[:2], damage, *records[2:]]) + b'\n{"epoch": 0, "st')
    if damage != b'{"epoch": 0}':  # which is enough for the curves
        with pytest.raises(InputError, match=r"metrics\.jsonl: line 3 is not a JSON object"):
            read_metrics(path)
    with pytest.warns(DataWarning, match="dropped 1 damaged lines"):
        MetricsLog(tmp_path, Position(0, 3, 3))
    assert [line["step"] for line in lines(tmp_path)] == [0, 1, 2]
    read_metrics(path)
