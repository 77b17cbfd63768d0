"""The commands on a fake CUDA device: label, train, resume, evaluate and predict, with the results of the CPU."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file

from helpers.fake_cuda import FakeCuda
from helpers.small_recipe import SMALL
from helpers.toy_training import killed_at, lines
from labelfree import Vocabulary, open_scenes, recipe
from labelfree.cli.main import main
from labelfree.runtime import precision
from labelfree.training import cotraining
from labelfree.training.checkpoint import read_state
from labelfree.training.systems import cotrain
from labelfree.weights.stored import CHECKPOINT, WEIGHTS_NAME

pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = (
    "--recipe=rooms",
    *(setting for setting in SMALL if "epochs" not in setting and "start_epoch" not in setting),
    "--classes=wall,floor,table",
    "--teachers.clip_options.precision=float32",
    "--teachers.clip_options.window=null",
    "--teachers.clip_options.scale=1.0",
    "--teachers.sam_options.precision=float32",
    "--train.epochs=2",
    "--switch.start_epoch=1",
)
"""Two steps, one in each stage, on two images of a room."""


def run_commands(device: str, room: Path, out: Path) -> None:
    """Label, train, evaluate and predict into `out`."""
    on = ("--limit=2", "--device", device)
    assert main(["label", str(room), "--out", str(out / "labels"), *SETTINGS, *on]) == 0
    assert main(["train", str(room), "--out", str(out / "run"), *SETTINGS, *on]) == 0
    assert main(["evaluate", str(out / "run"), str(room), "--networks-only", *on]) == 0
    assert main(["predict", str(out / "run"), str(room), "--out", str(out / "predicted"), *on]) == 0


def labels(path: Path) -> NDArray[Any]:
    if path.suffix == ".npy":
        return np.asarray(np.load(path))
    with Image.open(path) as image:
        return np.array(image)


def numbers(path: Path) -> dict[str, float]:
    return {name: value for name, value in json.loads(path.read_text())["methods"]["cns"].items() if "miou" in name}


def test_commands_on_the_device_give_the_results_of_the_cpu(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu, cuda = tmp_path / "cpu", tmp_path / "cuda"
    with monkeypatch.context() as patch:
        patch.setattr(precision, "autocast_dtype", lambda device: None)  # float32, to compare
        run_commands("cpu", room, cpu)
        with FakeCuda() as fake:
            with killed_at(patch, cotraining, "training_step", 1):
                run_commands("cuda", room, cuda)
            assert (cuda / "run" / "training" / CHECKPOINT).is_file()
            run_commands("cuda", room, cuda)  # resumes
    with FakeCuda():  # in the default number format
        assert main(["predict", str(cuda / "run"), str(room), "--out", str(cuda / "narrow"), "--limit=1"]) == 0
    assert fake.operations > 10_000
    # Labels and masks of the teachers
    maps = sorted(path.relative_to(cpu) for path in (cpu / "labels").rglob("*.png") if "overlay" not in path.name)
    assert len(maps) == 6
    for name in maps:
        np.testing.assert_array_equal(labels(cuda / name), labels(cpu / name), err_msg=str(name))
    # Metrics, weights, averages
    for found, expected in zip(lines(cuda / "run" / "training"), lines(cpu / "run" / "training"), strict=True):
        assert found == pytest.approx(expected, abs=1e-3)
    for modality in ("2d", "3d"):
        ours, others = (load_file(out / "run" / "networks" / modality / WEIGHTS_NAME) for out in (cuda, cpu))
        for key, value in others.items():
            np.testing.assert_allclose(ours[key], value, atol=1e-3, rtol=1e-3, err_msg=key)
    checkpoint = read_state(cuda / "run" / "training" / CHECKPOINT)
    assert checkpoint is not None
    assert checkpoint["average"] is not None
    # Evaluation and predictions
    assert numbers(cuda / "run" / "evaluation.json") == pytest.approx(
        numbers(cpu / "run" / "evaluation.json"), abs=0.01
    )
    predicted = sorted((cpu / "predicted").rglob("*.npy")) + sorted((cpu / "predicted" / "pixels").rglob("0*[0-9].png"))
    assert len(predicted) == 3
    for path in predicted:
        assert (labels(cuda / path.relative_to(cpu)) == labels(path)).mean() > 0.99, path.name


def test_openscene_trains_and_labels_on_the_device(room: Path, tmp_path: Path) -> None:
    settings = [*SETTINGS, "--system=openscene", "--train.epochs=1", "--limit=1"]
    with FakeCuda():
        assert main(["train", str(room), "--out", str(tmp_path / "run"), *settings, "--device=cuda"]) == 0
        predict = ["predict", str(tmp_path / "run"), str(room / "cloud.ply"), "--out", str(tmp_path / "predicted")]
        assert main([*predict, "--device=cuda"]) == 0
    assert (tmp_path / "predicted" / "cloud.npy").is_file()


def test_workers_get_frames_that_are_labelled_already(room: Path, tmp_path: Path) -> None:
    scenes = [replace(scene, frames=scene.frames[:1]) for scene in open_scenes(room)]
    settings = [setting for setting in SETTINGS if setting not in {"--recipe=rooms", "--classes=wall,floor,table"}]
    config = recipe("rooms", *settings, "--train.workers=1", "--train.epochs=2", "--train.checkpoint_seconds=100")
    with FakeCuda():
        cotrain(scenes, Vocabulary(("wall", "floor")), config, tmp_path)
    assert (tmp_path / "networks" / "3d" / WEIGHTS_NAME).is_file()
