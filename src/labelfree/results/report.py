"""The report: one self-contained HTML file with all results, which works offline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs

from labelfree.evaluation.method_results import (
    MethodResult,
    Table,
    absent_sentence,
    class_table,
    comparison_table,
    confusion_table,
    percent,
)
from labelfree.files.atomic import atomic_file
from labelfree.results import report_html as html
from labelfree.results.cloud_view import CloudView, cloud_payload
from labelfree.results.curves import MetricSeries
from labelfree.results.panels import cloud_panel
from labelfree.results.report_charts import charts
from labelfree.runtime.progress import duration
from labelfree.vocabulary import Vocabulary

NO_TRUTH = (
    "This data has no ground truth, so nothing can be measured. The table lists the share of each class; check the "
    "labels in the images."
)


@dataclass(frozen=True, eq=False)
class PanelFigure:
    """An image of the report, with its title."""

    title: str
    image: NDArray[np.uint8]
    """[H, W, 3]."""


@dataclass(frozen=True)
class ClassShare:
    """The number of pixels or points per class, for data without ground truth."""

    name: str
    counts: tuple[int, ...]
    """Pixels or points per class, in label order."""
    unlabelled: int = 0


@dataclass(frozen=True, eq=False)
class ReportContent:
    """The content of a report; empty parts are left out."""

    title: str
    summary: tuple[str, ...]
    """First paragraphs."""
    notices: tuple[str, ...]
    """Warnings, shown at the top."""
    command: str
    """The command line that produced the results."""
    vocabulary: Vocabulary
    methods: tuple[MethodResult, ...] = ()
    panels: tuple[PanelFigure, ...] = ()
    clouds: tuple[CloudView, ...] = ()
    metrics: tuple[MetricSeries, ...] = ()
    timings: tuple[tuple[str, float], ...] = ()
    """Steps and their durations in seconds."""
    facts: tuple[tuple[str, str], ...] = ()
    """Settings and environment; see `environment_facts`."""
    shares: tuple[ClassShare, ...] = ()
    """Shown if no method has an evaluation; if empty, they are counted in the clouds' label layers."""


def class_share(name: str, labels: Iterable[NDArray[np.uint8]], vocabulary: Vocabulary) -> ClassShare:
    """Return the number of pixels or points per class over any number of images or clouds."""
    found = np.zeros(256, dtype=np.int64)
    for values in labels:
        found += np.bincount(values.ravel(), minlength=256)
    return ClassShare(name, tuple(found[: len(vocabulary)].tolist()), int(found[vocabulary.ignore]))


def write_report(path: str | Path, content: ReportContent) -> None:
    """Write the report as one self-contained HTML file."""
    measured = any(method.modalities() for method in content.methods)
    body = [
        _header(content),
        _comparison(content) if measured else _shares(content),
        _panels(content),
        _clouds(content),
        _per_class(content) if measured else "",
        _curves(content),
        _timings(content),
        _environment(content),
    ]
    text = html.page(content.title, [part for part in body if part], _scripts(content))
    with atomic_file(Path(path)) as file:
        file.write(text.encode("utf-8"))


def _header(content: ReportContent) -> str:
    parts = [f"<header>{html.heading(content.title)}"]
    parts += [html.notice(text) for text in content.notices]
    parts += [html.paragraph(text, "lead") for text in content.summary]
    return "\n".join([*parts, html.swatches(content.vocabulary.names, content.vocabulary.colours), "</header>"])


def _comparison(content: ReportContent) -> str:
    measured = [method for method in content.methods if method.modalities()]
    notes = tuple((method.name, method.note) for method in measured if method.note)
    splits = sorted({e.split for m in measured for _, e in m.modalities() if e.split})
    table = comparison_table(measured)
    bounds = [row for row, method in enumerate(measured) if method.uses_truth]
    data = ", ".join(splits) or "all the data"
    where = f"In percent, from one confusion matrix over {data}. Bold: best value of methods trained without labels."
    return html.section(
        "Methods compared",
        html.table(table, best=html.best_of_columns(table, bounds)),
        html.paragraph(f"{where} {_counted_sentence(measured)}", "note"),
        html.pairs(notes) if notes else "",
    )


