"""`Prediction`, the value type that all viewers and exporters take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError
from labelfree.vocabulary import Vocabulary

NO_SEGMENT = -1
"""Segment of a point that belongs to none."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The predicted labels of one image or one cloud.

    Raises an InputError if a label is no class, or if the arrays do not fit together.
    """

    labels: NDArray[np.uint8]
    """[H, W] for an image, [N] for a cloud; 255 = no label."""
    vocabulary: Vocabulary
    scores: NDArray[np.float32] | None = None
    """Confidence of each label in 0..1, shaped like `labels`."""
    points_world: NDArray[np.floating[Any]] | None = None
    """[N, 3] metres, for a cloud: the coordinates of its file, float64 if the file holds doubles."""
    name: str = ""
    """Name of the frame or scene."""
    seen: NDArray[np.bool_] | None = None
    """[N] whether an image gave the point its label; other points have the label of a near point. None if the labels do
    not come from images."""
    support: NDArray[np.int32] | None = None
    """[N] number of images that see the point or its segment; None if it was not counted."""
    segments: NDArray[np.int32] | None = None
    """[N] class-agnostic segment of each point, -1 = none; None if the cloud was not segmented."""
    kept: NDArray[np.bool_] | None = None
    """[M] mask of the M points of the cloud's file that selects these N; None if all were kept."""

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if labels.ndim not in (1, 2):
            raise InputError(f"Prediction '{self.name}': labels must be [H, W] or [N], found {list(labels.shape)}.")
        wrong = (labels >= len(self.vocabulary)) & (labels != self.vocabulary.ignore)
        if labels.size and (wrong.any() or labels.min() < 0):
            found = int(labels[wrong][0]) if wrong.any() else int(labels.min())
            classes = f"{len(self.vocabulary)} classes nor {self.vocabulary.ignore}"
            raise InputError(f"Prediction '{self.name}': label {found} is not one of the {classes}.")
        object.__setattr__(self, "labels", labels.astype(np.uint8))
        if self.scores is not None:
            scores = np.asarray(self.scores, dtype=np.float32)
            if scores.shape != labels.shape:
                raise InputError(
                    f"Prediction '{self.name}': scores {scores.shape} must be shaped like labels {labels.shape}."
                )
            object.__setattr__(self, "scores", scores)
        if self.seen is not None:
            seen = np.asarray(self.seen, dtype=np.bool_)
            if seen.shape != labels.shape:
                raise InputError(
                    f"Prediction '{self.name}': seen {seen.shape} must be shaped like labels {labels.shape}."
                )
            object.__setattr__(self, "seen", seen)
        for column in ("support", "segments"):
            self._check_counts(column, labels.shape)
        if self.kept is not None and (labels.ndim != 1 or int(np.asarray(self.kept).sum()) != len(labels)):
            raise InputError(f"Prediction '{self.name}': kept must be true for as many points as there are labels.")
        if self.points_world is not None:
            points = np.asarray(self.points_world)
            points = points if points.dtype == np.float64 else points.astype(np.float32, copy=False)
            if labels.ndim != 1 or points.shape != (len(labels), 3):
                raise InputError(f"Prediction '{self.name}': points {points.shape} do not match labels {labels.shape}.")
            object.__setattr__(self, "points_world", points)

    def _check_counts(self, column: str, shape: tuple[int, ...]) -> None:
        values = getattr(self, column)
        if values is None:
            return
        values = np.asarray(values)
        if values.shape != shape or values.ndim != 1:
            raise InputError(
                f"Prediction '{self.name}': {column} {values.shape} must be shaped like the labels of a cloud {shape}."
            )
        object.__setattr__(self, column, values.astype(np.int32))

    @property
    def is_3d(self) -> bool:
        """Return whether the labels are those of a cloud."""
        return self.labels.ndim == 1

    def colours(self) -> NDArray[np.uint8]:
        """Return the RGB colour of each label, uint8 [H, W, 3] or [N, 3]."""
        return self.vocabulary.palette()[self.labels]

    def counts(self) -> dict[str, int]:
        """Return the number of pixels or points of each class, by name."""
        found = np.bincount(self.labels.ravel(), minlength=256)
        return {name: int(found[label]) for label, name in enumerate(self.vocabulary.names)}

    def in_file_order(self) -> Prediction:
        """Return the prediction for all M points of the cloud's file; dropped points are 255, unseen and NaN."""
        if self.kept is None:
            return self
        return replace(
            self,
            labels=_spread(self.labels, self.kept, self.vocabulary.ignore),
            scores=None if self.scores is None else _spread(self.scores, self.kept, 0.0),
            points_world=None if self.points_world is None else _spread(self.points_world, self.kept, np.nan),
            seen=None if self.seen is None else _spread(self.seen, self.kept, False),
            support=None if self.support is None else _spread(self.support, self.kept, 0),
            segments=None if self.segments is None else _spread(self.segments, self.kept, NO_SEGMENT),
            kept=None,
        )


def without_guesses(prediction: Prediction) -> Prediction:
    """Return the prediction with label 255 at the points that no image saw."""
    if prediction.seen is None:
        return prediction
    return replace(prediction, labels=np.where(prediction.seen, prediction.labels, prediction.vocabulary.ignore))


def _spread(values: NDArray[Any], kept: NDArray[np.bool_], fill: float) -> NDArray[Any]:
    spread = np.full((len(kept), *values.shape[1:]), fill, dtype=values.dtype)
    spread[kept] = values
    return spread
