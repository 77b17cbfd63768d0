"""The results as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.stage_two.experiment import Entry, table_rows
from benchmarks.stage_two.variants import VARIANTS

from labelfree.evaluation.method_results import MISSING, Table
from labelfree.paper_tables.statistics import estimate

Found = Mapping[str, Mapping[int, Sequence[Entry]]]
"""Entries by variant and seed, ordered by epoch."""

COLUMNS = (
    ("mIoU 2D / 3D", "miou_2d", "miou_3d"),
    ("accuracy 2D / 3D", "acc_2d", "acc_3d"),
    ("frequent, predicted 2D / 3D", "frequent_2d", "frequent_3d"),
    ("frequent, own labels 2D / 3D", "frequent_net_2d", "frequent_net_3d"),
    ("accuracy, own labels 2D / 3D", "acc_net_2d", "acc_net_3d"),
    ("given labels: accuracy / frequent", "acc_clip_2d", "frequent_clip_2d"),
)


def results_json(head: Mapping[str, Any], found: Found) -> dict[str, Any]:
    """Return all results as plain data: the head, one value per seed in `rows`, and every entry in `runs`."""
    runs = [
        {"variant": name, "seed": seed, "epochs": list(entries)}
        for name, by_seed in found.items()
        for seed, entries in by_seed.items()
    ]
    return {**head, "unit": "percent", "rows": table_rows(found), "runs": runs}


def page(head: Mapping[str, Any], found: Found) -> str:
    """Return the Markdown page: a table for each measured epoch, and IoU of each class after the last one."""
    first = next(entry for by_seed in found.values() for entries in by_seed.values() for entry in entries)
    share = first["held_out"]["3d"]
    parts = [
        f"# Variants of stage two, world {head['world']}, loss `{head['loss']}`",
        f"`{head['command']}`; values in percent, mean over seeds {', '.join(map(str, head['seeds']))}.",
        f"Frequent: share of the classes {' and '.join(share['frequent'])}, {share['frequent_share_truth']:.1f} % of "
        "the ground truth's points. Own and given labels are those of training scenes, at the paired points.",
    ]
    rows = table_rows(found)
    titles = {variant.name: variant.title for variant in VARIANTS}
    epochs = dict.fromkeys(epoch for by_epoch in rows.values() for epoch in by_epoch)
    for epoch in sorted(epochs, key=lambda name: int(name.removeprefix("after_"))):
        lines = [
            (f"`{name}`: {titles[name]}", *(cell(by_epoch[epoch], *keys) for _, *keys in COLUMNS))
            for name, by_epoch in rows.items()
            if epoch in by_epoch
        ]
        header = ("variant", *(title for title, *_ in COLUMNS))
        parts += [f"## After epoch {epoch.removeprefix('after_')}", Table(header, tuple(lines)).markdown()]
    for side in ("2d", "3d"):
        parts += [f"## IoU of each class in {side.upper()} after the last epoch", class_table(found, side).markdown()]
    return "\n\n".join(parts) + "\n"


def cell(values: Mapping[str, Sequence[float | None]], *keys: str) -> str:
    """Return means over seeds, separated by slashes."""
    return " / ".join(mean(values.get(key, ())) for key in keys)


def mean(values: Sequence[float | None]) -> str:
    """Return a mean with one decimal, a dash without values."""
    found = estimate([value for value in values if value is not None])
    return MISSING if found is None else f"{found.mean:.1f}"


def class_table(found: Found, side: str) -> Table:
    """Return the IoU of each class at each variant's last epoch, and its share in the predictions."""
    last = {name: [entries[-1]["held_out"][side] for entries in by_seed.values()] for name, by_seed in found.items()}
    classes = next(iter(last.values()))[0]["iou"]
    lines = tuple(
        (
            label,
            *(
                f"{mean([each['iou'][label] for each in seeds])} ({mean([each['share'][label] for each in seeds])})"
                for seeds in last.values()
            ),
        )
        for label in classes
    )
    return Table(("class: IoU (share of predictions)", *(f"`{name}`" for name in last)), lines)
