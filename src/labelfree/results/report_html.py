"""HTML elements of the report: page, tables, images and boxes. All text is escaped here."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Collection, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelfree.evaluation.method_results import Table

ASSETS = Path(__file__).parent / "assets"

LARGE_PNG = 400_000
"""Size in bytes above which an image is stored as JPEG."""

Cell = tuple[int, int]
"""Row and column in a table."""

# The browser blocks every request, so the report works offline.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; worker-src blob:; form-action 'none'; base-uri 'none'"
)


def page(title: str, body: Iterable[str], scripts: Iterable[str] = ()) -> str:
    """Return the complete HTML document."""
    style = (ASSETS / "report.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(title)}</title>",
            '<link rel="icon" href="data:,">',
            f"<style>\n{style}</style>",
            "</head>",
            "<body>",
            "<main>",
            *body,
            "</main>",
            *scripts,
            "</body>",
            "</html>",
            "",
        ]
    )


def heading(title: str) -> str:
    """Return the page's title."""
    return f"<h1>{escape(title)}</h1>"


def section(title: str, *parts: str) -> str:
    """Return a section with its heading."""
    return "\n".join(["<section>", f"<h2>{escape(title)}</h2>", *(part for part in parts if part), "</section>"])


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph; `kind` is a style class."""
    return f"<p{_class(kind)}>{escape(text)}</p>" if text else ""


def notice(text: str) -> str:
    """Return a warning box."""
    return f'<div class="notice" role="note"><span aria-hidden="true">!</span><p>{escape(text)}</p></div>'


def details(summary: str, *parts: str) -> str:
    """Return a collapsed section that opens on a click."""
    return "\n".join([f"<details><summary>{escape(summary)}</summary>", *parts, "</details>"])


def code(text: str) -> str:
    """Return a command line as a code block."""
    return f"<pre><code>{escape(text)}</code></pre>"


def figure(
    image: NDArray[np.uint8],  # [H, W, 3]
    caption: str = "",
) -> str:
    """Return an image embedded in the page, with its caption."""
    height, width = image.shape[:2]
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    picture = f'<img src="{data_uri(image)}" width="{width}" height="{height}" alt="{escape(caption)}">'
    return f'<figure><div class="scroll">{picture}</div>{below}</figure>'


def data_uri(image: NDArray[np.uint8]) -> str:
    """Return an image as a data URI: PNG, or JPEG at full colour resolution if the PNG is large."""
    png = _encoded(image, "PNG")
    if len(png) <= LARGE_PNG:
        return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    jpeg = _encoded(image, "JPEG", quality=90, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def table(
    content: Table, kind: str = "", last_is_total: bool = False, bars: bool = False, best: Iterable[Cell] = ()
) -> str:
    """Return a table; `bars` shades percentages by their size, `best` are the (row, column) cells to print bold."""
    marked = frozenset(best)
    lines = [f'<div class="scroll"><table{_class(kind)}>', "<thead><tr>"]
    lines += [f'<th scope="col">{escape(title)}</th>' for title in content.header]
    lines.append("</tr></thead>\n<tbody>")
    for index, row in enumerate(content.rows):
        total = last_is_total and index == len(content.rows) - 1
        lines.append(f"<tr{_class('total' if total else '')}>" + f'<th scope="row">{escape(row[0])}</th>')
        for column, cell in enumerate(row[1:], start=1):
            text = f"<strong>{escape(cell)}</strong>" if (index, column) in marked else escape(cell)
            lines.append(f"<td{_bar(cell) if bars else ''}>{text}</td>")
        lines.append("</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])


def best_of_columns(content: Table, skipped_rows: Collection[int] = ()) -> list[Cell]:
    """Return the cells that hold the largest number of their column; `skipped_rows` are not compared."""
    rows = [row for row in range(len(content.rows)) if row not in skipped_rows]
    return [
        cell for column in range(1, len(content.header)) for cell in _largest(content, [(row, column) for row in rows])
    ]


def best_of_rows(content: Table, skipped_columns: Collection[int] = ()) -> list[Cell]:
    """Return the cells that hold the largest number of their row; `skipped_columns` are not compared."""
    columns = [column for column in range(1, len(content.header)) if column not in skipped_columns]
    return [
        cell for row in range(len(content.rows)) for cell in _largest(content, [(row, column) for column in columns])
    ]


def pairs(rows: Sequence[tuple[str, str]]) -> str:
    """Return a list of names and values."""
    items = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return f"<dl>\n{items}\n</dl>"


def swatches(names: Sequence[str], colours: Sequence[tuple[int, int, int]]) -> str:
    """Return a legend of class colours."""
    items = "".join(
        f'<li><i style="background:rgb({r},{g},{b})"></i>{escape(name)}</li>' for name, (r, g, b) in zip(names, colours)
    )
    return f'<ul class="legend">{items}</ul>'


def json_script(identifier: str, data: Any) -> str:
    """Return data as a JSON script element; `<` is escaped so that no text can close the element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{escape(identifier)}">{text}</script>'


def script(source: str) -> str:
    """Return an inline script."""
    return f"<script>\n{source}\n</script>"


def asset(name: str) -> str:
    """Return the text of a file in `assets/`."""
    return (ASSETS / name).read_text(encoding="utf-8")


def _encoded(image: NDArray[np.uint8], image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=image_format, **options)
    return buffer.getvalue()


def _largest(content: Table, cells: Sequence[Cell]) -> list[Cell]:
    numbers = {(row, column): _number(content.rows[row][column]) for row, column in cells}
    known = [value for value in numbers.values() if value is not None]
    if not known or min(known) == max(known):
        return []
    return [cell for cell, value in numbers.items() if value == max(known)]


def _bar(cell: str) -> str:
    value = _number(cell)
    return "" if value is None else f' class="bar" style="--part:{min(max(value, 0.0), 100.0):.1f}%"'


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _class(kind: str) -> str:
    return f' class="{escape(kind)}"' if kind else ""
