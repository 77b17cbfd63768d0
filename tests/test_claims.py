"""benchmarks/claims.py: verdicts on the paper's claims follow from the tables of both losses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.claims import CLAIMS, VERDICTS, Finding, claims_markdown, claims_of, verdict

from labelfree.paper_tables.rows import paper_table
from labelfree.paper_tables.statistics import estimate

FULL = [30.0, 31.0, 29.5, 30.5]


def write_table(path: Path, rows: dict[str, list[float | None]]) -> None:
    path.write_text(json.dumps({"rows": {name: {"miou_2d": list(each)} for name, each in rows.items()}}))


def less(by: float) -> list[float | None]:
    return [value - by + 0.1 * place for place, value in enumerate(FULL)]


def test_rows_of_every_claim_exist() -> None:
    for claim in CLAIMS:
        table = paper_table(claim.table)
        assert table.row(claim.upper) != table.row(claim.lower)


def test_every_pair_of_signs_has_a_verdict() -> None:
    assert len(VERDICTS) == 9
    assert {text.split()[0] for text in VERDICTS.values()} == {"holds", "does"}


@pytest.mark.parametrize(
    ("lab", "paper", "expected"),
    [
        (5.0, 4.0, "holds"),
        (5.0, -4.0, "holds only with the lab's loss"),
        (-5.0, -4.0, "does not hold: the reverse does"),
        (-0.1, 5.0, "holds only with the paper's loss"),
    ],
)
def test_verdicts_follow_the_differences(tmp_path: Path, lab: float, paper: float, expected: str) -> None:
    full: list[float | None] = [*FULL]
    write_table(tmp_path / "table2.json", {"full": full, "wo_refine": less(lab)})
    write_table(tmp_path / "table2-paper.json", {"full": full, "wo_refine": less(paper)})
    (found,) = claims_of(tmp_path)
    assert found["verdict"].startswith(expected)
    assert found["lab"]["mean"] == pytest.approx(lab - 0.15)
    assert expected in claims_markdown([found])


def test_one_loss_alone_gives_no_verdict(tmp_path: Path) -> None:
    write_table(tmp_path / "table2.json", {"full": [*FULL], "wo_refine": less(5)})
    (found,) = claims_of(tmp_path)
    assert found["verdict"] == "not measured with both losses"


def test_rows_with_fewer_seeds_are_paired(tmp_path: Path) -> None:
    write_table(tmp_path / "table2.json", {"full": [*FULL], "wo_refine": less(5)[:3]})
    (found,) = claims_of(tmp_path)
    assert found["lab"]["seeds"] == 3


def test_correction_counts_all_claims_of_a_modality(tmp_path: Path) -> None:
    weak = [29.0, 29.0, 29.5, 29.0]  # p = 0.04 to 0.05 alone
    rows: dict[str, list[float | None]] = {"full": [*FULL], "wo_refine": [*weak]}
    write_table(tmp_path / "table2.json", rows)
    alone = claims_of(tmp_path)[0]["lab"]["p_holm"]
    write_table(tmp_path / "table2.json", rows | {"wo_ct": [30.0, 31.1, 29.5, 30.3]})
    assert claims_of(tmp_path)[0]["lab"]["p_holm"] == pytest.approx(2 * alone, abs=2e-4)


def test_one_seed_is_never_significant() -> None:
    measured = estimate([9.0])
    assert measured is not None
    assert verdict({"lab": Finding(measured, 1.0), "paper": Finding(measured, 1.0)}).startswith("does not hold")
