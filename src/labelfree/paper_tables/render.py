"""Tables of runs as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labelfree.evaluation.method_results import MISSING, Table
from labelfree.paper_tables.rows import Loss, Row
from labelfree.paper_tables.statistics import Estimate, Interval
from labelfree.paper_tables.summary import SIDES, Difference, Measure, Side, TableRuns

MEASURES: tuple[Measure, ...] = ("miou", "acc")

COLUMNS: dict[str, tuple[tuple[Side, str], ...]] = {
    "rooms": (("2d", "ScanNet 2D"), ("3d", "ScanNet 3D")),
    "streets": (("3d", "nuScenes 3D"), ("2d", "nuImages 2D")),
}
"""For each of the lab's worlds: its modalities in the paper's order, each with its column of the paper."""

_LOSS_TITLES: dict[Loss, str] = {"lab": "", "paper": ", loss of the paper"}

EXPLANATION = (
    "Every number is in percent. ± is the 95 % interval of the mean over seeds (Student's t). Differences are paired: "
    "they are computed per seed, on the same scenes, and so is their ±. Sign: whether the difference has the same sign "
    "as in the paper; a question mark means that its interval includes zero. One more run: the 95 % interval for a "
    "single run with a new seed."
)


def table_json(runs: TableRuns, command: str) -> dict[str, Any]:
    """Return plain data for JSON: per row a value for each seed, null for a missing modality, and `statistics`."""
    return {
        "command": command,
        "commit": ", ".join(runs.commits()),
        "seeds": list(runs.seeds),
        "table": runs.table.number,
        "world": runs.world,
        "loss": runs.loss,
        "unit": "percent",
        "complete": runs.complete,
        "rows": {row.name: _row_json(runs, row) for row in runs.table.rows},
    }


def table_markdown(runs: TableRuns, command: str) -> str:
    """Return a page in Markdown: 2D, 3D, and the gains over the baseline that the paper prints in parentheses."""
    table = runs.table
    title = f"# Table {table.number}: {table.title}, world {runs.world}{_LOSS_TITLES[runs.loss]}"
    parts = [title, _provenance(runs, command), EXPLANATION]
    for side in SIDES:
        parts += [f"## {side.upper()}", _side_table(runs, side).markdown()]
    parts += [f"## mIoU over {table.baseline}", _gain_table(runs).markdown()]
    return "\n\n".join(parts) + "\n"


def worlds_markdown(worlds: Sequence[TableRuns], command: str) -> str:
    """Return a page with one table of several worlds: the mIoU of each modality beside the paper's column."""
    table, header = worlds[0].table, ["row"]
    columns = [(runs, side, theirs) for runs in worlds for side, theirs in COLUMNS[Path(runs.world).stem]]
    for runs, side, theirs in columns:
        header += [f"{runs.world} {side.upper()}", f"paper, {theirs}"]
    rows = []
    for row in table.rows:
        pairs = ((runs.mean(row, "miou", side), runs.paper(row, side)) for runs, side, _ in columns)
        rows.append((row.name, *(text for ours, theirs in pairs for text in (_plus_minus(ours), _number(theirs)))))
    names = " and ".join(runs.world for runs in worlds)
    commits = ", ".join(dict.fromkeys(commit for runs in worlds for commit in runs.commits())) or "unknown"
    provenance = f"`{command}`; mIoU in percent ± its 95 % interval over seeds; source revision {commits}."
    state = [f"**World {runs.world}: not finished, see its own table.**" for runs in worlds if not runs.complete]
    parts = [
        f"# Table {table.number}: {table.title}, worlds {names}{_LOSS_TITLES[worlds[0].loss]}",
        provenance,
        *state,
        Table(tuple(header), tuple(rows)).markdown(),
    ]
    return "\n\n".join(parts) + "\n"


def _row_json(runs: TableRuns, row: Row) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for measure in MEASURES:
        for side in SIDES:
            found = runs.values(row, measure, side)
            values[f"{measure}_{side}"] = None if found is None else list(found)
    values |= {f"paper_{side}": runs.paper(row, side) for side in SIDES}
    return values | {"statistics": _statistics_json(runs, row)}


