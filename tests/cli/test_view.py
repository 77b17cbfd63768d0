"""`labelfree view` and the commands that use corrections: refusals, two viewers, retraining, measuring."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.small_recipe import SMALL
from labelfree.cli import view
from labelfree.cli.main import main
from labelfree.cli.run_data import DATA_FILE
from labelfree.corrections.store import correction_file, read_corrections, write_corrections
from labelfree.corrections.value import no_corrections
from labelfree.data.collection import open_scenes
from labelfree.files.run_lock import run_lock
from labelfree.viewer.page import Page
from labelfree.vocabulary import Vocabulary

pytest.importorskip("viser")

CLASSES = "wall, floor, chair, table"
ONE_EPOCH = [*SMALL, "--train.epochs=1", "--switch.start_epoch=0"]
RECIPE = ["--recipe", "rooms", "--classes", CLASSES]


@pytest.fixture(scope="module")
def trained(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training on one room."""
    out = tmp_path_factory.mktemp("runs") / "first"
    assert main(["train", str(room), "--out", str(out), *RECIPE, *ONE_EPOCH]) == 0
    return out


def correct(run: Path, room: Path, points: slice, label: int) -> Path:
    """Correct some points of a room, as the viewer does."""
    empty = no_corrections(open_scenes(room)[0], Vocabulary.parse(CLASSES))
    labels = empty.labels.copy()
    labels[points] = label
    path = correction_file(run, "room")
    write_corrections(path, replace(empty, labels=labels))
    return path


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def test_corrections_are_used_kept_and_part_of_the_identity(
    trained: Path, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "first"
    shutil.copytree(trained, run)
    shutil.copytree(trained.parent / "cache", tmp_path / "cache")
    command = ["train", str(room), *RECIPE, *ONE_EPOCH]
    identity = json.loads((run / "training" / "identity.json").read_text())
    assert not any("corrections" in name for name in identity)
    # The finished run never answers for corrected data
    path = correct(run, room, slice(0, 3000), 2)
    told = error_of([*command, "--out", str(run)], capsys)
    assert f"train again with another --out and --corrections {run}" in told
    # A new run trains on them, keeps them, and resumes by itself
    second = tmp_path / "second"
    assert main([*command, "--out", str(second), "--corrections", str(run)]) == 0
    assert "3,000 points of 1 scene(s) were corrected by hand" in capsys.readouterr().err
    kept = correction_file(second, "room")
    assert np.array_equal(read_corrections(kept).labels, read_corrections(path).labels)
    weights = (second / "networks" / "3d" / "model.safetensors").read_bytes()
    assert weights != (run / "networks" / "3d" / "model.safetensors").read_bytes()
    assert main([*command, "--out", str(second)]) == 0
    assert (second / "networks" / "3d" / "model.safetensors").read_bytes() == weights
    # Measuring against them
    assert main(["evaluate", str(second), str(room), "--against", "corrections", "--networks-only"]) == 0
    assert "3,000 points of 1 scene(s)" in capsys.readouterr().out
    measured = json.loads((second / "evaluation-corrections.json").read_text())
    confusion = np.array(measured["methods"]["cns"]["evaluation_3d"]["confusion"])
    assert confusion.sum() == confusion[2].sum() == 3000


def test_wrong_corrections_are_one_sentence(
    trained: Path, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", str(room), *RECIPE, *ONE_EPOCH, "--out", str(tmp_path / "out")]
    assert "holds no folder 'corrections'" in error_of([*command, "--corrections", str(tmp_path)], capsys)
    path = correct(tmp_path / "other", room, slice(5), 1)
    path.write_text(path.read_text().replace('"cloud": "', '"cloud": "0'))
    told = error_of([*command, "--corrections", str(tmp_path / "other")], capsys)
    assert "is not the cloud of scene 'room'" in told
    told = error_of(["evaluate", str(trained), str(room), "--against", "corrections"], capsys)
    assert "holds no corrections of a scene" in told
    assert not (trained / "evaluation-corrections.json").exists()


def test_view_finds_the_data_of_a_run(
    trained: Path, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert json.loads((trained / DATA_FILE).read_text())["data"] == str(room)
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    port = ["--port", "0"]
    assert "not one of the scenes (room)" in error_of(["view", str(run), "--scene", "hall", *port], capsys)
    (run / DATA_FILE).write_text('{"data": "/nowhere/at/all"}')
    assert "is no longer there; give it with --data" in error_of(["view", str(run), *port], capsys)
    (run / DATA_FILE).write_text('{"data": 3}')
    assert "'data' is missing or damaged" in error_of(["view", str(run), *port], capsys)
    (run / DATA_FILE).unlink()
    assert "give the data with --data" in error_of(["view", str(run), *port], capsys)
    assert "nowhere" in error_of(["view", str(tmp_path / "nowhere"), *port], capsys)
    assert not (run / "corrections").exists()


def test_two_viewers_and_unsaved_work(
    trained: Path, room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    shutil.copytree(trained.parent / "cache", tmp_path / "cache")

    def used(edit: bool) -> Callable[[Page, Callable[[str], None]], None]:
        def serve(page: Page, told: Callable[[str], None]) -> None:
            assert page.session.writable == edit
            page.session.select_around(10, 0.5)
            if edit:
                page.session.assign(1)  # and the command ends before it is saved
            assert page.save_all() == int(edit)
            page.server.stop()

        return serve

    monkeypatch.setattr(view, "serve", used(False))
    with run_lock(run / "corrections", "view"):
        assert main(["view", str(run), "--port", "0"]) == 0
    told = capsys.readouterr().err
    assert "(labelfree view); wait for it or look at it read-only here" in told
    assert "read-only: another viewer corrects this run" in told
    monkeypatch.setattr(view, "serve", used(True))
    assert main(["view", str(run), "--port", "0"]) == 0
    assert "http://127.0.0.1:" in capsys.readouterr().out
    assert len(read_corrections(correction_file(run, "room"))) > 0


def test_viewing_data_writes_nothing_beside_it(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(room, tmp_path / "data" / "room")
    (tmp_path / "data" / "room" / "cloud.ply").unlink(missing_ok=True)  # the cloud is fused then
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(view, "serve", lambda page, told: page.server.stop())
    assert main(["view", str(tmp_path / "data" / "room"), "--port", "0"]) == 0
    told = capsys.readouterr().err
    assert "data without a run" in told
    assert "another viewer" not in told
    assert sorted(tmp_path.rglob("*")) == before
