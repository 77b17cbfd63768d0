"""Read numbers of JSON and YAML files; refuse NaN, infinity, text, booleans and numbers of 400 digits.

Every function raises a `ValueError` for them, never an `OverflowError` or a `TypeError`; the reader names the file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import shown
from labelfree.files.metrics import is_number

LARGEST_SIDE = 65_535
"""Pixels of an image's side: what PNG, JPEG and the tables of nuScenes can state."""


def finite_number(value: Any) -> float:
    """Return a finite number."""
    if not is_number(value):
        raise ValueError(f"{shown(value)} is no finite number")
    return float(value)


def whole_number(value: Any, low: int, high: int) -> int:
    """Return a whole number from `low` to `high`."""
    if not is_number(value) or value != int(value) or not low <= value <= high:
        raise ValueError(f"{shown(value)} is no whole number from {low} to {high}")
    return int(value)


def finite_array(values: Any) -> NDArray[np.float64]:
    """Return finite numbers as an array of the shape of the lists that hold them."""
    found = np.array(values, dtype=object)
    for value in found.ravel().tolist():
        finite_number(value)
    return found.astype(np.float64)
