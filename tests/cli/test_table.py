from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.small_recipe import FAST_TEACHERS
from labelfree.cli.main import main
from labelfree.paper_tables.run_result import RESULT, Measures
from labelfree.paper_tables.schedule import Job

SETTINGS = ["--labels.image_size=[48,64]", *FAST_TEACHERS]
TINY = ["--rooms", "1", "--held-out-rooms", "1", "--views", "2", *SETTINGS]
UNTRAINED = ["--rows", "baseline,wo_cns"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rows of Table 2 that need no training, for real, on two labs of one room."""
    out = tmp_path_factory.mktemp("tables") / "out"
    assert main(["table", "2", "--seeds", "2", "--out", str(out), *UNTRAINED, *TINY]) == 0
    return out


def test_a_real_table(measured: Path) -> None:
    data = json.loads((measured / "table2.json").read_text())
    assert data["seeds"] == [1, 2]
    assert not data["complete"]
    for name in ("baseline", "wo_cns"):
        row = data["rows"][name]
        for measure in ("miou_2d", "miou_3d", "acc_2d", "acc_3d"):
            assert len(row[measure]) == 2
            assert all(0 < value < 100 for value in row[measure])
    assert data["rows"]["baseline"]["miou_2d"] != data["rows"]["wo_cns"]["miou_2d"]
    assert data["rows"]["wo_cns"]["statistics"]["miou_2d"]["minus_baseline"]["count"] == 2
    assert data["rows"]["full"]["miou_2d"] == [None, None]
    assert "4 of 26 runs are done" in (measured / "table2.md").read_text()


def test_seeds_share_a_cache_and_rows_share_the_rooms(measured: Path) -> None:
    assert sorted(path.name for path in measured.glob("[!.]*")) == ["cache", "data", "runs", "table2.json", "table2.md"]
    assert sorted(path.name for path in (measured / "data" / "lived-in-1x2+1x2").iterdir()) == ["seed-1", "seed-2"]
    assert sorted(path.name for path in (measured / "runs" / "seed-2").glob("[!.]*")) == ["baseline", "wo_cns"]
    assert len(list((measured / "cache").glob("masks-*/*.png"))) == 8


def test_again_runs_nothing(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (measured / "table2.md").read_text()
    results = {path: path.stat().st_mtime_ns for path in measured.rglob(RESULT)}
    assert main(["table", "2", "--seeds", "2", "--out", str(measured), *UNTRAINED, *TINY]) == 0
    told = capsys.readouterr()
    assert "begins" not in told.err
    assert "| wo_cns " in told.out
    assert {path: path.stat().st_mtime_ns for path in measured.rglob(RESULT)} == results
    assert (measured / "table2.md").read_text() == page


def test_table_1_in_both_losses(measured: Path) -> None:
    """MaskCLIP averages where the baseline votes; neither trains, so that the loss changes nothing but the files."""
    rooms = ["table", "1", "--world", "rooms", "--rows", "maskclip", "--seeds", "2", "--out", str(measured), *TINY]
    assert main(rooms) == main([*rooms, "--loss", "paper"]) == 0
    lab, paper = (json.loads((measured / f"table1{version}.json").read_text()) for version in ("", "-paper"))
    assert (lab["loss"], paper["loss"]) == ("lab", "paper")
    assert lab["rows"]["maskclip"]["miou_3d"] == paper["rows"]["maskclip"]["miou_3d"]
    assert (measured / "runs" / "seed-1-paper" / "maskclip").is_dir()
    assert ", loss of the paper" in (measured / "table1-paper.md").read_text().splitlines()[0]
    baseline = json.loads((measured / "table2.json").read_text())["rows"]["baseline"]
    assert lab["rows"]["maskclip"]["miou_2d"] == baseline["miou_2d"]
    assert lab["rows"]["maskclip"]["miou_3d"] != baseline["miou_3d"]


def test_one_row_alone_gives_the_number_of_the_table(measured: Path, tmp_path: Path) -> None:
    alone = ["--rows", "wo_cns", "--seeds", "1", "--first-seed", "2", "--out", str(tmp_path)]
    assert main(["table", "2", *alone, *TINY]) == 0
    one = json.loads((tmp_path / "table2.json").read_text())
    assert one["seeds"] == [2]
    found = json.loads((measured / "table2.json").read_text())["rows"]["wo_cns"]["miou_2d"][1]
    assert one["rows"]["wo_cns"]["miou_2d"] == [found]


def test_captures_take_the_place_of_the_lab(measured: Path, tmp_path: Path) -> None:
    rooms = measured / "data" / "lived-in-1x2+1x2" / "seed-1"
    given = ["--world", "quick", "--data", str(rooms / "train"), "--held-out", str(rooms / "held-out")]
    table = ["table", "2", "--seeds", "2", "--rows", "baseline", "--out", str(tmp_path), *SETTINGS]
    assert main([*table, *given]) == 0
    values = json.loads((tmp_path / "table2.json").read_text())["rows"]["baseline"]["miou_2d"]
    assert (
        values[0] == values[1] == json.loads((measured / "table2.json").read_text())["rows"]["baseline"]["miou_2d"][0]
    )


def test_the_table_is_written_after_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops_at_the_third(runner: object, job: Job) -> Measures:
        if (job.row, job.seed) == ("wo_cns", 1):
            raise KeyboardInterrupt
        return Measures(1.0, 2.0, 3.0, 4.0, 5.0)

    monkeypatch.setattr("labelfree.cli.table.RowRunner.__call__", stops_at_the_third)
    arguments = ["table", "2", "--seeds", "1", "--rows", "wo_cns,baseline,full", "--out", str(tmp_path)]
    assert main(arguments) == 130
    rows = json.loads((tmp_path / "table2.json").read_text())["rows"]
    assert [rows[name]["miou_2d"] for name in ("full", "wo_cns")] == [[1.0], [None]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["2", "--rows", "wo_sam"], "no row 'wo_sam'"),
        (["2", "--seeds", "0"], "--seeds is 0"),
        (["2", "--world", "scannet"], "--world scannet needs scenes"),
        (["2", "--world", "nowhere"], "no recipe 'nowhere'"),
        (["1", "--data", "{tmp}"], "--data needs --held-out"),
        (["1", "--world", "rooms", "--train.epoch=1"], "did you mean"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [text.format(tmp=tmp_path) for text in arguments]
    assert main(["table", *given, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
