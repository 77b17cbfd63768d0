"""The calibration of several sets of scenes as one table in Markdown, and as plain data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from labelfree.calibration.calibrate import MERGED, SEGMENTS, SHORTCUTS, Calibration
from labelfree.calibration.majority import Bound
from labelfree.calibration.misfit import Misfit
from labelfree.evaluation.confusion import Evaluation
from labelfree.evaluation.method_results import MISSING, Table, percent

FREQUENT = 2
"""Number of the most frequent classes whose joint share is printed."""

_Cell = Callable[[Calibration], str]


def calibration_table(found: Sequence[Calibration]) -> Table:
    """Return one column per set of scenes and one row per property; mIoU and shares in percent."""
    rows = [(title, *(cell(each) for each in found)) for title, cell in _rows()]
    return Table(("property", *(each.name for each in found)), tuple(rows))


def calibration_json(found: Calibration) -> dict[str, Any]:
    """Return all values of a set of scenes, with the teachers' confusion matrices and class shares; shares are 0..1."""
    data = asdict(found) | {"methods": {method.name: method.to_dict() for method in found.methods}}
    data["prior"] = {
        f"{name} {modality.lower()}": shares.tolist()
        for modality, pairs in _evaluations(found).items()
        for name, shares in _shares(pairs).items()
    }
    return {name: _without_nan(value) for name, value in data.items()}


def _without_nan(value: Any) -> Any:
    """Return plain data with None in place of `nan`."""
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def _rows() -> list[tuple[str, _Cell]]:
    return [
        ("scenes / images / points per scene", lambda c: f"{c.scenes} / {c.frames} / {c.points:,.0f}"),
        ("SAM masks: bound", lambda c: _of(c.masks, lambda b: percent(b.miou))),
        ("SAM masks: bound, covered pixels only", lambda c: _of(c.masks, lambda b: percent(b.covered_miou))),
        ("SAM masks: per image / uncovered", lambda c: _of(c.masks, _mask_cell)),
        ("SAM masks on points: bound, covered only / uncovered", lambda c: _of(c.fused_masks, _fused_cell)),
        *((f"geometric segments, {name}: bound / per scene", _segment_cell(name)) for name in SEGMENTS),
        *((f"segments merged by masks down to {t:g}: bound / per scene", _merged_cell(f"{t:g}")) for t in MERGED),
        ("cloud within 5 cm of the depth maps / median misfit", lambda c: _distance(c.misfit)),
        ("depth maps within 5 cm of each other / median misfit", lambda c: _distance(c.frame_misfit)),
        ("CLIP's labels: 2D / 3D", lambda c: _both(c, 0)),
        ("voted labels: 2D / 3D", lambda c: _both(c, 1)),
        ("gain of the vote: 2D / 3D", _gain),
        *((f"classifier of {name} alone, {modality}", _shortcut_cell(name)) for name, modality in SHORTCUTS.items()),
        (f"share of the {FREQUENT} most frequent classes: truth / CLIP / voted", _frequent),
        ("CLIP's most frequent confusion", _confusion),
    ]


def _mask_cell(bound: Bound) -> str:
    return f"{bound.segments:.1f} / {percent(bound.uncovered)}"


def _fused_cell(bound: Bound) -> str:
    return f"{percent(bound.covered_miou)} / {percent(bound.uncovered)}"


def _of(bound: Bound | None, text: Callable[[Bound], str]) -> str:
    return MISSING if bound is None else text(bound)


def _distance(misfit: Misfit | None) -> str:
    return MISSING if misfit is None else f"{percent(misfit.near)} / {100 * misfit.median_m:.1f} cm"


def _segment_cell(name: str) -> _Cell:
    def cell(found: Calibration) -> str:
        return _of(found.segments.get(name), lambda b: f"{percent(b.miou)} / {b.segments:.0f}")

    return cell


def _merged_cell(name: str) -> _Cell:
    return lambda found: _of(found.merged.get(name), lambda b: f"{percent(b.miou)} / {b.segments:.0f}")


def _shortcut_cell(name: str) -> _Cell:
    return lambda found: percent(found.shortcuts.get(name, float("nan")))


def _evaluations(found: Calibration) -> dict[str, list[Evaluation]]:
    """Return the evaluations before and after the vote of each modality that has both."""
    each: dict[str, list[Evaluation]] = {}
    for method in found.methods:
        for modality, evaluation in method.modalities():
            each.setdefault(modality, []).append(evaluation)
    return each


def _both(found: Calibration, index: int) -> str:
    each = _evaluations(found)
    cells = [percent(each[modality][index].miou) if modality in each else MISSING for modality in ("2D", "3D")]
    return MISSING if not each else " / ".join(cells)


def _gain(found: Calibration) -> str:
    each = _evaluations(found)
    gains = [
        f"{100 * (each[modality][1].miou - each[modality][0].miou):+.1f}" if modality in each else MISSING
        for modality in ("2D", "3D")
    ]
    return MISSING if not each else " / ".join(gains)


def _shares(pair: Sequence[Evaluation]) -> dict[str, Any]:
    """Return the share of each class in the ground truth, in CLIP's labels and in the voted labels."""
    counts = [pair[0].confusion.sum(axis=1), *(evaluation.confusion[:, :-1].sum(axis=0) for evaluation in pair)]
    return dict(zip(("truth", "clip", "clip+sam"), (count / max(1, count.sum()) for count in counts)))


def _frequent(found: Calibration) -> str:
    pair = _evaluations(found).get("2D")
    if pair is None:
        return MISSING
    shares = _shares(pair)
    top = np.argsort(-shares["truth"], kind="stable")[:FREQUENT]
    return " / ".join(percent(float(each[top].sum())) for each in shares.values())


def _confusion(found: Calibration) -> str:
    pair = _evaluations(found).get("2D")
    if pair is None:
        return MISSING
    names, counts = list(pair[0].iou), pair[0].confusion[:, :-1].astype(np.float64)
    rate = counts / np.maximum(pair[0].confusion.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(rate, 0.0)
    true, taken = np.unravel_index(int(rate.argmax()), rate.shape)
    return f"{names[int(true)]} as {names[int(taken)]} {percent(float(rate[true, taken]))}"
