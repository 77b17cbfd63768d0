from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.small_recipe import FAST_TEACHERS, NARROW
from labelfree.cli.main import VERBS, main
from labelfree.data.ply import read_ply

QUICK = ["--train.epochs=1", "--train.images_per_scene=2", "--switch.start_epoch=0", "--labels.image_size=[48,64]"]
QUICK += [*FAST_TEACHERS, *NARROW]


@pytest.fixture(scope="module")
def finished(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on one room."""
    out = tmp_path_factory.mktemp("runs") / "one"
    assert main(["run", str(room), "--out", str(out), *QUICK]) == 0
    return out


def test_run_leaves_everything(finished: Path) -> None:
    for name in ("report.html", "results.json", "settings.yaml", "points/room.ply", "points/room.npy"):
        assert (finished / name).is_file(), name
    assert len(list((finished / "pixels" / "room").glob("*_overlay.png"))) == 4
    assert (finished / "networks" / "3d" / "model.safetensors").is_file()
    methods = json.loads((finished / "results.json").read_text())["methods"]
    assert list(methods) == ["clip", "clip+sam", "cns"]
    assert "small CLIP" in (finished / "report.html").read_text().split("<table")[0]


def test_pycocotools_and_laspy_open_what_a_run_exports(finished: Path, room: Path, tmp_path: Path) -> None:
    coco, laspy = pytest.importorskip("pycocotools.coco"), pytest.importorskip("laspy")
    pytest.importorskip("lazrs")
    assert main(["export", str(finished), "--format", "coco", "--data", str(room), "--out", str(tmp_path)]) == 0
    assert main(["export", str(finished), "--format", "laz", "--out", str(tmp_path)]) == 0
    masks = coco.COCO(tmp_path / "annotations.json")
    for image in masks.imgs.values():
        labels = np.full((image["height"], image["width"]), 255, np.uint8)
        for annotation in masks.loadAnns(masks.getAnnIds(imgIds=image["id"])):
            labels[masks.annToMask(annotation) == 1] = annotation["category_id"] - 1
        stem = (room / image["file_name"]).stem
        np.testing.assert_array_equal(labels, np.array(Image.open(finished / "pixels" / "room" / f"{stem}.png")))
    las = laspy.read(tmp_path / "room.laz")
    np.testing.assert_array_equal(las["label"], np.load(finished / "points" / "room.npy"))
    np.testing.assert_array_equal(las.classification[las["label"] < 255], las["label"][las["label"] < 255] + 64)
    np.testing.assert_allclose(las.xyz, read_ply(room / "cloud.ply").points, rtol=0, atol=1e-3)


def test_again_changes_nothing(finished: Path, room: Path) -> None:
    before = (finished / "networks" / "2d" / "model.safetensors").read_bytes()
    assert main(["run", str(room), "--out", str(finished), *QUICK]) == 0
    assert (finished / "networks" / "2d" / "model.safetensors").read_bytes() == before


def test_evaluate(finished: Path, room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(finished), str(room)]) == 0
    assert "clip+sam" in capsys.readouterr().out
    assert (finished / "evaluation.json").is_file()


def test_predict_takes_images_folders_clouds_and_scenes(finished: Path, room: Path, tmp_path: Path) -> None:
    first = next((room / "color").iterdir())
    for name, given in (("image", first), ("folder", room / "color"), ("cloud", room / "cloud.ply"), ("scene", room)):
        assert main(["predict", str(finished), str(given), "--out", str(tmp_path / name)]) == 0
    assert np.array(Image.open(tmp_path / "image" / f"{first.stem}.png")).shape == (96, 128)
    assert len(list((tmp_path / "folder").glob("*_overlay.png"))) == 4
    assert (tmp_path / "cloud" / "cloud.ply").is_file()
    assert (tmp_path / "scene" / "points" / "room.ply").is_file()


def test_label_then_train_on_its_files(room: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    assert main(["label", str(room), "--out", str(labels), "--recipe", "rooms", *FAST_TEACHERS]) == 0
    given = ["--clip", str(labels / "room" / "clip"), "--sam", str(labels / "room" / "masks")]
    assert main(["train", str(room), "--out", str(tmp_path / "run"), *given, *QUICK]) == 0
    assert (tmp_path / "run" / "networks" / "2d" / "config.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "nowhere"], "nowhere"),
        (["run", "{room}", "--out", "{tmp}/x", "--classes", "one"], "--classes"),
        (["run", "{room}", "--out", "{tmp}/x", "--train.epoch=1"], "did you mean"),
        (["run", "{room}", "--out", "{tmp}/x", "--recipe", "none"], "recipe"),
        (["run", "{room}", "--out", "{tmp}/x", "--clip", "./none"], "none"),
        (["train", "{room}", "--out", "{tmp}/x", "--resume"], "no such checkpoint"),
        (["label", "{room}", "--out", "{tmp}/x", "--shard", "5/3"], "--shard"),
        (["evaluate", "{tmp}", "{room}"], "settings.yaml"),
        (["predict", "{tmp}", "{tmp}/none.png", "--out", "{tmp}/x"], "no such file"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str], message: str, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([text.format(room=room, tmp=tmp_path) for text in arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert message in error[-1]
    assert "Traceback" not in "\n".join(error)


def test_broken_capture_stops_run_before_any_work(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(room, broken)
    pose = next(iter(sorted((broken / "pose").iterdir())))
    pose.write_text(pose.read_text().replace(pose.read_text().split()[0], "nan", 1))
    for verb in (["check", str(broken)], ["run", str(broken), "--out", str(tmp_path / "out")]):
        assert main(verb) == 2
        told = capsys.readouterr()
        assert pose.name in told.err
        assert ("needs fixing" in told.out) == (verb[0] == "check")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"labelfree {verb}" in capsys.readouterr().out


def test_overview_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    text = capsys.readouterr().out
    assert all(verb.name in text for verb in VERBS)
