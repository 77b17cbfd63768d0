"""Reading of `metrics.jsonl`, which may be damaged or cut off."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labelfree.errors import InputError

METRICS = "metrics.jsonl"
LINE_BYTES = 1 << 20
"""Longest line in bytes; a record has a few hundred, so a longer line is damage."""


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each line of a file with its number, from 1; of a line longer than `LINE_BYTES` only the beginning.

    Raises an InputError if the path is no regular file.
    """
    if path.exists() and not path.is_file():  # reading a FIFO would block
        raise InputError(f"{path}: is not a regular file (a folder, pipe or device); delete it.")
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LINE_BYTES):
            number += 1
            rest = line
            while len(rest) == LINE_BYTES and not rest.endswith(b"\n"):
                rest = file.readline(LINE_BYTES)
            yield number, line if rest is line or not rest.endswith(b"\n") else line + b"\n"


def parse_record(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, a JSON object with finite numbers `epoch` and, if present, `step`; else None."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    return record if is_number(record.get("epoch")) and is_number(record.get("step", 0)) else None


def is_number(value: object) -> bool:
    """Return whether a value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
