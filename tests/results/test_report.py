from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from helpers.results_room import VOCABULARY, guess, room, room_view
from labelfree.evaluation.confusion import evaluate_labels
from labelfree.evaluation.method_results import MethodResult
from labelfree.results.curves import MetricSeries
from labelfree.results.environment import environment_facts
from labelfree.results.report import PanelFigure, ReportContent, class_share, write_report
from labelfree.results.report_html import data_uri
from labelfree.runtime.progress import duration

_, TRUTH = room()
VOID = {"meta", "link", "img", "br", "input"}


class Checker(HTMLParser):
    """Collects the page's text, and fails on tags that do not close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.links: list[str | None] = []
        self.raw = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attributes if name in {"src", "href", "srcset", "action"}]
        if tag not in VOID and tag not in {"polyline", "line", "circle"}:
            self.open.append(tag)
        self.raw = tag in {"script", "style"}

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.raw = False

    def handle_data(self, data: str) -> None:
        if not self.raw:
            self.text.append(data)


def checked(path: Path) -> Checker:
    checker = Checker()
    checker.feed(path.read_text(encoding="utf-8").replace(get_plotlyjs(), ""))
    assert not checker.open
    return checker


def content(**changes: Any) -> ReportContent:
    basic: dict[str, Any] = {
        "title": "A room & <its> chairs",
        "summary": ("First lines.",),
        "notices": ("The names come from tiny teachers.",),
        "command": "labelfree demo --seed 3",
        "vocabulary": VOCABULARY,
    }
    return ReportContent(**(basic | changes))


def measured(name: str, wrong: float, **kwargs: Any) -> MethodResult:
    result = evaluate_labels([(TRUTH, guess(TRUTH, wrong))], VOCABULARY, "one room")
    return MethodResult(name, result, result, **kwargs)


def test_bare_report_says_that_there_is_no_truth(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", content())
    page = checked(tmp_path / "report.html")
    text = " ".join(page.text)
    assert "A room & <its> chairs" in text
    assert "This data has no ground truth" in text
    assert text.index("tiny teachers") < text.index("First lines")
    assert (tmp_path / "report.html").stat().st_size < 40_000
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_full_report_holds_everything_and_points_nowhere(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    write_report(
        tmp_path / "report.html",
        content(
            methods=(measured("clip", 0.7, note="raw"), measured("cns", 0.2), measured("oracle", 0.1, uses_truth=True)),
            panels=(PanelFigure("some frames", picture),),
            clouds=(room_view(ceiling=True, name="</script><b>odd name"),),
            metrics=(MetricSeries("ce_2d", (0.0, 1.0), (2.0, 1.0)),),
            timings=(("label", 61.0), ("train", 200.0)),
            facts=(("seed", "3"), *environment_facts()),
        ),
    )
    page = checked(tmp_path / "report.html")
    text = " ".join(page.text)
    for words in (
        "Methods compared",
        "one room",
        "some frames",
        "IoU in 3D",
        "Confusion matrix: cns, 2D",
        "ce over epochs",
    ):
        assert words in text or words in (tmp_path / "report.html").read_text(encoding="utf-8"), words
    assert "1 min 01 s" in text
    assert "no ground truth" not in text
    assert all(link is not None and link.startswith("data:") for link in page.links)


def test_bold_is_the_best_without_labels(tmp_path: Path) -> None:
    methods = (measured("clip", 0.7), measured("cns", 0.2), measured("oracle", 0.0, uses_truth=True))
    write_report(tmp_path / "report.html", content(methods=methods))
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    table = source[source.index("Methods compared") : source.index("</table>")]
    rows = {row.split("<")[0]: row.count("<strong>") for row in table.split('<th scope="row">')[1:]}
    assert rows == {"clip": 0, "cns": 6, "oracle": 0}


def test_shares_count_pixels_and_name_the_unlabelled(tmp_path: Path) -> None:
    share = class_share("frames", [np.array([[0, 0], [1, 255]], np.uint8)], VOCABULARY)
    assert (share.counts, share.unlabelled) == ((2, 1, 0, 0), 1)
    write_report(tmp_path / "report.html", content(shares=(share,)))
    text = " ".join("".join(checked(tmp_path / "report.html").text).split())
    assert re.search(r"wall ?50.0.*floor ?25.0.*no label ?25.0", text)


def test_large_pictures_become_jpeg() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (500, 500, 3), dtype=np.uint8)
    assert data_uri(noise).startswith("data:image/jpeg;base64,")
    assert data_uri(noise[:20, :20]).startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.21, "4.2 s"), (59.9, "59.9 s"), (200, "3 min 20 s"), (7530, "2 h 05 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_environment_names_versions() -> None:
    facts = dict(environment_facts())
    assert "numpy" in facts["packages"]
    assert facts["python"].startswith("3.")
