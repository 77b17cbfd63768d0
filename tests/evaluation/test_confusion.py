from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from labelfree.errors import InputError
from labelfree.evaluation.confusion import ConfusionMatrix, Evaluation, evaluate_labels
from labelfree.vocabulary import Vocabulary

ABC = Vocabulary(("a", "b", "c"))


def numbers(classes: int, truth: list[int], prediction: list[int]) -> tuple[list[float], float, float, float]:
    """Slow twin: IoU per class, accuracy, mean recall and unlabelled share, by counting one class at a time."""
    pairs = [(t, p) for t, p in zip(truth, prediction) if t != 255]
    iou, recall = [], []
    for k in range(classes):
        both = sum(t == k and p == k for t, p in pairs)
        either = sum(t == k or p == k for t, p in pairs)
        in_truth = sum(t == k for t, _ in pairs)
        iou.append(both / either if either else math.nan)
        if in_truth:
            recall.append(both / in_truth)
    right = sum(t == p for t, p in pairs)
    return iou, right / len(pairs), sum(recall) / len(recall), sum(p == 255 for _, p in pairs) / len(pairs)


def test_literal_table() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([0, 0, 0, 1, 1, 255], np.uint8), np.array([0, 0, 1, 1, 255, 2], np.uint8))
    assert matrix.counts.tolist() == [[2, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]]
    # a: 2 of {0,1,2}; b: 1 of {2,3,4}; c only under ignored truth, so it does not occur.
    np.testing.assert_allclose(matrix.iou(), [2 / 3, 1 / 3, np.nan])
    assert matrix.miou() == pytest.approx(0.5)
    assert matrix.accuracy() == pytest.approx(3 / 5)
    assert matrix.mean_accuracy() == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert matrix.unlabelled() == pytest.approx(1 / 5)
    assert matrix.evaluation(ABC).absent == ("c",)


def test_class_only_predicted_counts_as_zero() -> None:
    result = evaluate_labels([(np.array([0, 0], np.uint8), np.array([0, 2], np.uint8))], ABC)
    assert result.absent == ("b",)
    assert result.iou["c"] == 0.0
    assert result.miou == pytest.approx((1 / 2 + 0) / 2)
    assert result.mean_accuracy == pytest.approx(1 / 2)


@pytest.mark.parametrize("seed", range(4))
def test_equals_counting_one_by_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = np.array([0, 1, 2, 3, 5, 255], np.uint8)
    pieces = [(random.choice(values, (4, 7)), random.choice(values, (4, 7))) for _ in range(3)]
    parts = [ConfusionMatrix(7), ConfusionMatrix(7)]
    for index, (truth, prediction) in enumerate(pieces):
        parts[index % 2].update(truth, prediction)
    parts[0].merge(parts[1])
    truth, prediction = (np.concatenate([piece[i].ravel() for piece in pieces]).tolist() for i in (0, 1))
    iou, accuracy, mean_accuracy, unlabelled = numbers(7, truth, prediction)
    np.testing.assert_allclose(parts[0].iou(), iou)
    assert parts[0].miou() == pytest.approx(np.nanmean(iou))
    assert parts[0].accuracy() == pytest.approx(accuracy)
    assert parts[0].mean_accuracy() == pytest.approx(mean_accuracy)
    assert parts[0].unlabelled() == pytest.approx(unlabelled)


def test_takes_torch_labels_and_the_most_classes() -> None:
    matrix = ConfusionMatrix(255)
    truth, prediction = torch.tensor([254, 0], dtype=torch.uint8), torch.tensor([254, 255], dtype=torch.uint8)
    matrix.update(truth, prediction)  # type: ignore[arg-type]
    assert matrix.counts[254, 254] == 1
    assert matrix.counts[0, 255] == 1


def test_pictures_are_compared_at_the_resolution_of_their_truth() -> None:
    truth = np.array([[0, 0, 1, 1], [0, 0, 1, 1]], np.uint8)
    assert evaluate_labels([(truth, np.array([[0, 1]], np.uint8))], ABC).accuracy == 1.0


def test_nothing_to_count_is_nan_and_null() -> None:
    result = evaluate_labels([(np.full(3, 255, np.uint8), np.zeros(3, np.uint8))], ABC)
    assert math.isnan(result.miou)
    assert math.isnan(result.accuracy)
    assert result.counted == 0
    assert result.to_dict()["miou"] is None


def test_round_trip_through_json() -> None:
    pair = (np.array([0, 1, 1], np.uint8), np.array([0, 1, 0], np.uint8))
    result = evaluate_labels([pair], ABC, split="two rooms")
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    back = Evaluation.from_dict(data)
    assert back.to_dict() == result.to_dict()
    assert back.split == "two rooms"
    assert math.isnan(back.iou["c"])


@pytest.mark.parametrize(
    ("truth", "prediction", "words"),
    [
        ([0, 3], [0, 0], "truth holds label 3"),
        ([0, 0], [0, 7], "prediction holds label 7"),
        ([0, 0], [0], "shape"),
    ],
)
def test_refuses(truth: list[int], prediction: list[int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ConfusionMatrix(3).update(np.array(truth, np.uint8), np.array(prediction, np.uint8))


def test_refuses_to_merge_or_name_other_class_counts() -> None:
    with pytest.raises(InputError, match="merge"):
        ConfusionMatrix(3).merge(ConfusionMatrix(4))
    with pytest.raises(InputError, match="3 classes but 4"):
        ConfusionMatrix(4).evaluation(ABC)
    with pytest.raises(InputError, match="1 to 255"):
        ConfusionMatrix(0)
