"""Majority labels of segments, and the bound they give, on tiny maps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from labelfree.calibration.majority import MajorityOfTruth, fused_majority, majority_labels
from labelfree.method.pairing import Pairs

TRUTH = np.array([[0, 0, 1, 255], [1, 1, 1, 2]], np.uint8)
MASKS = np.array([[1, 1, 1, 1], [2, 2, 0, 3]], np.uint16)


def test_each_mask_takes_its_majority() -> None:
    found = majority_labels(TRUTH, MASKS, 3)
    np.testing.assert_array_equal(found, [[0, 0, 0, 0], [1, 1, 255, 2]])


def test_a_mask_of_ignored_pixels_has_no_class() -> None:
    found = majority_labels(np.array([255, 255, 1], np.uint8), np.array([1, 1, 2]), 2)
    np.testing.assert_array_equal(found, [255, 255, 1])


def test_bound_counts_uncovered_pixels_as_wrong_or_leaves_them_out() -> None:
    majority = MajorityOfTruth(3)
    majority.update(TRUTH, MASKS)
    majority.update(TRUTH, np.zeros_like(MASKS))
    bound = majority.bound()
    assert bound is not None
    # Covered: class 0 has 2 hits and 1 false positive, class 1 2 hits of 3, class 2 1 of 1.
    assert bound.covered_miou == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    # Everything: 4 of class 0, 8 of class 1 and 2 of class 2 in both images.
    assert bound.miou == pytest.approx((2 / 5 + 2 / 8 + 1 / 2) / 3)
    assert bound.uncovered == pytest.approx(8 / 14)
    assert bound.segments == 3 / 2


def test_without_masks_nothing_is_covered_and_without_truth_nothing_counted() -> None:
    majority = MajorityOfTruth(3)
    assert majority.bound() is None
    majority.update(TRUTH, np.zeros_like(MASKS))
    bound = majority.bound()
    assert bound is not None
    assert (bound.miou, bound.uncovered) == (0, 1)
    assert math.isnan(bound.covered_miou)


def test_views_vote_with_the_majority_of_their_masks() -> None:
    truth = np.array([0, 0, 1, 1, 1, 255], np.uint8)

    def view(points: list[int], masks: list[int]) -> tuple[Pairs, np.ndarray]:
        row = torch.zeros(len(points), dtype=torch.int64)
        return Pairs(torch.tensor(points), row, torch.arange(len(points))), np.array([masks], np.uint16)

    views = [
        view([0, 1, 2, 5], [1, 1, 1, 1]),  # all become 0
        view([2, 3], [4, 0]),  # 2 becomes 1: a tie, which the lower class wins; 3 lies in no mask
        view([2, 3], [2, 2]),
    ]
    np.testing.assert_array_equal(fused_majority(truth, views[:2], 2), [0, 0, 0, 255, 255, 0])
    np.testing.assert_array_equal(fused_majority(truth, views, 2), [0, 0, 1, 1, 255, 0])
