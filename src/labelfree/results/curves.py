"""Training curves, read from `metrics.jsonl`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelfree.errors import InputError
from labelfree.files.metrics import is_number, parse_record, read_lines

STAGE = "stage"
"""Name of the series with the training stage; charts show its changes as vertical lines."""

BOOKKEEPING = frozenset({"epoch", "step"})


@dataclass(frozen=True)
class MetricSeries:
    """The values of one metric during training."""

    name: str
    epochs: tuple[float, ...]
    """Position of each value, in epochs; fractions inside an epoch."""
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.epochs) != len(self.values):
            raise InputError(f"Metric '{self.name}' has {len(self.epochs)} epochs but {len(self.values)} values.")


def read_metrics(path: Path) -> tuple[MetricSeries, ...]:
    """Return every numeric metric of a `metrics.jsonl`, in order of first appearance.

    Of a step that was written twice, the later line counts. An incomplete last line is ignored. Raises an
    `InputError` if the file is missing, unreadable or damaged.
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
    try:
        lines = list(read_lines(path))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such metrics file; train first.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions.") from error
    records = []
    for number, line in lines:
        record = parse_record(line)
        if record is not None:
            records.append(record)
        elif number < len(lines) or line.endswith(b"\n"):
            raise InputError(f"{path}: line {number} is not a JSON object with a number 'epoch'; remove the line.")
    return records


def _series(name: str, records: list[dict[str, Any]]) -> MetricSeries:
    per_epoch: dict[float, list[float]] = defaultdict(list)
    for record in records:
        if _is_metric(name, record[name]):
            per_epoch[float(record["epoch"])].append(float(record[name]))
    # The longest epoch gives the number of values per epoch, since the last one may be incomplete.
    most = max(len(values) for values in per_epoch.values())
    epochs = [epoch + i / most for epoch, values in per_epoch.items() for i in range(len(values))]
    return MetricSeries(name, tuple(epochs), tuple(value for values in per_epoch.values() for value in values))


def _is_metric(name: str, value: Any) -> bool:
    return name not in BOOKKEEPING and is_number(value)
