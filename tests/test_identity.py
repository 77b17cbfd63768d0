"""A run folder answers for one configuration: whatever determines the weights is checked before anything is written."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from labelfree.cli.main import main
from labelfree.config.identity import settings_entries
from labelfree.config.reading import read_settings
from labelfree.config.recipe_files import recipe_path

TINY = (
    "--labels.image_size=[48,64]",
    "--teachers.sam_options.points_per_side=4",
    "--networks.net_2d.width=8",
    "--networks.net_2d.aspp_channels=8",
    "--networks.net_3d.planes=[8,8,8,8,8,8,8,8]",
    "--networks.backbone_weights=null",
    "--networks.backbone_weights_3d=null",
    "--train.images_per_scene=1",
    "--train.epochs=2",
    "--switch.start_epoch=1",
    "--teachers.clip_options.scale=1.0",
)


def train(data: Path, out: Path, *more: str) -> int:
    return main(["train", str(data), "--out", str(out), "--cache", str(out.parent / "cache"), *TINY, *more])


def test_the_masks_of_earlier_runs_need_no_mention() -> None:
    """Runs from before `sam_options.mode` had the masks of `fast`, which is not its default."""
    lab, paper = (settings_entries(read_settings(recipe_path(recipe), [])) for recipe in ("rooms", "scannet"))
    assert "teachers.sam_options.mode" not in lab
    assert paper["teachers.sam_options.mode"] == "exact"


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".run")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def trained(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("identity") / "run"
    assert train(room, out) == 0
    return out


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("--labels.refine=false", "labels.refine was True, is now False"),
        ("--pairing.tolerance_m=0.2", "pairing.tolerance_m was 0.05, is now 0.2"),
        ("--networks.net_3d.voxel_m=0.2", "networks.net_3d.voxel_m was"),
        ("--networks.net_2d.dropout=0.3", "networks.net_2d.dropout was"),
        ("--teachers.sam_options.points_per_side=5", "points_per_side was 4, is now 5"),
        ("--networks.backbone_weights={backbone}", "networks.backbone_weights was None, is now weights"),
        ("--classes=wall, floor, chair", "--classes was"),
        ("--seed=3", "seed was 0, is now 3"),
        ("--sam={masks}", "--sam was"),
    ],
)
def test_another_configuration_is_refused_and_changes_nothing(
    change: str, named: str, trained: Path, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for frame in sorted((room / "color").iterdir()):
        Image.fromarray(np.ones((48, 64), dtype=np.uint8)).save(tmp_path / f"{frame.stem}.png")
    weights = load_file(trained / "networks" / "2d" / "model.safetensors")
    prefix, backbone = "network.backbone.", tmp_path / "backbone.safetensors"
    save_file({name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}, backbone)
    before = contents(trained)
    option, _, value = change.format(masks=tmp_path, backbone=backbone).partition("=")
    given = [f"{option}={value}"] if "." in option else [option, value]
    assert train(room, trained, *given) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert named in message
    assert "choose another --out, or delete this folder" in message
    assert contents(trained) == before


def test_other_data_under_the_same_name_is_refused(
    trained: Path, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / room.name
    shutil.copytree(room, other)
    first = sorted((other / "color").iterdir())[0]
    pixels = np.array(Image.open(first))
    Image.fromarray(255 - pixels).save(first)
    before = contents(trained)
    assert train(other, trained) == 2
    assert "scene 'room' changed" in capsys.readouterr().err
    assert contents(trained) == before


def test_what_does_not_determine_the_weights_is_free(trained: Path, room: Path) -> None:
    before = contents(trained / "networks")
    free = ("--memory_gb=1", "--train.checkpoint_seconds=5", "--predict.views=vote", "--train.workers=0")
    assert train(room, trained, *free) == 0
    assert contents(trained / "networks") == before


def test_ground_truth_does_not_belong_to_the_identity(trained: Path, room: Path, tmp_path: Path) -> None:
    bare = tmp_path / room.name
    shutil.copytree(room, bare)
    shutil.rmtree(bare / "label")
    assert train(bare, trained) == 0


def test_labels_of_another_configuration_are_refused(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, small = tmp_path / "labels", [text for text in TINY if "labels" in text or "teachers" in text]
    label = ["label", str(room), "--out", str(out), *small]
    assert main(label) == 0
    before = contents(out)
    assert main([*label[:4], "--labels.image_size=[32,48]", small[1]]) == 2
    assert "labels.image_size was [48, 64], is now [32, 48]" in capsys.readouterr().err
    assert contents(out) == before
    assert main(label) == 0


def test_labels_do_not_go_into_a_run(trained: Path, room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(trained)
    assert main(["label", str(room), "--out", str(trained), *TINY[:2]]) == 2
    assert "holds a training run" in capsys.readouterr().err
    assert contents(trained) == before
