from __future__ import annotations

import math

import numpy as np
import pytest

from labelfree import InputError
from labelfree.config.training import AugmentConfig
from labelfree.training.augment import ImageCrop, draw_crop, mean_point, move_points


def test_labels_and_pairs_move_together() -> None:
    """A label map that holds each pixel's number must be found again at the place a pair moved to."""
    random = np.random.default_rng(0)
    numbers = np.arange(12 * 20).reshape(12, 20)
    rows, columns = (part.astype(np.int32) for part in np.divmod(numbers.ravel(), 20))
    for _ in range(50):
        crop = draw_crop(AugmentConfig(), (12, 20), random)
        moved = crop.map(numbers)
        inside = crop.holds(rows, columns)
        found = moved[crop.pixels(rows[inside], columns[inside], (12, 20))]
        old = numbers.ravel()[inside]
        # Enlarging repeats pixels, shrinking never happens: each pair lands on its own pixel or its neighbour's copy.
        assert np.abs(found // 20 - old // 20).max() <= 1
        assert np.abs(found % 20 - old % 20).max() <= 1


def test_identity_when_everything_is_off() -> None:
    config = AugmentConfig((1.0, 1.0), (0.5, 2.0), False, False, False)
    crop = draw_crop(config, (6, 8), np.random.default_rng(1))
    values = np.random.default_rng(2).integers(0, 9, (6, 8))
    assert (crop.map(values) == values).all()
    rows, columns = np.array([0, 5], np.int32), np.array([0, 7], np.int32)
    assert crop.holds(rows, columns).all()
    assert [new.tolist() for new in crop.pixels(rows, columns, (6, 8))] == [[0, 5], [0, 7]]


def test_flip_mirrors_image_map_and_pixels() -> None:
    crop = ImageCrop(0, 0, 2, 3, flip=True)
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    assert (crop.image(image) == image[:, ::-1]).all()
    assert crop.map(np.array([[1, 2, 3], [4, 5, 6]])).tolist() == [[3, 2, 1], [6, 5, 4]]
    zero = np.zeros(1, np.int32)
    assert crop.pixels(zero, zero, (2, 3))[1].tolist() == [2]


@pytest.mark.parametrize("size", [(12, 20), (7, 5)])
def test_pairs_inside_are_those_whose_new_pixel_lies_in_the_image(size: tuple[int, int]) -> None:
    random = np.random.default_rng(5)
    rows, columns = (pixel.ravel().astype(np.int32) for pixel in np.indices(size))
    for _ in range(100):
        crop = draw_crop(AugmentConfig((0.01, 1.0)), size, random)
        by_pixel = [
            math.floor((row + 0.5 - crop.top) * size[0] / crop.height) in range(size[0])
            and math.floor((column + 0.5 - crop.left) * size[1] / crop.width) in range(size[1])
            for row, column in zip(rows.tolist(), columns.tolist())
        ]
        assert crop.holds(rows, columns).tolist() == by_pixel


def test_a_known_mean_changes_nothing() -> None:
    points = np.random.default_rng(3).uniform(-5, 5, (40, 3)).astype(np.float32)
    moved = [
        move_points(points, AugmentConfig(), np.random.default_rng(4), mean) for mean in (None, mean_point(points))
    ]
    assert (moved[0] == moved[1]).all()


def test_points_keep_their_distances() -> None:
    points = np.random.default_rng(3).uniform(-5, 5, (40, 3)).astype(np.float32)
    moved = move_points(points, AugmentConfig(), np.random.default_rng(4))
    before = np.linalg.norm(points[:, None] - points[None], axis=-1)
    after = np.linalg.norm(moved[:, None] - moved[None], axis=-1)
    assert np.abs(before - after).max() < 1e-4
    assert np.abs(moved.mean(axis=0)).max() < 1e-4
    assert np.allclose(np.diff(np.sort(moved[:, 2])), np.diff(np.sort(points[:, 2])), atol=1e-4)


@pytest.mark.parametrize("area", [(0.0, 1.0), (0.5, 0.2), (0.5, 1.5)])
def test_bad_crops(area: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="crop_area"):
        AugmentConfig(crop_area=area)
