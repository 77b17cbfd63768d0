"""Damaged state and values that are no numbers, as a user meets them: exit code 2 and one sentence."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from helpers.small_recipe import NARROW
from labelfree.cli.main import main

QUICK = ["--train.epochs=1", "--train.images_per_scene=1", "--switch.start_epoch=0", "--labels.image_size=[32,48]"]
QUICK += NARROW
CLASSES = ["--classes", "wall,floor,chair"]


def refused(arguments: Sequence[object], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one sentence that a refused command says."""
    capsys.readouterr()
    assert main([str(each) for each in arguments]) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def teachers(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Score maps and masks of every frame of the room."""
    folder = tmp_path_factory.mktemp("teachers")
    (folder / "masks").mkdir()
    (folder / "scores").mkdir()
    for number, image in enumerate(sorted((room / "color").iterdir())):
        scores = np.random.default_rng(number).random((3, 4, 6)).astype(np.float32)
        np.save(folder / "scores" / f"{image.stem}.npy", scores)
        Image.fromarray(np.ones((4, 6), np.uint8)).save(folder / "masks" / f"{image.stem}.png")
    return folder


def train(room: Path, teachers: Path, out: Path) -> list[object]:
    given = ["--clip", teachers / "scores", "--sam", teachers / "masks"]
    return ["train", room, "--out", out, *given, *CLASSES, *QUICK]


@pytest.fixture(scope="module")
def trained(room: Path, teachers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run."""
    out = tmp_path_factory.mktemp("runs") / "one"
    assert main([str(each) for each in train(room, teachers, out)]) == 0
    return out


@pytest.mark.parametrize("value", [np.nan, np.inf, 1j])
def test_score_maps(
    room: Path, teachers: Path, tmp_path: Path, value: complex, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(teachers, tmp_path / "teachers")
    path = sorted((tmp_path / "teachers" / "scores").iterdir())[1]
    scores = np.load(path)
    scores = scores.astype(np.complex64) if isinstance(value, complex) else scores
    scores[0, 0, 0] = value
    np.save(path, scores)
    given = ["--clip", tmp_path / "teachers" / "scores", "--sam", tmp_path / "teachers" / "masks"]
    told = refused(["label", room, "--out", tmp_path / "out", *given, *CLASSES], capsys)
    assert str(path) in told
    assert "complex" in told if isinstance(value, complex) else "NaN or infinite" in told


def test_checkpoint(
    room: Path, teachers: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    path = out / "training" / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0b0100_0000  # in the middle of the weights
    path.write_bytes(content)
    told = refused(train(room, teachers, out), capsys)
    assert f"{path}: not a readable checkpoint" in told
    assert "delete it to start training anew" in told


def test_networks(trained: Path, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(trained / "networks", tmp_path / "networks")
    path = tmp_path / "networks" / "3d" / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("varphi_s.bias"))
    weights[name][0] = np.nan
    save_file(weights, path, {"format": "pt"})
    told = refused(["predict", tmp_path, room / "cloud.ply", "--out", tmp_path / "out"], capsys)
    assert f"{path}: '{name}' holds NaN or infinite values" in told


def test_metrics(room: Path, teachers: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = trained / "training" / "metrics.jsonl"
    intact = path.read_bytes()
    path.write_bytes(b"\xff\x00garbage\n" + intact)
    assert main([str(each) for each in train(room, teachers, trained)]) == 0
    assert "dropped 1 damaged lines" in capsys.readouterr().err
    assert path.read_bytes() == intact


@pytest.mark.parametrize("damage", ["removed", "a folder", "a link to itself"])
def test_a_damaged_network_is_no_missing_one(
    damage: str, trained: Path, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "networks" / "2d" / "config.json"
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage == "a link to itself":
        path.symlink_to(path)
    for verb in ("evaluate", "figure"):
        assert str(path) in refused([verb, tmp_path, room], capsys)
