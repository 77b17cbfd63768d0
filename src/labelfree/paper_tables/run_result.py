"""The result of one run: a small file, written atomically, that marks the run as finished."""

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
"""Key of the checksum of all other entries."""


@dataclass(frozen=True)
class Measures:
    """The main values of a run in percent; None for a modality that the system or the ground truth does not have."""

    miou_2d: float | None = None
    miou_3d: float | None = None
    acc_2d: float | None = None
    acc_3d: float | None = None
    seconds: float = 0.0
    """Time of training and evaluation, without work that rows share; only since the last resume, if interrupted."""
    details: dict[str, Any] = field(default_factory=dict, compare=False)
    """All values of the evaluation."""


@dataclass(frozen=True)
class RunResult:
    """The result of a finished run."""

    key: str
    """Digest of everything that the values depend on; see `schedule.run_key`."""
    row: str
    seed: int
    commit: str
    measures: Measures


def measures_of(method: MethodResult, seconds: float) -> Measures:
    """Return the main values of an evaluation, in percent."""
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
    """Write the result of a finished run into its folder."""
    stated = json.loads(json.dumps(asdict(result), allow_nan=False))  # as `read_result` reads it
    write_text(folder / RESULT, json.dumps(stated | {CHECKSUM: _checksum(stated)}, indent=1) + "\n")


def read_result(folder: Path) -> RunResult | None:
    """Return the result in a run's folder; None if the file is missing, damaged or not a result."""
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
    """Return whether all values have their types and ranges; files of older versions have no checksum."""
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
