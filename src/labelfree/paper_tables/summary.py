"""The results of a table: per row and modality the values of each seed, and the differences between rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from labelfree.paper_tables.rows import Loss, PaperTable, Row
from labelfree.paper_tables.run_result import RunResult
from labelfree.paper_tables.schedule import Schedule, finished
from labelfree.paper_tables.statistics import Estimate, estimate, paired_difference, sign_agrees

Side = Literal["2d", "3d"]
SIDES: tuple[Side, ...] = ("2d", "3d")
Measure = Literal["miou", "acc"]
Values = tuple[float | None, ...]


@dataclass(frozen=True)
class Difference:
    """One row minus another on the same seeds, and the same difference in the paper."""

    measured: Estimate
    paper: float | None = None

    @property
    def agrees(self) -> bool | None:
        """Return whether its sign is that of the paper's difference; None if the paper has none."""
        return sign_agrees(self.measured.mean, self.paper)


@dataclass(frozen=True)
class TableRuns:
    """The finished runs of a table: for each row one per seed, None for an unfinished run."""

    table: PaperTable
    world: str
    seeds: tuple[int, ...]
    runs: tuple[tuple[RunResult | None, ...], ...]
    loss: Loss = "lab"

    @property
    def complete(self) -> bool:
        """Return whether every run is finished."""
        return all(run is not None for of_row in self.runs for run in of_row)

    def of(self, row: Row) -> tuple[RunResult | None, ...]:
        """Return a row's runs, one per seed."""
        return self.runs[self.table.rows.index(row)]

    def values(self, row: Row, measure: Measure, side: Side) -> Values | None:
        """Return a row's values, one per seed, None for unfinished runs; None if the row lacks the modality."""
        found = self.of(row)
        values = tuple(None if run is None else _number(run, measure, side) for run in found)
        lacks = any(run is not None for run in found) and all(value is None for value in values)
        return None if lacks else values

    def paper(self, row: Row, side: Side) -> float | None:
        """Return the paper's mIoU of a row in percent."""
        printed = row.paper(self.world)
        return printed.miou_2d if side == "2d" else printed.miou_3d

    def mean(self, row: Row, measure: Measure, side: Side) -> Estimate | None:
        """Return a row's mean over the finished seeds; None without any."""
        return estimate([value for value in self.values(row, measure, side) or () if value is not None])

    def difference(self, row: Row, other: str, measure: Measure, side: Side) -> Difference | None:
        """Return a row minus another row, paired by seed; None for the row itself or if either has no values."""
        reference = self.table.row(other)
        mine, theirs = self.values(row, measure, side), self.values(reference, measure, side)
        measured = None if mine is None or theirs is None else paired_difference(mine, theirs)
        if row == reference or measured is None:
            return None
        ours, printed = self.paper(row, side), self.paper(reference, side)
        has_paper = measure == "miou" and ours is not None and printed is not None
        return Difference(measured, round(ours - printed, 1) if has_paper else None)  # type: ignore[operator]

    def commits(self) -> tuple[str, ...]:
        """Return the source revisions that produced the runs."""
        return tuple(dict.fromkeys(run.commit for of_row in self.runs for run in of_row if run is not None))


def table_runs(table: PaperTable, world: str, schedule: Schedule, seeds: Sequence[int]) -> TableRuns:
    """Return the finished runs of a table."""
    runs = tuple(tuple(finished(schedule.job(row, seed)) for seed in seeds) for row in table.rows)
    return TableRuns(table, world, tuple(seeds), runs, schedule.loss)


def _number(run: RunResult, measure: Measure, side: Side) -> float | None:
    measures = run.measures
    match measure, side:
        case "miou", "2d":
            return measures.miou_2d
        case "miou", "3d":
            return measures.miou_3d
        case "acc", "2d":
            return measures.acc_2d
        case _:
            return measures.acc_3d
