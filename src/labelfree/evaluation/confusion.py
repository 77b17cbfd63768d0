"""The confusion matrix of a whole split and the values computed from it (ScanNet's mIoU protocol)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError
from labelfree.raster import resize_nearest
from labelfree.vocabulary import IGNORE_LABEL, Vocabulary


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The values of one method in one modality on a split; `nan` where nothing can be measured."""

    miou: float
    """Mean IoU over the measured classes that occur in the ground truth or in the prediction, 0..1."""
    accuracy: float
    """Share of counted pixels or points with the correct label, 0..1."""
    mean_accuracy: float
    """Mean recall over the classes of the ground truth, 0..1."""
    iou: dict[str, float]
    """IoU per class name, in label order; `nan` for a class in `absent`."""
    absent: tuple[str, ...]
    """Classes left out of `miou`: in neither ground truth nor prediction, or not measured."""
    confusion: NDArray[np.int64]
    """[K, K + 1] rows ground truth, columns prediction; the last column counts missing labels."""
    counted: int
    """Number of pixels or points with ground truth."""
    unlabelled: float
    """Share of the counted ones without a label, 0..1: 0 for a network, more for pseudo-labels with gaps."""
    split: str = ""
    """Name of the split and scenes, printed beside the values."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, with `None` in place of `nan`."""
        return {
            "miou": _or_none(self.miou),
            "accuracy": _or_none(self.accuracy),
            "mean_accuracy": _or_none(self.mean_accuracy),
            "iou": {name: _or_none(value) for name, value in self.iou.items()},
            "absent": list(self.absent),
            "counted": self.counted,
            "unlabelled": _or_none(self.unlabelled),
            "split": self.split,
            "confusion": self.confusion.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evaluation:
        """Return the evaluation that `to_dict` returned as plain data."""
        return cls(
            miou=_or_nan(data["miou"]),
            accuracy=_or_nan(data["accuracy"]),
            mean_accuracy=_or_nan(data["mean_accuracy"]),
            iou={name: _or_nan(value) for name, value in data["iou"].items()},
            absent=tuple(data["absent"]),
            confusion=np.asarray(data["confusion"], dtype=np.int64),
            counted=int(data["counted"]),
            unlabelled=_or_nan(data["unlabelled"]),
            split=str(data["split"]),
        )


class ConfusionMatrix:
    """Counts of (ground truth, prediction) pairs, added image by image, so that a split need not fit in memory."""

    def __init__(self, classes: int) -> None:
        if not 1 <= classes <= IGNORE_LABEL:
            raise InputError(f"A confusion matrix needs 1 to {IGNORE_LABEL} classes, found {classes}.")
        self.classes = classes
        self.counts: NDArray[np.int64] = np.zeros((classes, classes + 1), dtype=np.int64)

    def update(
        self,
        truth: NDArray[Any],  # [...] uint8, 255 = ignored
        prediction: NDArray[Any],  # [...] uint8, 255 = no label: a miss, but no false positive
    ) -> None:
        """Add the pairs of one image or cloud.

        Raises an `InputError` if the shapes differ or if a label is not one of the classes.
        """
        truth, prediction = np.asarray(truth), np.asarray(prediction)
        if truth.shape != prediction.shape:
            raise InputError(
                f"The ground truth has shape {truth.shape} but the prediction {prediction.shape}: resize one of them."
            )
        counted = truth != IGNORE_LABEL
        rows = self._checked("ground truth", truth[counted])
        columns = self._checked("prediction", prediction[counted])
        columns[columns == IGNORE_LABEL] = self.classes
        width = self.classes + 1
        self.counts += np.bincount(rows * width + columns, minlength=self.classes * width).reshape(self.classes, width)

    def _checked(self, what: str, labels: NDArray[Any]) -> NDArray[np.int64]:
        values = labels.astype(np.int64)
        wrong = ((values < 0) | (values >= self.classes)) & (values != IGNORE_LABEL)
        if wrong.any():
            raise InputError(
                f"The {what} holds label {int(values[wrong][0])}, which is not one of the {self.classes} classes "
                f"nor {IGNORE_LABEL}: map its labels to the vocabulary first."
            )
        return values

    def merge(self, other: ConfusionMatrix) -> None:
        """Add the counts of another matrix, such as that of another scene."""
        if other.classes != self.classes:
            raise InputError(f"Cannot merge counts of {other.classes} classes into {self.classes}.")
        self.counts += other.counts

    def iou(self) -> NDArray[np.float64]:
        """Return [K] intersection over union; `nan` for classes in neither ground truth nor prediction."""
        hits = np.diagonal(self.counts)
        union = self.counts.sum(axis=1) + self.counts[:, : self.classes].sum(axis=0) - hits
        return _divide(hits, union)

    def recall(self) -> NDArray[np.float64]:
        """Return [K] the recall of each class; `nan` for classes that the ground truth does not contain."""
        return _divide(np.diagonal(self.counts), self.counts.sum(axis=1))

    def miou(self) -> float:
        """Return the mean IoU over the classes that occur."""
        return _mean(self.iou())

    def accuracy(self) -> float:
        """Return the share of counted pixels or points with the correct label."""
        return float(_divide(np.trace(self.counts), self.counts.sum()))

    def mean_accuracy(self) -> float:
        """Return the mean recall over the classes of the ground truth."""
        return _mean(self.recall())

    def unlabelled(self) -> float:
        """Return the share of counted pixels or points without a label."""
        return float(_divide(self.counts[:, -1].sum(), self.counts.sum()))

    def evaluation(self, vocabulary: Vocabulary, split: str = "", measured: Sequence[str] | None = None) -> Evaluation:
        """Return all values of the protocol; `split` names the data.

        `measured` are the classes that the ground truth can contain, if not all: 11 of nuScenes' 16 in nuImages. A
        label of another class counts as a miss, but that class is left out of the mean.
        """
        if len(vocabulary) != self.classes:
            raise InputError(f"The vocabulary has {len(vocabulary)} classes but {self.classes} were counted.")
        iou = self.iou()
        if measured is not None:
            iou[[name not in measured for name in vocabulary.names]] = np.nan
        return Evaluation(
            miou=_mean(iou),
            accuracy=self.accuracy(),
            mean_accuracy=self.mean_accuracy(),
            iou=dict(zip(vocabulary.names, iou.tolist())),
            absent=tuple(name for name, value in zip(vocabulary.names, iou) if np.isnan(value)),
            confusion=self.counts.copy(),
            counted=int(self.counts.sum()),
            unlabelled=self.unlabelled(),
            split=split,
        )


def evaluate_labels(
    pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]],  # (truth, prediction), each [H, W] or [N]
    vocabulary: Vocabulary,
    split: str = "",
    measured: Sequence[str] | None = None,
) -> Evaluation:
    """Return the evaluation of pairs of label maps or clouds; label maps are resized to their ground truth."""
    matrix = ConfusionMatrix(len(vocabulary))
    for truth, prediction in pairs:
        on_grid = resize_nearest(prediction, truth.shape) if truth.ndim == 2 and prediction.ndim == 2 else prediction
        matrix.update(truth, on_grid)
    return matrix.evaluation(vocabulary, split, measured)


def _divide(part: Any, whole: Any) -> NDArray[np.float64]:
    whole = np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)
