"""Training curves as inline SVG: one chart per metric, with its 2D and 3D values together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from labelfree.results.curves import STAGE, MetricSeries

WIDTH, HEIGHT = 340, 200
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 30, 34

MAX_DRAWN = 300
"""Largest number of values drawn per curve; longer curves are averaged in bins."""

SMOOTHED = 40
"""Bins of the bold curve that is drawn over the faint curve of a long series."""

SUFFIXES = ("_2d", "_3d")


def charts(metrics: Sequence[MetricSeries]) -> str:
    """Return the charts of all metrics, with a dashed line where a training stage begins."""
    stages = stage_starts(metrics)
    groups: dict[str, list[MetricSeries]] = {}
    for series in metrics:
        if series.name != STAGE and series.values:
            groups.setdefault(_base_name(series.name), []).append(series)
    drawn = "\n".join(_chart(name, group, stages) for name, group in groups.items())
    return f'<div class="charts">\n{drawn}\n</div>' if drawn else ""


def stage_starts(metrics: Sequence[MetricSeries]) -> tuple[tuple[float, int], ...]:
    """Return (epoch, stage) for each change of the `stage` series after its first value."""
    found: list[tuple[float, int]] = []
    for series in metrics:
        if series.name == STAGE:
            steps = zip(series.epochs[1:], series.values, series.values[1:])
            found += [(epoch, int(after)) for epoch, before, after in steps if after != before]
    return tuple(found)


def nice_ticks(low: float, high: float, count: int = 4) -> tuple[float, ...]:
    """Return about `count` round numbers (1, 2 or 5 times a power of ten apart) that span low to high."""
    if high <= low:
        low, high = low - max(abs(low), 1.0) * 0.5, high + max(abs(high), 1.0) * 0.5
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(i * step, 12) for i in range(first, last + 1))


def binned(series: MetricSeries, limit: int = MAX_DRAWN) -> list[tuple[float, float]]:
    """Return the (epoch, value) points of a curve, averaged in equal bins so that at most `limit` remain."""
    points = list(zip(series.epochs, series.values))
    size = math.ceil(len(points) / limit)
    runs = [points[i : i + size] for i in range(0, len(points), max(size, 1))]
    return [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]


def _chart(name: str, group: Sequence[MetricSeries], stages: Sequence[tuple[float, int]]) -> str:
    curves = [binned(series) for series in group]
    bold = [binned(series, SMOOTHED) if len(series.values) > 2 * SMOOTHED else [] for series in group]
    xs = [x for curve in curves for x, _ in curve]
    ys = [y for curve in curves for _, y in curve]
    x_ticks, y_ticks = nice_ticks(min(0.0, min(xs)), max(xs)), nice_ticks(min(ys), max(ys))
    frame = _Frame(x_ticks[0], max(max(xs), x_ticks[1]), y_ticks[0], y_ticks[-1])
    title = name.replace("_", " ")
    lines = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)} over epochs">',
        f'<text class="title" x="{LEFT}" y="16">{escape(title)}</text>',
        *_grid(frame, x_ticks, y_ticks),
        *(_stage_mark(frame, epoch, stage) for epoch, stage in stages if epoch <= frame.right),
        *(_curve(frame, curve, f"s{i % 6} faint" if bold[i] else f"s{i % 6}") for i, curve in enumerate(curves)),
        *(_curve(frame, curve, f"s{i % 6}") for i, curve in enumerate(bold) if curve),
        *_key(group),
        "</svg>",
    ]
    return "\n".join(lines)


class _Frame:
    """The mapping from values to chart coordinates."""

    def __init__(self, left: float, right: float, bottom: float, top: float) -> None:
        self.left, self.right, self.bottom, self.top = left, right, bottom, top

    def x(self, value: float) -> float:
        return LEFT + (value - self.left) / (self.right - self.left) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.bottom) / (self.top - self.bottom) * (HEIGHT - TOP - BOTTOM)


def _grid(frame: _Frame, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> list[str]:
    right, base = WIDTH - RIGHT, HEIGHT - BOTTOM
    lines = []
    for tick in y_ticks:
        y = frame.y(tick)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{tick:g}</text>')
    lines += [
        f'<text class="tick" x="{frame.x(tick):.1f}" y="{base + 14}" text-anchor="middle">{tick:g}</text>'
        for tick in x_ticks
        if tick <= frame.right
    ]
    lines.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{base}" y2="{base}"/>')
    lines.append(f'<text class="tick" x="{(LEFT + right) / 2}" y="{HEIGHT - 5}" text-anchor="middle">epoch</text>')
    return lines


def _curve(frame: _Frame, curve: Sequence[tuple[float, float]], kind: str) -> str:
    places = [(frame.x(x), frame.y(y)) for x, y in curve]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2"/>' for x, y in places) if len(places) <= 25 else ""
    return f'<g class="series {kind}"><polyline points="{path}"/>{dots}</g>'


def _stage_mark(frame: _Frame, epoch: float, stage: int) -> str:
    x = frame.x(epoch)
    line = f'<line class="stage" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
    return line + f'<text class="tick" x="{x + 4:.1f}" y="{TOP + 9}">stage {stage}</text>'


def _key(group: Sequence[MetricSeries]) -> list[str]:
    """Return the names and last values of the curves at the upper right, the last curve rightmost."""
    items = []
    right = float(WIDTH - RIGHT)
    for index in reversed(range(len(group))):
        suffix = next((s[1:].upper() for s in SUFFIXES if group[index].name.endswith(s)), "")
        text = f"{suffix} {group[index].values[-1]:.3g}".strip()
        items.append(f'<text class="key s{index % 6}" x="{right:.0f}" y="16" text-anchor="end">{text}</text>')
        right -= 7.0 * len(text) + 12
    return items


def _base_name(name: str) -> str:
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name
