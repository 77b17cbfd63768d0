"""Labelled clouds as PLY, LAS, LAZ and PCD files."""

from __future__ import annotations

from pathlib import Path

from labelfree.data.point_cloud import PointCloud
from labelfree.data.point_files import write_points
from labelfree.errors import InputError
from labelfree.prediction import Prediction


def save_points(prediction: Prediction, path: Path, like: Path | None = None) -> int:
    """Write a labelled cloud in the format of the file's name; return the number of points it cannot store.

    The file has the colours of the classes, label, score, seen, segment and support, as far as they exist. LAS cannot
    store points that are not finite; it keeps colours and other dimensions of `like`, a LAS file of the same points.
    """
    return write_points(path, labelled_cloud(prediction), prediction.vocabulary.names, like)


def labelled_cloud(prediction: Prediction) -> PointCloud:
    """Return the columns of a labelled cloud's file, with the points in the order of the file that was labelled."""
    prediction = prediction.in_file_order()
    if prediction.points_world is None:
        raise InputError(f"Prediction '{prediction.name}' has no points: give points_world to save it as a cloud.")
    return PointCloud(
        prediction.points_world,
        prediction.colours(),
        labels=prediction.labels,
        seen=prediction.seen,
        scores=prediction.scores,
        segments=prediction.segments,
        support=prediction.support,
    )
