"""The results of a table: per row and modality the values of each seed, and the differences between rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from labelfree.paper_tables.rows import Loss, PaperTable, Row
from labelfree.paper_tables.run_result import RunResult
from labelfree.paper_tables.schedule import Schedule, finished
from labelfree.paper_tables.statistics import LEVEL, Estimate, estimate, holm, paired_difference, sign_agrees

Side = Literal["2d", "3d"]
SIDES: tuple[Side, ...] = ("2d", "3d")
Measure = Literal["miou", "acc"]
Values = tuple[float | None, ...]


@dataclass(frozen=True)
class Difference:
    """One row minus another on the same seeds, and the same difference in the paper."""

    measured: Estimate
    paper: float | None = None
    p_holm: float | None = None
    """p-value after Holm's correction over all rows, for a difference from the full row in one measure and modality."""

    @property
    def significant(self) -> bool | None:
        """Return whether it differs from zero after Holm's correction; None if it was not corrected."""
        return None if self.p_holm is None else self.p_holm < 1 - LEVEL

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
    counts: Mapping[str, int] = field(default_factory=dict)
    """Number of the first seeds that a row is run with, for rows that are not run with all of them."""
    teachers: tuple[str, ...] = ()
    """Names of the teachers of each seed."""

    @property
    def planned(self) -> int:
        """Return the number of runs of the whole table."""
        return sum(self.counts.get(row.name, len(self.seeds)) for row in self.table.rows)

    @property
    def done(self) -> int:
        """Return the number of finished runs."""
        return sum(run is not None for of_row in self.runs for run in of_row)

    @property
    def complete(self) -> bool:
        """Return whether every run is finished."""
        return self.done == self.planned

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
        paper = round(ours - printed, 1) if has_paper else None  # type: ignore[operator]
        corrected = self._corrected(measure, side) if other == self.table.full else {}
        return Difference(measured, paper, corrected.get(row.name))

    def _corrected(self, measure: Measure, side: Side) -> dict[str, float]:
        """Return the p-value of each row's difference from the full row after Holm's correction over all rows."""
        full = self.values(self.table.row(self.table.full), measure, side)
        found: dict[str, float] = {}
        for row in self.table.rows:
            values = self.values(row, measure, side)
            if row.name == self.table.full or values is None or full is None:
                continue
            measured = paired_difference(values, full)
            if measured is not None and measured.p_value is not None:
                found[row.name] = measured.p_value
        return dict(zip(found, holm(list(found.values()))))

    def commits(self) -> tuple[str, ...]:
        """Return the source revisions that produced the runs."""
        return tuple(dict.fromkeys(run.commit for of_row in self.runs for run in of_row if run is not None))


def table_runs(
    table: PaperTable, world: str, schedule: Schedule, seeds: Sequence[int], counts: Mapping[str, int] | None = None
) -> TableRuns:
    """Return the finished runs of a table; runs of a row beyond its number in `counts` (`TableRuns`) are left out."""
    counts = counts or {}
    runs = tuple(
        tuple(
            finished(schedule.job(row, seed)) if place < counts.get(row.name, len(seeds)) else None
            for place, seed in enumerate(seeds)
        )
        for row in table.rows
    )
    teachers = tuple(_teachers(schedule, table.row(table.full), seed) for seed in seeds)
    return TableRuns(table, world, tuple(seeds), runs, schedule.loss, counts, teachers)


def _teachers(schedule: Schedule, row: Row, seed: int) -> str:
    """Return the names of CLIP and SAM of a seed, or the one name of both."""
    teachers = schedule.config(row, seed).teachers
    return " + ".join(dict.fromkeys((teachers.clip, teachers.sam)))


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
