"""What one run of a row reached: a small file, written whole or not at all, by which a run is known as finished."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from labelfree.evaluation.confusion import Evaluation
from labelfree.evaluation.method_results import MethodResult
from labelfree.files.atomic import write_text
from labelfree.files.documents import read_json
from labelfree.files.metrics import is_number

RESULT = "result.json"

CHECKSUM = "sha256"
"""Entry with the checksum of all the others."""


@dataclass(frozen=True)
class Measures:
    """The headline numbers of a run in percent; None for a side that the system or the truth lacks."""

    miou_2d: float | None = None
    miou_3d: float | None = None
    acc_2d: float | None = None
    acc_3d: float | None = None
    seconds: float = 0.0
    """Time of training and measuring without what the rows of a seed share; of the last part, if interrupted."""
    details: dict[str, Any] = field(default_factory=dict, compare=False)
    """Every number of the evaluation, for whoever looks into a row."""


@dataclass(frozen=True)
class RunResult:
    """A finished run."""

    key: str
    """Digest of everything the numbers depend on; see `schedule.run_key`."""
    row: str
    seed: int
    commit: str
    measures: Measures


def measures_of(method: MethodResult, seconds: float) -> Measures:
    """Return the headline numbers of an evaluation."""
    pixels, points = method.evaluation_2d, method.evaluation_3d
    return Measures(
        miou_2d=_percent(pixels, "miou"),
        miou_3d=_percent(points, "miou"),
        acc_2d=_percent(pixels, "accuracy"),
        acc_3d=_percent(points, "accuracy"),
        seconds=round(seconds, 1),
        details=method.to_dict(),
    )


def write_result(folder: Path, result: RunResult) -> None:
    """Write a finished run into its folder."""
    stated = json.loads(json.dumps(asdict(result), allow_nan=False))  # as it is read again
    write_text(folder / RESULT, json.dumps(stated | {CHECKSUM: _checksum(stated)}, indent=1) + "\n")


def read_result(folder: Path) -> RunResult | None:
    """Return the finished run of a folder; None where there is none or its file is not one, or damaged."""
    try:
        data = read_json(folder / RESULT)
        checksum = data.pop(CHECKSUM, None)
        if checksum not in {None, _checksum(data)}:
            return None
        result = RunResult(**(data | {"measures": Measures(**data["measures"])}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return result if _is_sound(result) else None


def _checksum(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _is_sound(result: RunResult) -> bool:
    """Tell whether the values are of their types and ranges, as files of older versions have no checksum."""
    measures = result.measures
    shares = (measures.miou_2d, measures.miou_3d, measures.acc_2d, measures.acc_3d)
    texts = (result.key, result.row, result.commit)
    return (
        all(isinstance(text, str) for text in texts)
        and isinstance(result.seed, int)
        and isinstance(measures.details, dict)
        and is_number(measures.seconds)
        and all(share is None or (is_number(share) and 0 <= share <= 100) for share in shares)
    )


def _percent(side: Evaluation | None, name: str) -> float | None:
    share = None if side is None else side.to_dict()[name]
    return None if share is None else round(100 * share, 4)
