"""benchmarks/check_numbers.py finds each number of the pages that differs from its JSON file."""

from __future__ import annotations

import json
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # `benchmarks` is not part of the package
numbers = import_module("benchmarks.check_numbers")

PAGE = """# Results 1.5

Use `--rate=0.5`.

<!-- sources: t = table.json, runs = runs/*/result.json -->

System a reaches 3.0 ± 2.5 / 4.0, which is 1.0 ±
  0.0 more than b. One more run: -2.0 to 8.0. It took 10 to 30 s.
<!-- numbers, integers too: t/a/miou; t/a/other; t/a/miou - t/b/miou; low(t/a/miou); high(t/a/miou);
     smallest(runs/seconds); largest(runs/seconds) -->

- The other is 4.00, with a rate of 0.5. A tuning run gave 9.9.
  <!-- numbers: t/a/other; setting; not_kept -->

| system | score | pair | − a |
|---|---|---|---|
| **A** | 3.0 | 3.0 / 4.0 |  |
| b | 2.0 | 2.0 / – | -1.0 |
| `c` (no score) | – | – / – | – |
<!-- numbers: rows[a, b, c] t/{row}/miou | t/{row}/miou; t/{row}/other | t/{row}/miou - t/a/miou -->
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    rows = {"a": {"miou": [2, 3, 4], "other": 4.0}, "b": {"miou": [1, 2, 3]}, "c": {"miou": [None, None, None]}}
    (tmp_path / "table.json").write_text(json.dumps({"rows": rows}))
    for seed, seconds in enumerate((10.2, 30.4, 20.0)):
        (tmp_path / "runs" / str(seed)).mkdir(parents=True)
        (tmp_path / "runs" / str(seed) / "result.json").write_text(json.dumps({"seconds": seconds}))
    (tmp_path / "page.md").write_text(PAGE)
    return tmp_path / "page.md"


def problems(page: Path) -> list[str]:
    return list(numbers.check_page(page, page.parent))


@pytest.mark.parametrize("page_name", numbers.PAGES)
def test_the_pages_agree_with_their_files(page_name: str) -> None:
    assert numbers.check_page(ROOT / page_name) == []


def test_a_page_that_agrees(page: Path) -> None:
    assert problems(page) == []


def test_every_changed_digit_is_found(page: Path) -> None:
    not_results = r"<!--.*?-->|# Results 1\.5|--rate=0\.5|rate of 0\.5|gave 9\.9"
    checked = re.sub(not_results, lambda match: "." * len(match[0]), PAGE, flags=re.DOTALL)
    digits = [match.start() for match in re.finditer(r"\d", checked)]
    assert len(digits) == 33
    for digit in digits:
        page.write_text(PAGE[:digit] + str((int(PAGE[digit]) + 5) % 10) + PAGE[digit + 1 :])
        assert len(problems(page)) == 1


def test_a_changed_file_is_found_and_written(page: Path) -> None:
    path = page.parent / "table.json"
    path.write_text(path.read_text().replace("[2, 3, 4]", "[3, 4, 5]"))
    assert [line.split(": ", 1)[1] for line in problems(page)] == [
        "3.0 ± 2.5, expected 4.0 ± 2.5",
        "1.0 ± 0.0, expected 2.0 ± 0.0",
        "-2.0, expected -1.0",
        "8.0, expected 9.0",
        *["3.0, expected 4.0"] * 2,
        "-1.0, expected -2.0",
    ]
    numbers.check_page(page, page.parent, write=True)
    assert problems(page) == []
    assert "reaches 4.0 ± 2.5 / 4.0, which is 2.0 ±\n  0.0 more" in page.read_text()
    assert "| b | 2.0 | 2.0 / – | -2.0 |" in page.read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Use `--rate", "It is 7.1. Use `--rate", "page.md:3: 7.1 has no source"),
        ("-->\n\n- The", "-->\n\nAnother 7.1.\n\n- The", "page.md:12: 7.1 has no source"),
        ("t/{row}/miou - t/a/miou -->\n", "t/{row}/miou - t/a/miou -->\n\nThe end 7.1\n", "7.1 has no source"),
        ("; setting; not_kept", "; setting", "the marker has 2 items for 3 numbers: 4.00, 0.5, 9.9"),
        ("low(t/a/miou)", "low(t/a/moiu)", "there is no value"),
        ("; t/a/other;", "; t/a/othre;", "4.0, expected –"),
        ("t/a/other; setting", "u/a/other; setting", "'u/a/other' begins with none of the sources t, runs"),
        ("t = table.json", "t = tabel.json", "source 't', tabel.json, is missing"),
        ("rows[a, b, c]", "rows[a, b]", "rows[...] names 2 rows of 3"),
        (" | t/{row}/miou - t/a/miou -->", " -->", "the marker has 2 columns for the 3 of row 'a'"),
        ("reaches 3.0 ± 2.5 / 4.0", "reaches 3.0 ± 2.5 / 4.0 ± 0.1", "has a ± but its source has one value"),
    ],
)
def test_what_is_missing_is_named(page: Path, old: str, new: str, message: str) -> None:
    text = page.read_text()
    assert old in text
    page.write_text(text.replace(old, new, 1))
    assert message in "\n".join(problems(page))


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("best(t/a, t/b)", [3, 5]),
        ("t/a - best(t/a, t/b)", [0, -2]),
        ("first(t/none, t/b)", [1, 5]),
        ("later(t/a - t/b)", [-2]),
        ("percent(t/a)", [300, 300]),
        ("beside(t/none, t/a)", []),
        ("beside(t/a, t/b - t/a)", [-2, 2]),
        ("t/runs/row=x/score", [1, 2]),
        ("t/runs/score/1", [2]),
        ("t/a/1", [3]),
        ("largest(t/a - t/b)", [2]),
        ("t/label (old)/0", [4]),
    ],
)
def test_expressions(tmp_path: Path, item: str, expected: list[float]) -> None:
    runs = [{"row": "x", "score": [1, 2]}, {"row": "y", "score": [3, 4]}]
    data = {"a": [3, 3], "b": [1, 5], "none": [None, None], "runs": runs[:1], "label (old)": [4, 5]}
    (tmp_path / "t.json").write_text(json.dumps(data))
    assert numbers.Sources(tmp_path, "t = t.json").values(item) == expected
