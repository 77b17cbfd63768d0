from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.small_recipe import FAST_TEACHERS, NARROW
from labelfree import open_scenes
from labelfree.cli.main import main
from labelfree.results.figure import telling_frame

QUICK = ["--train.epochs=1", "--train.images_per_scene=1", "--switch.start_epoch=0", "--labels.image_size=[48,64]"]
QUICK += [*FAST_TEACHERS, *NARROW]


@pytest.fixture(scope="module")
def trained(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on two views of one room."""
    out = tmp_path_factory.mktemp("runs") / "deep" / "one"
    cache = out.parent.parent / "cache"
    assert main(["train", str(room), "--limit", "2", "--out", str(out), "--cache", str(cache), *QUICK]) == 0
    return out


def test_two_pictures_and_the_runs_own_cache(trained: Path, room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path for path in trained.parent.parent.rglob("*") if path.is_dir()}
    assert main(["figure", str(trained), str(room), "--limit", "2"]) == 0
    assert "figure-3d.png" in capsys.readouterr().out
    assert {path for path in trained.parent.parent.rglob("*") if path.is_dir()} == before
    for name in ("figure-2d.png", "figure-3d.png"):
        with Image.open(trained / name) as picture:
            assert picture.width > 5 * 224
            assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 10


def test_a_run_of_one_network_gives_its_own_picture(trained: Path, room: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "only", ignore=shutil.ignore_patterns("figure*"))
    shutil.rmtree(tmp_path / "only" / "networks" / "2d")
    to, cache = tmp_path / "figures", trained.parent.parent / "cache"
    given = ["--to", str(to), "--cache", str(cache), "--limit", "2"]
    assert main(["figure", str(tmp_path / "only"), str(room), *given]) == 0
    assert [path.name for path in to.glob("*.png")] == ["figure-3d.png"]


def test_the_frame_shown_is_the_one_with_most_classes(room: Path) -> None:
    scene = open_scenes(room)[0]
    labels = [frame.load_labels() for frame in scene.frames]
    counts = [len(set(np.unique(found)) - {255}) for found in labels if found is not None]
    assert len(counts) == len(scene.frames)
    assert telling_frame(scene) is scene.frames[counts.index(max(counts))]


def test_what_cannot_be_shown_is_one_sentence(
    trained: Path, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("untrained", "teachers"):
        (tmp_path / name).mkdir()
        text = (trained / "settings.yaml").read_text()
        shown = text.replace("system: cns", "system: clip") if name == "teachers" else text
        (tmp_path / name / "settings.yaml").write_text(shown)
    for run, message in (
        (tmp_path, "settings.yaml"),
        (tmp_path / "untrained", "networks"),
        (tmp_path / "teachers", "cns"),
    ):
        assert main(["figure", str(run), str(room)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error
    assert main(["figure", str(trained), str(room), "--scenes", "0"]) == 2
