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
    "clean": (("2d", "ScanNet 2D"), ("3d", "ScanNet 3D")),
    "streets": (("3d", "nuScenes 3D"), ("2d", "nuImages 2D")),
}
"""For each of the lab's worlds: its modalities in the paper's order, each with its column of the paper."""

_LOSS_TITLES: dict[Loss, str] = {"lab": "", "paper": ", loss of the paper"}

EXPLANATION = (
    "Every number is in percent. ± is the 95 % interval of the mean over seeds (Student's t). Differences are paired: "
    "they are computed per seed, on the same scenes, and so is their ±. Sign: whether the difference has the same sign "
    "as in the paper; a question mark means that its interval includes zero. Holm: whether the difference is "
    "significant at 5 % after Holm's correction over all rows of the column. Seeds: number of runs, and that of the "
    "pairs behind the difference if it is another. One more run: the 95 % interval for a single run with a new seed."
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
        "teachers": {str(seed): names for seed, names in zip(runs.seeds, runs.teachers)},
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
    corrected: dict[str, Any] = {}
    if found.p_holm is not None:
        corrected = {"p_holm": _short(found.p_holm), "significant_after_holm": found.significant}
    return _estimate_json(found.measured) | {
        "excludes_zero": found.measured.excludes_zero,
        "p": None if found.measured.p_value is None else _short(found.measured.p_value),
        **corrected,
        "paper": found.paper,
        "sign_agrees": found.agrees,
    }


def _provenance(runs: TableRuns, command: str) -> str:
    seeds = ", ".join(str(seed) for seed in runs.seeds)
    state = "" if runs.complete else f"\n\n**Not finished: {runs.done} of {runs.planned} runs are done.**"
    revision = ", ".join(runs.commits()) or "unknown"
    return f"`{command}`; seeds {seeds}{_teachers(runs)}; source revision {revision}.{state}"


def _teachers(runs: TableRuns) -> str:
    """Return the seeds of each pair of teachers; empty if all seeds have the same."""
    of: dict[str, list[str]] = {}
    for seed, names in zip(runs.seeds, runs.teachers):
        of.setdefault(names, []).append(str(seed))
    parts = (f"{names} (seeds {', '.join(seeds)})" for names, seeds in of.items())
    return f"; teachers {' and '.join(parts)}" if len(of) > 1 else ""


def _side_table(runs: TableRuns, side: Side) -> Table:
    full = runs.table.full
    difference_columns = (f"− {full}", "paper", "sign", "Holm", "seeds")
    header = ("row", "mIoU", "paper", *difference_columns, "accuracy", f"accuracy − {full}", "one more run")
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
                _yes_no(None if difference is None else difference.significant),
                _counts(mean, difference),
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
    sign = MISSING if found.agrees is None else _yes_no(found.agrees) + doubt
    return _plus_minus(found.measured, signed=True), _number(found.paper, signed=True), sign


def _yes_no(answer: bool | None) -> str:
    return MISSING if answer is None else "yes" if answer else "no"


def _counts(mean: Estimate | None, difference: Difference | None) -> str:
    """Return the number of runs, with that of the pairs behind the difference if it is another."""
    if mean is None:
        return MISSING
    pairs = mean.count if difference is None else difference.measured.count
    return str(mean.count) if pairs == mean.count else f"{mean.count}, {pairs} pairs"


def _short(value: float) -> float:
    """Return a p-value with three digits."""
    return float(f"{value:.3g}")


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
