"""Colours of points: by class, similarity, confidence or height, and with a selection."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

STOPS = np.array(
    [[0.23, 0.30, 0.75], [0.27, 0.62, 0.83], [0.55, 0.85, 0.55], [0.98, 0.85, 0.25], [0.90, 0.25, 0.15]], np.float32
)
"""Colours of the values 0, 0.25, 0.5, 0.75 and 1: blue, cyan, green, yellow, red."""
GREY_SHARE = 0.75
"""Share of grey in the colour of a point that is not among those asked for."""
SELECTED = np.array([255, 40, 200], np.float32)
"""Colour of selected points."""
SELECTED_SHARE = 0.65


def heat_colours(values: NDArray[np.floating]) -> NDArray[np.uint8]:  # [N] 0..1 -> [N, 3]
    """Return a colour between blue (0) and red (1) for each value; values outside are clipped, NaN is 0."""
    place = np.clip(np.nan_to_num(values.astype(np.float32), nan=0.0), 0.0, 1.0) * (len(STOPS) - 1)
    lower = np.minimum(place.astype(np.int64), len(STOPS) - 2)
    share = (place - lower)[:, None]
    return np.rint(255 * ((1 - share) * STOPS[lower] + share * STOPS[lower + 1])).astype(np.uint8)


def unit_range(values: NDArray[np.floating]) -> NDArray[np.float32]:  # [N]
    """Return finite values scaled to 0..1, smallest to largest; 0 for values that are not finite, or all equal."""
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(len(values), np.float32)
    low, high = float(values[finite].min()), float(values[finite].max())
    scaled = (np.where(finite, values, low) - low) / max(high - low, 1e-12)
    return scaled.astype(np.float32)


def similarity_colours(
    similarity: NDArray[np.floating],  # [N], NaN where unknown
    threshold: float,  # 0..1 of the range of the values
    base: NDArray[np.uint8],  # [N, 3] colours of the points below the threshold, shown in grey
) -> NDArray[np.uint8]:  # [N, 3]
    """Return the heat of the points whose similarity is above the threshold; other points are grey."""
    scaled = unit_range(similarity)
    above = np.isfinite(similarity) & (scaled >= threshold)
    return np.where(above[:, None], heat_colours(scaled), greyed(base))


def greyed(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:  # [N, 3]
    """Return colours that are mostly light grey, by their brightness."""
    bright = colours.astype(np.float32).mean(axis=1, keepdims=True) * 0.5 + 100.0
    return np.rint(GREY_SHARE * bright + (1 - GREY_SHARE) * colours).astype(np.uint8)


def with_selection(colours: NDArray[np.uint8], selected: NDArray[np.bool_]) -> NDArray[np.uint8]:  # [N, 3], [N]
    """Return colours in which the selected points are tinted."""
    tinted = colours.copy()
    tinted[selected] = np.rint((1 - SELECTED_SHARE) * colours[selected] + SELECTED_SHARE * SELECTED).astype(np.uint8)
    return tinted


def height_colours(heights: NDArray[np.floating]) -> NDArray[np.uint8]:  # [N] -> [N, 3]
    """Return a grey for each height, for clouds without colours."""
    grey = 70.0 + 150.0 * unit_range(heights)
    return np.repeat(np.rint(grey)[:, None], 3, axis=1).astype(np.uint8)


def shown_points(labels: NDArray[np.uint8], hidden: Collection[int]) -> NDArray[np.bool_]:  # [N] -> [N]
    """Return which points have a class that is not hidden."""
    table = np.ones(256, np.bool_)
    table[list(hidden)] = False
    return table[labels]


def thinned(count: int, limit: int, seed: int = 0) -> NDArray[np.int64] | None:
    """Return `limit` random indices of `count` points in ascending order; None if all of them may be shown."""
    if count <= limit:
        return None
    return np.sort(np.random.default_rng(seed).choice(count, limit, replace=False))
