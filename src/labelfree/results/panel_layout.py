"""Layout of images in a titled grid with a legend of class colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from labelfree.errors import InputError
from labelfree.vocabulary import Vocabulary

PAPER = (255, 255, 255)
INK = (28, 32, 38)
FAINT = (232, 234, 238)
GAP = 6
MARGIN = 12
TEXT_SIZE = 14
HEADER_SIZE = 18
LINE = 22
SWATCH = 13

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, eq=False)
class PanelRow:
    """A row of the grid: its name and one image, or None, per column."""

    name: str
    cells: tuple[NDArray[np.uint8] | None, ...]
    """Each [H, W, 3], any size."""


@dataclass(frozen=True)
class LegendEntry:
    """A colour of the legend and its text."""

    text: str
    colour: tuple[int, int, int]


def legend_of(labels: Sequence[NDArray[np.uint8]], vocabulary: Vocabulary) -> tuple[LegendEntry, ...]:
    """Return a legend entry for each class that occurs in the label maps, and for missing labels if there are any."""
    found = np.zeros(256, dtype=np.int64)
    for values in labels:
        found += np.bincount(values.ravel(), minlength=256)
    entries = [LegendEntry(n, c) for i, (n, c) in enumerate(zip(vocabulary.names, vocabulary.colours)) if found[i]]
    if found[vocabulary.ignore]:
        red, green, blue = vocabulary.palette()[vocabulary.ignore].tolist()
        entries.append(LegendEntry("no label", (red, green, blue)))
    return tuple(entries)


def compose(
    titles: Sequence[str],
    rows: Sequence[PanelRow],
    legend: Sequence[LegendEntry],
    header: str = "",
    cell_width: int = 224,
) -> NDArray[np.uint8]:  # [H, W, 3]
    """Return the grid as an image: header, column titles, rows with their names, legend; empty cells are grey.

    Raises an `InputError` if there is no row, or if a row has no image or another number of cells than `titles`.
    """
    if not rows or any(len(row.cells) != len(titles) for row in rows):
        raise InputError(f"A panel needs rows of {len(titles)} cells each, one per column title.")
    # Sizes
    font = ImageFont.load_default(size=TEXT_SIZE)
    heights = [_cell_height(row, cell_width) for row in rows]
    width = 2 * MARGIN + len(titles) * (cell_width + GAP) - GAP
    lines = _wrap(legend, font, width - 2 * MARGIN)
    head = MARGIN + (LINE + 6 if header else 0)
    height = head + LINE + sum(heights) + len(rows) * (LINE + GAP) + len(lines) * LINE + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    # Header and column titles
    if header:
        draw.text((MARGIN, MARGIN - 2), header, fill=INK, font=ImageFont.load_default(size=HEADER_SIZE))
    for column, title in enumerate(titles):
        centre = MARGIN + column * (cell_width + GAP) + cell_width / 2
        draw.text((centre, head + LINE / 2), _fitted(title, font, cell_width), fill=INK, font=font, anchor="mm")
    # Rows
    top = head + LINE
    for row, row_height in zip(rows, heights):
        for column, cell in enumerate(row.cells):
            _paste(sheet, cell, (MARGIN + column * (cell_width + GAP), top), (cell_width, row_height))
        draw.text((MARGIN, top + row_height + LINE / 2), row.name, fill=(96, 104, 114), font=font, anchor="lm")
        top += row_height + LINE + GAP
    # Legend
    for line in lines:
        _draw_legend_line(draw, line, font, top)
        top += LINE
    return np.asarray(sheet)


def _cell_height(row: PanelRow, cell_width: int) -> int:
    shapes = [cell.shape for cell in row.cells if cell is not None]
    if not shapes:
        raise InputError(f"Panel row '{row.name}' has no image.")
    return max(1, round(cell_width * shapes[0][0] / shapes[0][1]))


def _paste(sheet: Image.Image, cell: NDArray[np.uint8] | None, corner: tuple[int, int], size: tuple[int, int]) -> None:
    if cell is None:
        sheet.paste(FAINT, (*corner, corner[0] + size[0], corner[1] + size[1]))
        return
    # Enlarged label maps keep hard borders; reduced ones are averaged.
    method = Image.Resampling.NEAREST if cell.shape[1] < size[0] else Image.Resampling.BOX
    sheet.paste(Image.fromarray(cell).resize(size, method), corner)


def _wrap(legend: Sequence[LegendEntry], font: Font, width: int) -> list[list[tuple[float, LegendEntry]]]:
    """Return the legend entries as lines of (left offset, entry)."""
    lines: list[list[tuple[float, LegendEntry]]] = []
    left = float(width)
    for entry in legend:
        needed = SWATCH + 6 + font.getlength(entry.text) + 18
        if left + needed > width or not lines:
            lines.append([])
            left = 0.0
        lines[-1].append((left, entry))
        left += needed
    return lines


def _draw_legend_line(
    draw: ImageDraw.ImageDraw, line: Sequence[tuple[float, LegendEntry]], font: Font, top: int
) -> None:
    middle = top + LINE / 2
    for offset, entry in line:
        left = MARGIN + offset
        box = (left, middle - SWATCH / 2, left + SWATCH, middle + SWATCH / 2)
        draw.rounded_rectangle(box, radius=3, fill=entry.colour)
        draw.text((left + SWATCH + 6, middle), entry.text, fill=INK, font=font, anchor="lm")


def _fitted(text: str, font: Font, width: int) -> str:
    """Return a text that fits a width, shortened with dots if needed."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
