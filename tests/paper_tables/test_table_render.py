from __future__ import annotations

import json
from dataclasses import replace

import pytest

from labelfree.paper_tables.render import table_json, table_markdown, worlds_markdown
from labelfree.paper_tables.rows import TABLE_1, TABLE_2, PaperTable
from labelfree.paper_tables.run_result import Measures, RunResult
from labelfree.paper_tables.summary import TableRuns

ISSUE_KEYS = ["miou_2d", "miou_3d", "acc_2d", "acc_3d", "paper_2d", "paper_3d"]


def run(row: str, seed: int, *numbers: float | None, commit: str = "abc") -> RunResult:
    miou_2d, miou_3d, acc_2d, acc_3d = numbers
    return RunResult("", row, seed, commit, Measures(miou_2d, miou_3d, acc_2d, acc_3d, seconds=100.0 + seed))


def runs(table: PaperTable, world: str = "rooms", **found: list[RunResult | None]) -> TableRuns:
    names = [row.name for row in table.rows]
    return TableRuns(table, world, (1, 2, 3), tuple(tuple(found.get(name, [None] * 3)) for name in names))


@pytest.fixture
def ablation() -> TableRuns:
    return runs(
        TABLE_2,
        full=[run("full", s, 40.0 + s, 50.0 + s, 70.0, 80.0) for s in (1, 2, 3)],
        baseline=[run("baseline", s, 30.0 + s, 35.0 + 2 * s, 60.0, 70.0) for s in (1, 2, 3)],
        wo_ct=[run("wo_ct", 1, 42.0, 50.5, 70.0, 80.0, commit="def"), run("wo_ct", 2, 41.9, 51.6, 71.0, 80.0), None],
    )


def test_json_is_what_the_issue_asks_for(ablation: TableRuns) -> None:
    data = json.loads(json.dumps(table_json(ablation, "labelfree table 2 --seeds 3"), allow_nan=False))
    assert data["command"] == "labelfree table 2 --seeds 3"
    assert data["commit"] == "abc, def"
    assert data["seeds"] == [1, 2, 3]
    assert list(data["rows"]) == [row.name for row in TABLE_2.rows]
    assert list(data["rows"]["full"])[:6] == ISSUE_KEYS
    assert {key: data["rows"]["wo_ct"][key] for key in ISSUE_KEYS} == {
        "miou_2d": [42.0, 41.9, None], "miou_3d": [50.5, 51.6, None], "acc_2d": [70.0, 71.0, None],
        "acc_3d": [80.0, 80.0, None], "paper_2d": 27.7, "paper_3d": 31.0,
    }  # fmt: skip
    assert data["rows"]["wo_clip"]["miou_2d"] == [None, None, None]
    assert not data["complete"]


def test_json_holds_intervals_and_paired_differences(ablation: TableRuns) -> None:
    rows = table_json(ablation, "")["rows"]
    full, base, wo_ct = (rows[name]["statistics"] for name in ("full", "baseline", "wo_ct"))
    # 41, 42, 43: mean 42, standard deviation 1, t(2) = 4.303
    assert full["miou_2d"]["mean"] == 42.0
    assert full["miou_2d"]["interval"] == pytest.approx([42 - 4.303 / 3**0.5, 42 + 4.303 / 3**0.5], abs=1e-3)
    assert full["miou_2d"]["next_run"] == pytest.approx(
        [42 - 4.303 * (4 / 3) ** 0.5, 42 + 4.303 * (4 / 3) ** 0.5], abs=1e-3
    )
    assert full["miou_2d"]["minus_full"] is None
    assert base["miou_2d"]["minus_full"] == {
        "mean": -10.0, "count": 3, "interval": [-10.0, -10.0], "next_run": [-10.0, -10.0], "excludes_zero": True,
        "p": 0.0, "p_holm": 0.0, "significant_after_holm": True, "paper": -11.1, "sign_agrees": True,
    }  # fmt: skip
    assert wo_ct["miou_2d"]["minus_full"]["count"] == 2
    assert wo_ct["miou_2d"]["minus_full"]["sign_agrees"] is False  # +0.45 here, -0.7 in the paper
    assert wo_ct["miou_2d"]["minus_full"]["excludes_zero"] is False
    assert full["acc_2d"]["minus_baseline"]["paper"] is None
    assert full["seconds"] == 102.0
    assert rows["wo_clip"]["statistics"]["miou_3d"] is None


