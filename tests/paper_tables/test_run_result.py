"""Results of runs: a damaged one is no result, and those of older versions are."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from helpers.damage import single_bit_flips
from labelfree.paper_tables.run_result import RESULT, Measures, RunResult, read_result, write_result

RUN = RunResult("0f" * 8, "full", 3, "abc", Measures(26.3925, 24.5, None, 52.5, 12.5, {"iou": {10: 0.5, 9: 0.25}}))


def test_a_flipped_bit_never_gives_another_result(tmp_path: Path) -> None:
    write_result(tmp_path, RUN)
    intact = read_result(tmp_path)
    assert intact is not None
    assert intact == RUN
    assert intact.measures.details == {"iou": {"10": 0.5, "9": 0.25}}
    for damage in single_bit_flips(tmp_path / RESULT, 120):
        found = read_result(tmp_path)
        assert found is None or asdict(found) == asdict(intact), damage


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("miou_2d", 26.4, True),
        ("miou_2d", None, True),
        ("miou_2d", 264.0, False),
        ("acc_3d", float("nan"), False),
        ("acc_2d", "12", False),
        ("seconds", True, False),
        ("details", [], False),
    ],
)
def test_results_without_a_checksum_have_their_ranges(tmp_path: Path, name: str, value: object, known: bool) -> None:
    stated = asdict(RUN)
    stated["measures"][name] = value
    (tmp_path / RESULT).write_text(json.dumps(stated))
    assert (read_result(tmp_path) is not None) == known


@pytest.mark.parametrize("text", ["[1]", "null", "[" * 100_000, '{"key": 1}'])
def test_what_is_no_result_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / RESULT).write_text(text)
    assert read_result(tmp_path) is None


def test_committed_results_are_recognised() -> None:
    found = list((Path(__file__).parents[2] / "results").rglob(RESULT))
    assert found
    assert all(read_result(path.parent) is not None for path in found)
