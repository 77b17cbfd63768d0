from __future__ import annotations

from labelfree.viewer.page_text import legend, lines, ranking, table
from labelfree.viewer.ranking import RankedSegment
from labelfree.vocabulary import Vocabulary

EVIL = "<img src=x onerror=\"alert('1')\">{alert(2)}\x1b[2J"


def test_nothing_that_comes_from_files_reaches_the_page_unescaped() -> None:
    shown = [
        lines([EVIL]),
        table((EVIL,), [(EVIL,)]),
        legend(Vocabulary((EVIL.replace("\x1b", ""), "wall"))),
        ranking((RankedSegment(0, 0.5, 3),), [EVIL], EVIL),
    ]
    for text in shown:
        assert "<img" not in text
        assert '"alert' not in text
        assert "&lt;img" in text
        assert "\x1b" not in text


def test_a_ranking_lists_label_value_and_size() -> None:
    text = ranking((RankedSegment(7, 0.25, 1234),), ["chair"], "similarity")
    for part in ("chair", "0.250", "1,234", "similarity"):
        assert part in text
