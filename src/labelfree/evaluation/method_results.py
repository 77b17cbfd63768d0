"""Results of several methods as tables: comparison, IoU per class and confusion matrix, in Markdown and plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from labelfree.evaluation.confusion import Evaluation
from labelfree.vocabulary import Vocabulary

MISSING = "–"
"""Printed in place of a missing value."""


@dataclass(frozen=True, eq=False)
class MethodResult:
    """One row of the results: a method and its evaluation in each modality."""

    name: str
    evaluation_2d: Evaluation | None = None
    evaluation_3d: Evaluation | None = None
    note: str = ""
    """Short description of the method."""
    uses_truth: bool = False
    """Whether it is an upper bound trained on ground truth; it is shown, but never marked as the best."""

    def modalities(self) -> tuple[tuple[str, Evaluation], ...]:
        """Return the evaluations that exist, with their short names."""
        both = (("2D", self.evaluation_2d), ("3D", self.evaluation_3d))
        return tuple((name, evaluation) for name, evaluation in both if evaluation is not None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON: mIoU first, then all values."""
        data: dict[str, Any] = {
            f"miou_{name.lower()}": evaluation.to_dict()["miou"] for name, evaluation in self.modalities()
        }
        data |= {f"evaluation_{name.lower()}": evaluation.to_dict() for name, evaluation in self.modalities()}
        return data | ({"note": self.note} if self.note else {})


@dataclass(frozen=True)
class Table:
    """A table of text cells; the first column is left-aligned, the others right-aligned."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the table in Markdown, with padded columns."""
        widths = [max(3, *(len(row[i]) for row in (self.header, *self.rows))) for i in range(len(self.header))]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = [_line(self.header, widths), "| " + " | ".join(rule) + " |"]
        return "\n".join(lines + [_line(row, widths) for row in self.rows])


def percent(value: float) -> str:
    """Return a share 0..1 in percent with one decimal; a dash for `nan`."""
    return MISSING if math.isnan(value) else f"{100 * value:.1f}"


def comparison_table(methods: Sequence[MethodResult]) -> Table:
    """Return one row per method: mIoU, accuracy and mean accuracy in 2D and 3D, in percent."""
    measures = (("mIoU", "miou"), ("acc", "accuracy"), ("mean acc", "mean_accuracy"))
    header = ("method", *(f"{title} {modality}" for title, _ in measures for modality in ("2D", "3D")))
    rows = []
    for method in methods:
        pair = (method.evaluation_2d, method.evaluation_3d)
        cells = [MISSING if e is None else percent(getattr(e, field)) for _, field in measures for e in pair]
        rows.append((method.name, *cells))
    return Table(header, tuple(rows))


def class_table(methods: Sequence[MethodResult], vocabulary: Vocabulary, modality: str) -> Table:
    """Return IoU per class in percent in "2D" or "3D": a column per method evaluated there, the mean as last row."""
    columns = [
        (method.name, evaluation) for method in methods for m, evaluation in method.modalities() if m == modality
    ]
    rows = [(name, *(percent(evaluation.iou[name]) for _, evaluation in columns)) for name in vocabulary.names]
    rows.append(("mean", *(percent(evaluation.miou) for _, evaluation in columns)))
    return Table(("class", *(title for title, _ in columns)), tuple(rows))


def confusion_table(evaluation: Evaluation, vocabulary: Vocabulary) -> Table:
    """Return the confusion matrix; each row is in percent of its ground-truth class."""
    header = ("ground truth \\ prediction", *vocabulary.names, "no label")
    rows = []
    for name, counts in zip(vocabulary.names, evaluation.confusion):
        total = int(counts.sum())
        rows.append((name, *(percent(int(count) / total) if total else MISSING for count in counts)))
    return Table(header, tuple(rows))


def absent_sentence(methods: Sequence[MethodResult]) -> str:
    """Return a sentence that names the classes left out of each mean; empty if there are none."""
    left_out: dict[tuple[str, ...], list[str]] = {}
    for method in methods:
        for modality, evaluation in method.modalities():
            if evaluation.absent:
                left_out.setdefault(evaluation.absent, []).append(f"{method.name} {modality}")
    parts = [f"{', '.join(names)} ({', '.join(where)})" for names, where in left_out.items()]
    return f"In neither ground truth nor prediction, so left out of the mean: {'; '.join(parts)}." if parts else ""


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cells[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:]))]
    return "| " + " | ".join(padded) + " |"
