"""`PointCloud`, what the readers of point cloud files return, and the columns of files that it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError
from labelfree.vocabulary import IGNORE_LABEL

COLOURS = ("red", "green", "blue")
_COLOUR_NAMES = (COLOURS, ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))
_INTENSITY_NAMES = ("intensity", "scalar_intensity", "reflectance", "reflectivity")
_LABEL_NAMES = ("label", "class", "semantic", "classification", "scalar_label", "scalar_class", "scalar_classification")


@dataclass(frozen=True, eq=False)
class PointCloud:
    """The columns of a point cloud file that this library uses."""

    points: NDArray[np.floating[Any]]
    """[N, 3] metres; float64 if the file's values need it; `Scene` drops points that are not finite."""
    colours: NDArray[np.uint8] | None = None
    """[N, 3] RGB, 0 where not finite."""
    intensity: NDArray[np.float32] | None = None
    """[N]."""
    labels: NDArray[np.uint8] | None = None
    """[N], 255 = ignored."""
    seen: NDArray[np.bool_] | None = None
    """[N] whether an image gave the point its label, as written with results."""
    scores: NDArray[np.float32] | None = None
    """[N] confidence of the labels in 0..1, as written with results."""
    segments: NDArray[np.int32] | None = None
    """[N] segment of each point, -1 = none."""
    support: NDArray[np.int32] | None = None
    """[N] number of images that gave the point its label."""


def cloud_of_columns(table: Mapping[str, NDArray[Any]], path: Path, with_labels: bool = True) -> PointCloud:
    """Return the cloud of a file's columns, found by the names that programs give them; `path` names it in errors.

    Without `with_labels`, columns of labels, scores and segments are not read.
    """
    columns = {name.lower(): values for name, values in table.items()}
    missing = [axis for axis in "xyz" if axis not in columns]
    if missing:
        raise InputError(f"{path}: vertices have no property '{missing[0]}'; export the cloud with x, y and z.")
    rgb = next((trio for trio in _COLOUR_NAMES if all(name in columns for name in trio)), None)
    intensity = next((columns[name] for name in _INTENSITY_NAMES if name in columns), None)
    label = next((name for name in _LABEL_NAMES if name in columns), None) if with_labels else None
    results = columns if with_labels else {}
    with np.errstate(over="ignore"):
        return PointCloud(
            finite_points([columns[axis] for axis in "xyz"], path),
            None if rgb is None else byte_colours(np.stack([columns[name] for name in rgb], axis=1)),
            None if intensity is None else intensity.astype(np.float32),
            None if label is None else whole_labels(columns[label], _written(label, table), path),
            columns["seen"].astype(np.bool_) if "seen" in columns else None,
            results["score"].astype(np.float32) if "score" in results else None,
            _numbers(results.get("segment")),
            _numbers(results.get("support")),
        )


def short(text: str) -> str:
    """Return text of a file in a form that is safe in a message: printable, at most 80 characters."""
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return printable if len(printable) <= 80 else f"{printable[:80]}..."


def _written(name: str, table: Mapping[str, NDArray[Any]]) -> str:
    """Return a property's name in the file's own spelling."""
    return next(spelled for spelled in table if spelled.lower() == name)


def finite_points(axes: Sequence[NDArray[Any]], path: Path) -> NDArray[np.floating[Any]]:  # 3 x [N] -> [N, 3]
    """Return coordinates as float32 if that type holds them, else as float64; an `InputError` if none is finite."""
    exact = np.float32 if all(np.can_cast(values.dtype, np.float32) for values in axes) else np.float64
    points: NDArray[np.floating[Any]] = np.stack(axes, axis=1).astype(exact)
    if not np.isfinite(points).all(axis=1).any():
        raise InputError(f"{path}: none of its {len(points):,} points is finite; export the cloud again.")
    return points


def byte_colours(values: NDArray[Any]) -> NDArray[np.uint8]:  # [N, 3]
    """Return colours given as 0..1, 0..255 or 0..65535 as bytes."""
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    if values.dtype.kind == "f" and values.max() <= 1:
        return np.rint(values.clip(0, 1) * 255).astype(np.uint8)
    if values.max() > 255:
        return (values / 257).clip(0, 255).astype(np.uint8)
    return values.clip(0, 255).astype(np.uint8)


def whole_labels(values: NDArray[Any], name: str, path: Path) -> NDArray[np.uint8]:  # [N]
    """Return labels as uint8 with 255 for -1 and NaN; an `InputError` names the first value that is no label."""
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), -1, values)
    labels = np.where(values == -1, IGNORE_LABEL, values)
    wrong = (labels < 0) | (labels > 255) | (labels != np.floor(labels))
    if wrong.any():
        raise InputError(
            f"{path}: property '{name}' holds {labels[wrong.argmax()]}, but labels are 0..254, "
            "and 255 or -1 for ignored; map them to your classes or rename the property."
        )
    return labels.astype(np.uint8)


def _numbers(values: NDArray[Any] | None) -> NDArray[np.int32] | None:
    """Return whole numbers such as segments; None if there are none or another program's column is no such thing."""
    if values is None or values.dtype.kind not in "iu" or values.dtype.itemsize > np.dtype(np.int32).itemsize:
        return None
    return values.astype(np.int32)
