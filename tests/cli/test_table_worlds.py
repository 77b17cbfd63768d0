"""`labelfree table` outdoors and in both worlds at once: folders, defaults, the joint table; runs are stood in for."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from labelfree.cli import table
from labelfree.cli.main import main
from labelfree.paper_tables.row_runner import RowRunner
from labelfree.paper_tables.run_result import Measures
from labelfree.paper_tables.schedule import Job
from labelfree.runtime import lab as teacher_weights

ROWS = ["--rows", "maskclip,cns", "--seeds", "2"]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """Weights of both worlds that are there, and runs that take no time; what was asked for in which folder."""
    asked: list[tuple[str, str, int]] = []
    monkeypatch.setattr(teacher_weights, "_all_weights", lambda source: tmp_path / "weights")
    for source in teacher_weights.WORLDS:
        for part in ("clip", "sam", "backbone", "backbone-3d"):
            folder = teacher_weights.weights_folder(source, part)
            folder.mkdir(parents=True)
            (folder / "model.safetensors").write_text(source)

    def measured(runner: RowRunner, job: Job) -> Measures:
        asked.append((type(runner.data).__name__, job.row, job.seed))
        street = "Streets" in asked[-1][0]
        return Measures(20.0 + street, 30.0 + job.seed, 40.0, 50.0, 1.0)

    monkeypatch.setattr(RowRunner, "__call__", measured)
    return asked


def test_both_worlds(told: list[tuple[str, str, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["table", "1", "--out", str(out), *ROWS]) == 0
    assert [name for name, _, _ in told] == ["LabRooms"] * 4 + ["LabStreets"] * 4
    page = capsys.readouterr().out
    assert page.startswith("# Table 1: Comparison with label-free methods, worlds rooms and streets")
    header = (
        "rooms 2D | paper, ScanNet 2D | rooms 3D | paper, ScanNet 3D | streets 3D | paper, nuScenes 3D | streets 2D"
    )
    assert header in " ".join(page.split())
    assert (out / "table1-worlds.md").read_text().strip() == page.strip()
    lab, street = (json.loads((folder / "table1.json").read_text()) for folder in (out, out / "streets"))
    assert (lab["world"], street["world"]) == ("rooms", "streets")
    assert lab["rows"]["cns"]["miou_2d"] == [20.0, 20.0]
    assert street["rows"]["cns"]["miou_2d"] == [21.0, 21.0]
    assert (street["rows"]["cns"]["paper_2d"], street["rows"]["cns"]["paper_3d"]) == (22.1, 26.8)
    assert (out / "streets" / "runs" / "seed-2").is_dir()


def test_initial_weights_and_rows_with_fewer_seeds(
    told: list[tuple[str, str, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Table 3 without the self-supervised weights, then with them; the recipe's own start shares the run of `full`."""
    out = ["--out", str(tmp_path / "out"), "--seeds", "2"]
    assert main(["table", "3", *out]) == 2
    assert "'rooms-selfsup' means" in capsys.readouterr().err.splitlines()[-1]
    assert main(["table", "3", *out, "--rows", "start_none,start_tags"]) == 0
    assert sorted(row for _, row, seed in told if seed == 2) == ["full", "start_none"]
    for folder in ("rooms-selfsup", "rooms-selfsup-3d"):
        (tmp_path / "weights" / folder).mkdir()
        (tmp_path / "weights" / folder / "model.safetensors").write_text(folder)
    assert main(["table", "3", *out, "--rows", "wo_cns,start_none,start_tags,start_selfsup:1"]) == 0
    assert len(told) == 4 + 2 + 1  # wo_cns and one start_selfsup
    data = json.loads((tmp_path / "out" / "table3.json").read_text())
    assert data["complete"]
    assert data["rows"]["start_selfsup"]["miou_3d"] == [31.0, None]
    assert data["rows"]["start_none"]["statistics"]["miou_3d"]["minus_start_selfsup"]["count"] == 1
    assert data["rows"]["start_none"]["statistics"]["miou_3d"]["minus_wo_cns"]["count"] == 2


def test_pairs_of_teachers(
    told: list[tuple[str, str, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = ["table", "2", "--rows", "full", "--seeds", "2", "--out", str(tmp_path / "out")]
    assert main([*table, "--teachers", "both"]) == 2
    assert "'rooms-b' means" in capsys.readouterr().err.splitlines()[-1]
    assert main(table) == 0
    assert json.loads((tmp_path / "out" / "table2.json").read_text())["teachers"] == {"1": "rooms", "2": "rooms"}
    for part in ("clip", "sam"):
        folder = teacher_weights.weights_folder("rooms-b", part)
        folder.mkdir()
        (folder / "model.safetensors").write_text("second")
    assert main([*table, "--teachers", "one"]) == 0
    assert len(told) == 2
    assert main(table) == 0
    assert told[2:] == [("LabRooms", "full", 2)]
    assert json.loads((tmp_path / "out" / "table2.json").read_text())["teachers"] == {"1": "rooms", "2": "rooms-b"}


def test_the_street_alone_lies_in_out(told: list[tuple[str, str, int]], tmp_path: Path) -> None:
    assert (
        main(["table", "2", "--world", "streets", "--out", str(tmp_path / "out"), "--rows", "full", "--seeds", "1"])
        == 0
    )
    assert told == [("LabStreets", "full", 1)]
    row = json.loads((tmp_path / "out" / "table2.json").read_text())["rows"]["full"]
    assert (row["paper_2d"], row["paper_3d"]) == (None, None)


def test_sizes_are_each_worlds_own_unless_given(told: list[tuple[str, str, int]], tmp_path: Path) -> None:
    seen = []
    for given in ([], ["--rooms", "3", "--held-out-rooms", "2", "--views", "1"]):
        for world in ("rooms", "streets"):
            parsed = argparse.ArgumentParser()
            table.add_arguments(parsed)
            options = parsed.parse_args(["1", *given])
            seen.append(table._data(options, world, tmp_path, tmp_path).identity)
    assert "train_rooms=48, train_views=4, held_out_rooms=20, held_out_views=4" in seen[0]
    assert "train_drives=48, train_key_frames=2, held_out_drives=24" in seen[1]
    assert "train_rooms=3, train_views=1, held_out_rooms=2, held_out_views=1" in seen[2]
    assert "train_drives=3, train_key_frames=1, held_out_drives=2" in seen[3]
    assert told == []


@pytest.mark.parametrize(
    ("world", "more", "message"),
    [
        ("rooms,scannet", [], "only the lab's rooms, clean, streets can be combined"),
        ("rooms,rooms", [], "can be combined"),
        ("rooms,streets", ["--data", "."], "without --data"),
        ("streets", ["--rooms", "0"], "1 to 250 drives"),
        ("rooms", ["--rows", "cns:6"], "'cns:6': give a number of seeds from 1 to --seeds"),
        ("rooms", ["--rows", "cns:"], "'cns:': give a number of seeds"),
    ],
)
def test_bad_input_is_one_sentence(
    world: str, more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table", "1", "--world", world, *more, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_there_are_said_before_the_first_world_begins(
    told: list[tuple[str, str, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (teacher_weights.weights_folder("streets", "sam") / "model.safetensors").unlink()
    assert main(["table", "1", "--world", "rooms,streets", "--out", str(tmp_path / "out"), *ROWS]) == 2
    assert "'streets' means" in capsys.readouterr().err.splitlines()[-1]
    assert told == []
