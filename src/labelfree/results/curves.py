"""Training metrics: `metrics.jsonl` in, curves out."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelfree.errors import InputError

STAGE = "stage"
"""Name of the series that holds the stage; drawn as a line where it changes."""

BOOKKEEPING = frozenset({"epoch", "step"})


@dataclass(frozen=True)
class MetricSeries:
    """One metric over training."""

    name: str
    epochs: tuple[float, ...]
    """Position of each value, in epochs; fractions inside an epoch."""
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.epochs) != len(self.values):
            raise InputError(f"Metric '{self.name}' has {len(self.epochs)} epochs but {len(self.values)} values.")


def read_metrics(path: Path) -> tuple[MetricSeries, ...]:
    """Read every numeric metric of a `metrics.jsonl`, in the order in which they first appear.

    A step written twice, as after a resumed run, counts once: the later line. A torn last line is left out.
    """
    lines: dict[tuple[float, float], dict[str, Any]] = {}
    for record in _records(path):
        position = (float(record["epoch"]), float(record.get("step", 0)))
        lines[position] = {**lines.get(position, {}), **record}
    names = dict.fromkeys(
        name for record in lines.values() for name, value in record.items() if _is_metric(name, value)
    )
    ordered = [lines[position] for position in sorted(lines)]
    return tuple(_series(name, [record for record in ordered if name in record]) for name in names)


def _records(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"{path}: no such metrics file; train first.")
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            float(record["epoch"])
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            if number == len(lines) and not text.endswith("\n"):
                break
            raise InputError(
                f"{path}: line {number} is not a JSON object with a number 'epoch'; remove the line."
            ) from error
        records.append(record)
    return records


def _series(name: str, records: list[dict[str, Any]]) -> MetricSeries:
    per_epoch: dict[float, list[float]] = defaultdict(list)
    for record in records:
        if _is_metric(name, record[name]):
            per_epoch[float(record["epoch"])].append(float(record[name]))
    # The fullest epoch tells how many values an epoch has, since the last one may still be running.
    most = max(len(values) for values in per_epoch.values())
    epochs = [epoch + i / most for epoch, values in per_epoch.items() for i in range(len(values))]
    return MetricSeries(name, tuple(epochs), tuple(value for values in per_epoch.values() for value in values))


def _is_metric(name: str, value: Any) -> bool:
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    return name not in BOOKKEEPING and numeric and math.isfinite(value)