def test_a_system_without_a_side_is_null_there() -> None:
    found = runs(TABLE_1, clip2scene=[run("clip2scene", s, None, 20.0, None, 30.0) for s in (1, 2, 3)])
    row = table_json(found, "")["rows"]["clip2scene"]
    assert row["miou_2d"] is row["acc_2d"] is None
    assert row["miou_3d"] == [20.0] * 3
    assert row["paper_2d"] == 23.7
    assert row["statistics"]["miou_2d"] is None


def test_nuscenes_is_compared_with_its_own_column() -> None:
    row = table_json(runs(TABLE_1, "nuscenes"), "")["rows"]["cns"]
    assert (row["paper_2d"], row["paper_3d"]) == (None, 26.8)


def line(page: str, heading: str, row: str) -> list[str]:
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    found = next(text for text in section.splitlines() if text.startswith(f"| {row} "))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_markdown(ablation: TableRuns) -> None:
    page = table_markdown(ablation, "labelfree table 2")
    assert "**Not finished: 8 of 39 runs are done.**" in page
    assert line(page, "2D", "full") == [
        "full", "42.0 ± 2.5", "28.4", "–", "–", "–", "–", "3", "70.0 ± 0.0", "–", "37.0 to 47.0",
    ]  # fmt: skip
    assert line(page, "2D", "baseline")[3:8] == ["-10.0 ± 0.0", "-11.1", "yes", "yes", "3"]
    assert line(page, "2D", "wo_ct")[5:8] == ["no?", "no", "2"]
    assert line(page, "2D", "wo_clip") == ["wo_clip", "–", "4.7", *["–"] * 8]
    assert line(page, "mIoU over baseline", "full")[1:4] == ["+10.0 ± 0.0", "+11.1", "yes"]
    assert "baseline" not in page.split("## mIoU over baseline")[1]


def test_rows_with_fewer_seeds_are_paired_over_the_common_ones() -> None:
    """Row wo_ct is planned with two of three seeds; row wo_sct with all, of which the full row lacks the last."""
    found = runs(
        TABLE_2,
        full=[run("full", 1, 40.0, 50.0, 70.0, 80.0), run("full", 2, 44.0, 52.0, 70.0, 80.0), None],
        wo_ct=[run("wo_ct", 1, 41.0, 50.0, 70.0, 80.0), run("wo_ct", 2, 46.0, 50.0, 70.0, 80.0), None],
        wo_sct=[run("wo_sct", s, 30.0 + s, 50.0, 70.0, 80.0) for s in (1, 2, 3)],
    )
    found = replace(found, counts={"wo_ct": 2, "full": 2}, teachers=("rooms", "rooms-b", "rooms"))
    data, page = table_json(found, ""), table_markdown(found, "labelfree table 2")
    wo_ct, wo_sct = (data["rows"][name]["statistics"]["miou_2d"] for name in ("wo_ct", "wo_sct"))
    assert (wo_ct["count"], wo_ct["minus_full"]["count"], wo_ct["minus_full"]["mean"]) == (2, 2, 1.5)
    assert (wo_sct["count"], wo_sct["minus_full"]["count"], wo_sct["minus_full"]["mean"]) == (3, 2, -10.5)
    assert line(page, "2D", "wo_ct")[7] == "2"
    assert line(page, "2D", "wo_sct")[7] == "3, 2 pairs"
    assert "7 of 37 runs are done" in page
    assert "teachers rooms (seeds 1, 3) and rooms-b (seeds 2)" in page
    assert data["teachers"] == {"1": "rooms", "2": "rooms-b", "3": "rooms"}