def _statistics_json(runs: TableRuns, row: Row) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for measure in MEASURES:
        for side in SIDES:
            mean = runs.mean(row, measure, side)
            if mean is None:
                data[f"{measure}_{side}"] = None
                continue
            data[f"{measure}_{side}"] = _estimate_json(mean) | {
                f"minus_{other}": _difference_json(runs.difference(row, other, measure, side))
                for other in (runs.table.full, runs.table.baseline)
            }
    seconds = [run.measures.seconds for run in runs.of(row) if run is not None]
    return data | {"seconds": round(sum(seconds) / len(seconds), 1) if seconds else None}


def _estimate_json(found: Estimate) -> dict[str, Any]:
    return {
        "mean": round(found.mean, 3),
        "count": found.count,
        "interval": _interval_json(found.interval),
        "next_run": _interval_json(found.next_run),
    }


def _interval_json(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [round(interval.low, 3), round(interval.high, 3)]


def _difference_json(found: Difference | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return _estimate_json(found.measured) | {
        "excludes_zero": found.measured.excludes_zero,
        "paper": found.paper,
        "sign_agrees": found.agrees,
    }


def _provenance(runs: TableRuns, command: str) -> str:
    done = sum(run is not None for of_row in runs.runs for run in of_row)
    total = len(runs.runs) * len(runs.seeds)
    seeds = ", ".join(str(seed) for seed in runs.seeds)
    state = "" if runs.complete else f"\n\n**Not finished: {done} of {total} runs are done.**"
    return f"`{command}`; seeds {seeds}; source revision {', '.join(runs.commits()) or 'unknown'}.{state}"


def _side_table(runs: TableRuns, side: Side) -> Table:
    full = runs.table.full
    header = ("row", "mIoU", "paper", f"− {full}", "paper", "sign", "accuracy", f"accuracy − {full}", "one more run")
    rows = []
    for row in runs.table.rows:
        mean = runs.mean(row, "miou", side)
        difference = runs.difference(row, full, "miou", side)
        accuracy = runs.difference(row, full, "acc", side)
        rows.append(
            (
                row.name,
                _plus_minus(mean),
                _number(runs.paper(row, side)),
                *_difference_cells(difference),
                _plus_minus(runs.mean(row, "acc", side)),
                _plus_minus(None if accuracy is None else accuracy.measured, signed=True),
                _range(None if mean is None else mean.next_run),
            )
        )
    return Table(header, tuple(rows))


def _gain_table(runs: TableRuns) -> Table:
    header = ("row", "2D", "paper", "sign", "3D", "paper", "sign")
    rows = []
    for row in runs.table.rows:
        if row.name != runs.table.baseline:
            pair = [runs.difference(row, runs.table.baseline, "miou", side) for side in SIDES]
            rows.append((row.name, *(cell for found in pair for cell in _difference_cells(found))))
    return Table(header, tuple(rows))


def _difference_cells(found: Difference | None) -> tuple[str, str, str]:
    """Return the difference, the paper's, and whether their signs agree."""
    if found is None:
        return MISSING, MISSING, MISSING
    doubt = "" if found.measured.excludes_zero else "?"
    sign = MISSING if found.agrees is None else ("yes" if found.agrees else "no") + doubt
    return _plus_minus(found.measured, signed=True), _number(found.paper, signed=True), sign


def _plus_minus(found: Estimate | None, signed: bool = False) -> str:
    if found is None:
        return MISSING
    spread = "" if found.interval is None else f" ± {found.interval.high - found.mean:.1f}"
    return _number(found.mean, signed) + spread


def _range(interval: Interval | None) -> str:
    return MISSING if interval is None else f"{interval.low:.1f} to {interval.high:.1f}"


def _number(value: float | None, signed: bool = False) -> str:
    if value is None:
        return MISSING
    return f"{value:+.1f}" if signed else f"{value:.1f}"