def _counted_sentence(methods: Sequence[MethodResult]) -> str:
    units = {"2D": "pixels", "3D": "points"}
    counted = {(modality, e.counted) for m in methods for modality, e in m.modalities()}
    text = " and ".join(f"{count:,} {units[modality]}" for modality, count in sorted(counted))
    gaps = [f"{m.name} {d} {percent(e.unlabelled)} %" for m in methods for d, e in m.modalities() if e.unlabelled > 0]
    missing = f" Without a label, counted as a miss: {', '.join(gaps)}." if gaps else ""
    return f"Counted: {text}.{missing}"


def _shares(content: ReportContent) -> str:
    shares = content.shares or tuple(
        class_share(
            layer.title if len(content.clouds) == 1 else f"{view.name}: {layer.title}",
            [layer.labels],
            content.vocabulary,
        )
        for view in content.clouds
        for layer in view.layers
        if layer.labels is not None
    )
    if not shares:
        return html.section("Results", html.paragraph(NO_TRUTH))
    rows = []
    for label, name in enumerate((*content.vocabulary.names, "no label")):
        counts = [(*share.counts, share.unlabelled) for share in shares]
        rows.append((name, *(percent(column[label] / max(sum(column), 1)) for column in counts)))
    table = Table(("class", *(share.name for share in shares)), tuple(rows))
    return html.section(
        "Share of each class",
        html.paragraph(NO_TRUTH),
        html.table(table, bars=True),
        html.paragraph("In percent.", "note"),
    )


def _panels(content: ReportContent) -> str:
    figures = [html.figure(panel.image, panel.title) for panel in content.panels]
    return html.section("Step by step", *figures) if figures else ""


def _clouds(content: ReportContent) -> str:
    if not content.clouds:
        return ""
    still = cloud_panel(content.clouds, content.vocabulary)
    return html.section(
        "The labelled cloud",
        html.asset("cloud_view.html"),
        html.figure(still, "Still images of the same clouds, seen obliquely from above; ceilings are removed."),
    )


def _per_class(content: ReportContent) -> str:
    columns = []
    bounds = [method.name for method in content.methods if method.uses_truth]
    for modality in ("2D", "3D"):
        table = class_table(content.methods, content.vocabulary, modality)
        if len(table.header) > 1:
            best = html.best_of_rows(table, [i for i, name in enumerate(table.header) if name in bounds])
            drawn = html.table(table, last_is_total=True, bars=True, best=best)
            columns.append(f"<div><h3>IoU in {modality}</h3>{drawn}</div>")
    absent = html.paragraph(absent_sentence(content.methods), "note")
    parts = ['<div class="side">', *columns, "</div>", absent]
    for method in content.methods:
        for modality, evaluation in method.modalities():
            table = confusion_table(evaluation, content.vocabulary)
            heading = f"Confusion matrix: {method.name}, {modality} (rows: ground truth, in percent of the class)"
            parts.append(html.details(heading, html.table(table, kind="confusion", bars=True)))
    return html.section("Per class", *parts)


def _curves(content: ReportContent) -> str:
    drawn = charts(content.metrics)
    note = html.paragraph("The number beside each name is the last value of its curve.", "note")
    return html.section("Training", drawn, note) if drawn else ""


def _timings(content: ReportContent) -> str:
    if not content.timings:
        return ""
    total = sum(seconds for _, seconds in content.timings)
    rows = [(name, duration(seconds), percent(seconds / total if total else 0.0)) for name, seconds in content.timings]
    table = Table(("step", "time", "share, %"), (*rows, ("all", duration(total), percent(1.0))))
    return html.section("Time", html.table(table, kind="narrow", last_is_total=True))


def _environment(content: ReportContent) -> str:
    facts = html.pairs(content.facts) if content.facts else ""
    return html.section("How this was made", html.code(content.command), facts)


def _scripts(content: ReportContent) -> list[str]:
    if not content.clouds:
        return []
    data = [cloud_payload(view, content.vocabulary) for view in content.clouds]
    return [html.script(get_plotlyjs()), html.json_script("clouds", data), html.script(html.asset("cloud_view.js"))]
