"""One confusion matrix accumulated over a whole split, and the numbers read from it (ScanNet's mIoU protocol)."""

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
    """What a split says about one method in one modality; `nan` where there is nothing to measure."""

    miou: float
    """Mean IoU over the classes found in the truth or in the prediction, among those the truth has names for."""
    accuracy: float
    """Share of counted pixels or points whose label is right."""
    mean_accuracy: float
    """Mean over the classes of the truth of the share of each that is found (recall)."""
    iou: dict[str, float]
    """IoU per class name, in label order; `nan` for an absent class."""
    absent: tuple[str, ...]
    """Classes found neither in the truth nor in the prediction, or not labelled in this truth: left out of `miou`."""
    confusion: NDArray[np.int64]
    """[K, K + 1]: rows truth, columns prediction; the last column counts what got no label."""
    counted: int
    """Pixels or points with a truth, the ones that count."""
    unlabelled: float
    """Share of the counted ones that got no label: 0 for a network, more for pseudo-labels with gaps."""
    split: str = ""
    """The split and scenes this number belongs to, as printed beside it."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, `None` for numbers that do not exist."""
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
        """Read what `to_dict` wrote."""
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
    """Counts of (truth, prediction) pairs, fed piece by piece so that no split has to fit in memory."""

    def __init__(self, classes: int) -> None:
        if not 1 <= classes <= IGNORE_LABEL:
            raise InputError(f"A confusion matrix needs 1 to {IGNORE_LABEL} classes, found {classes}.")
        self.classes = classes
        self.counts: NDArray[np.int64] = np.zeros((classes, classes + 1), dtype=np.int64)

    def update(
        self,
        truth: NDArray[Any],  # [...] uint8, 255 = left out
        prediction: NDArray[Any],  # [...] uint8, 255 = no label: a miss, but no class's mistake
    ) -> None:
        """Add the pairs of one image or cloud."""
        truth, prediction = np.asarray(truth), np.asarray(prediction)
        if truth.shape != prediction.shape:
            raise InputError(
                f"The truth has shape {truth.shape} but the prediction {prediction.shape}: compare them on one grid."
            )
        counted = truth != IGNORE_LABEL
        rows = self._checked("truth", truth[counted])
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
        """Add the counts of another process or scene."""
        if other.classes != self.classes:
            raise InputError(f"Cannot merge counts of {other.classes} classes into {self.classes}.")
        self.counts += other.counts

    def iou(self) -> NDArray[np.float64]:
        """Return [K] intersection over union; `nan` for classes absent from truth and prediction."""
        hits = np.diagonal(self.counts)
        union = self.counts.sum(axis=1) + self.counts[:, : self.classes].sum(axis=0) - hits
        return _divide(hits, union)

    def recall(self) -> NDArray[np.float64]:
        """Return [K] the share of each class that is found; `nan` for classes absent from the truth."""
        return _divide(np.diagonal(self.counts), self.counts.sum(axis=1))

    def miou(self) -> float:
        """Return the mean IoU over the classes that occur."""
        return _mean(self.iou())

    def accuracy(self) -> float:
        """Return the share of counted pixels or points whose label is right."""
        return float(_divide(np.trace(self.counts), self.counts.sum()))

    def mean_accuracy(self) -> float:
        """Return the mean recall over the classes of the truth."""
        return _mean(self.recall())

    def unlabelled(self) -> float:
        """Return the share of counted pixels or points without a label."""
        return float(_divide(self.counts[:, -1].sum(), self.counts.sum()))

    def evaluation(self, vocabulary: Vocabulary, split: str = "", measured: Sequence[str] | None = None) -> Evaluation:
        """Return every number of the protocol; `split` names the data they belong to.

        `measured` are the classes that the truth can have, where these are not all: 11 of nuScenes' 16 in nuImages. A
        label of another class is a miss there, but that class is not averaged over.
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
    """Evaluate a stream of label maps or clouds; a picture is compared at the resolution of its truth."""
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
