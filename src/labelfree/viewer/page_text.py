"""The texts of the page as HTML, in which everything that comes from files or users is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from labelfree.errors import printable
from labelfree.viewer.ranking import RankedSegment
from labelfree.vocabulary import Vocabulary

MOST_ROWS = 8
STYLE = "font-size:0.85em;line-height:1.35;padding:0 1em 0.4em 1em;overflow-wrap:anywhere"


def plain(text: object) -> str:
    """Return text with control characters shown and HTML escaped."""
    return escape(printable(text), quote=True)


def lines(texts: Sequence[str]) -> str:
    """Return paragraphs of plain text."""
    return f'<div style="{STYLE}">' + "".join(f"<div>{plain(text)}</div>" for text in texts) + "</div>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a small table of plain text."""
    head = "".join(f'<th style="text-align:left">{plain(cell)}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{plain(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div style="{STYLE}"><table style="width:100%"><tr>{head}</tr>{body}</table></div>'


def legend(vocabulary: Vocabulary) -> str:
    """Return the classes with their colours."""
    swatches = (
        f'<span style="white-space:nowrap;margin-right:0.8em"><span style="display:inline-block;width:0.8em;'
        f'height:0.8em;background:rgb({int(r)},{int(g)},{int(b)})"></span> {plain(name)}</span>'
        for name, (r, g, b) in zip(vocabulary.names, vocabulary.colours)
    )
    return f'<div style="{STYLE}">' + " ".join(swatches) + "</div>"


def ranking(found: Sequence[RankedSegment], names: Sequence[str], what: str) -> str:
    """Return the first segments of a ranking with the class of each; `what` heads their values."""
    rows = [
        (f"{place}", name, f"{each.mean:.3f}", f"{each.points:,}")
        for place, (each, name) in enumerate(zip(found[:MOST_ROWS], names), start=1)
    ]
    return table(("", "label", what, "points"), rows)