def test_holm_corrects_over_the_rows_of_a_column() -> None:
    """Two rows with t = 5 / (1 / sqrt 3) and t = 2 / (1 / sqrt 3) against the full row; only the first remains."""
    full: list[RunResult | None] = [run("full", s, 40.0, 50.0, 70.0, 80.0) for s in (1, 2, 3)]
    far: list[RunResult | None] = [run("wo_ct", s, 35.0 + s - 2, 50.0, 70.0, 80.0) for s in (1, 2, 3)]
    near: list[RunResult | None] = [run("wo_sct", s, 37.4 + s - 2, 50.0, 70.0, 80.0) for s in (1, 2, 3)]
    rows = table_json(runs(TABLE_2, full=full, wo_ct=far, wo_sct=near), "")["rows"]
    first, second = (rows[name]["statistics"]["miou_2d"]["minus_full"] for name in ("wo_ct", "wo_sct"))
    assert first["p"] == pytest.approx(0.0131, abs=5e-4)  # two degrees of freedom: p = 1 - t / sqrt(t * t + 2)
    assert second["p"] == pytest.approx(0.0462, abs=5e-4)
    assert first["p_holm"] == pytest.approx(2 * first["p"], rel=1e-2)
    assert second["p_holm"] == second["p"]
    assert first["significant_after_holm"]
    assert second["significant_after_holm"]  # the last of the steps needs no correction
    near[0] = run("wo_sct", 1, 39.5, 50.0, 70.0, 80.0)
    second = table_json(runs(TABLE_2, full=full, wo_ct=far, wo_sct=near), "")["rows"]["wo_sct"]
    assert not second["statistics"]["miou_2d"]["minus_full"]["significant_after_holm"]


def test_one_seed_has_no_interval() -> None:
    found = TableRuns(
        TABLE_2, "rooms", (7,), tuple((run(row.name, 7, 10.0, 20.0, 30.0, 40.0),) for row in TABLE_2.rows)
    )
    page = table_markdown(found, "labelfree table 2 --seeds 1")
    assert found.complete
    assert "Not finished" not in page
    assert line(page, "3D", "wo_sct")[1] == "20.0"
    assert line(page, "3D", "wo_sct")[-1] == "–"


def test_both_worlds_beside_the_papers_four_columns() -> None:
    lab = runs(TABLE_1, "rooms", cns=[run("cns", s, 30.0 + s, 40.0, 50.0, 60.0) for s in (1, 2, 3)])
    street = runs(
        TABLE_1,
        "streets",
        cns=[run("cns", s, 21.0, 25.0, 50.0, 60.0) for s in (1, 2, 3)],
        clip2scene=[run("clip2scene", s, None, 19.0, None, 30.0) for s in (1, 2, 3)],
    )
    page = worlds_markdown([lab, street], "labelfree table 1")
    assert page.splitlines()[2].startswith("`labelfree table 1`; mIoU in percent")
    table = [[cell.strip() for cell in text.strip("|").split("|")] for text in page.splitlines() if text[:1] == "|"]
    assert table[0] == [
        "row", "rooms 2D", "paper, ScanNet 2D", "rooms 3D", "paper, ScanNet 3D", "streets 3D", "paper, nuScenes 3D",
        "streets 2D", "paper, nuImages 2D",
    ]  # fmt: skip
    by_row = {cells[0]: cells[1:] for cells in table[2:]}
    assert list(by_row) == [row.name for row in TABLE_1.rows]
    assert by_row["cns"] == ["32.0 ± 2.5", "28.4", "40.0 ± 0.0", "33.5", "25.0 ± 0.0", "26.8", "21.0 ± 0.0", "22.1"]
    assert by_row["clip2scene"] == ["–", "23.7", "–", "25.6", "19.0 ± 0.0", "20.8", "–", "18.6"]
    assert by_row["maskclip"][1::2] == ["17.3", "14.2", "12.8", "14.1"]
    assert "World streets: not finished" in page
