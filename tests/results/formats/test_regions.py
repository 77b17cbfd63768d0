from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from labelfree.prediction import Prediction
from labelfree.results.formats.regions import column_counts, label_parts, line_counts, regions_of
from labelfree.vocabulary import Vocabulary

ABC = Vocabulary(("a", "b", "c"))


def flooded(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Label parts by flood fill, pixel by pixel."""
    part = np.full(labels.shape, -1)
    for start in np.ndindex(*labels.shape):
        if part[start] >= 0:
            continue
        number, stack = part.max() + 1, [start]
        part[start] = number
        while stack:
            row, column = stack.pop()
            for near in np.ndindex(3, 3):
                y, x = row + near[0] - 1, column + near[1] - 1
                inside = 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]
                if inside and part[y, x] < 0 and labels[y, x] == labels[row, column]:
                    part[y, x] = number
                    stack.append((y, x))
    return part


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (17, 23), (40, 30)])
@pytest.mark.parametrize("classes", [1, 2, 3])
def test_parts_are_those_of_a_flood_fill(size: tuple[int, int], classes: int) -> None:
    labels = np.random.default_rng(classes).integers(0, classes, size, dtype=np.uint8)
    np.testing.assert_array_equal(label_parts(labels), flooded(labels))  # both number parts by their first pixel


def test_a_spiral_is_one_part() -> None:
    labels = np.zeros((21, 21), np.uint8)
    for ring in range(0, 10, 2):
        labels[ring, ring : 21 - ring] = labels[20 - ring, ring : 21 - ring] = 1
        labels[ring : 21 - ring, ring] = labels[ring : 21 - ring, 20 - ring] = 1
        labels[ring + 1, ring] = 0
        labels[ring + 2, ring + 1] = 1
    np.testing.assert_array_equal(label_parts(labels), flooded(labels))


@pytest.mark.parametrize("per", ["region", "class"])
def test_masks_are_disjoint_and_cover_the_labelled_pixels(per: str) -> None:
    random = np.random.default_rng(0)
    labels = random.choice(np.array([0, 1, 2, 255], np.uint8), (20, 30), p=[0.4, 0.3, 0.1, 0.2])
    scores = random.random((20, 30), dtype=np.float32)
    covered = np.full(labels.shape, 255, np.uint8)
    for region in regions_of(Prediction(labels, ABC, scores), per):  # type: ignore[arg-type]
        left, top, width, height = region.box
        there = covered[top : top + height, left : left + width]
        assert (there[region.mask] == 255).all()
        there[region.mask] = region.label
        for axis in (0, 1):
            assert np.any(region.mask, axis=axis).take([0, -1]).all()
        inside = scores[top : top + height, left : left + width][region.mask]
        assert region.score == pytest.approx(float(inside.mean()))
        assert region.area == len(inside)
    np.testing.assert_array_equal(covered, labels)


def test_small_regions_are_left_out_and_scores_may_be_missing() -> None:
    labels = np.array([[0, 0, 255], [255, 255, 1]], np.uint8)
    found = regions_of(Prediction(labels, ABC), least_pixels=2)
    assert [(region.label, region.area, region.score) for region in found] == [(0, 2, None)]
    assert regions_of(Prediction(np.full((2, 2), 255, np.uint8), ABC)) == []


def plain_counts(pixels: NDArray[np.bool_]) -> list[int]:
    counts, value = [0], False
    for pixel in pixels.tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


@pytest.mark.parametrize("place", [(0, 0), (2, 3), (0, 3), (5, 0)])
@pytest.mark.parametrize("share", [0.5, 1.0, 0.9])
def test_run_lengths_are_those_of_a_loop(place: tuple[int, int], share: float) -> None:
    mask = np.random.default_rng(0).random((6, 7)) < share
    for size in ((6 + place[0], 7 + place[1]), (20, 15)):
        whole = np.zeros(size, np.bool_)
        whole[place[0] : place[0] + 6, place[1] : place[1] + 7] = mask
        assert line_counts(mask, place, size) == plain_counts(whole.ravel())
        assert column_counts(mask, place, size) == plain_counts(whole.T.ravel())
