from __future__ import annotations

import numpy as np
import pytest

from labelfree import InputError
from labelfree.config.training import AugmentConfig
from labelfree.training.augment import ImageCrop, draw_crop, move_points


def test_labels_and_pairs_move_together() -> None:
    """A label map that holds each pixel's number must be found again at the place a pair moved to."""
    random = np.random.default_rng(0)
    numbers = np.arange(12 * 20).reshape(12, 20)
    rows, columns = np.divmod(numbers.ravel(), 20)
    for _ in range(50):
        crop = draw_crop(AugmentConfig(), (12, 20), random)
        moved = crop.map(numbers)
        new_rows, new_columns, inside = crop.pixels(rows, columns, (12, 20))
        found = moved[new_rows[inside], new_columns[inside]]
        old = numbers.ravel()[inside]
        # Enlarging repeats pixels, shrinking never happens: each pair lands on its own pixel or its neighbour's copy.
        assert np.abs(found // 20 - old // 20).max() <= 1
        assert np.abs(found % 20 - old % 20).max() <= 1


def test_identity_when_everything_is_off() -> None:
    config = AugmentConfig((1.0, 1.0), (0.5, 2.0), False, False, False)
    crop = draw_crop(config, (6, 8), np.random.default_rng(1))
    values = np.random.default_rng(2).integers(0, 9, (6, 8))
    assert (crop.map(values) == values).all()
    rows, columns, inside = crop.pixels(np.array([0, 5]), np.array([0, 7]), (6, 8))
    assert (rows.tolist(), columns.tolist(), bool(inside.all())) == ([0, 5], [0, 7], True)


def test_flip_mirrors_image_map_and_pixels() -> None:
    crop = ImageCrop(0, 0, 2, 3, flip=True)
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    assert (crop.image(image) == image[:, ::-1]).all()
    assert crop.map(np.array([[1, 2, 3], [4, 5, 6]])).tolist() == [[3, 2, 1], [6, 5, 4]]
    assert crop.pixels(np.array([0]), np.array([0]), (2, 3))[1].tolist() == [2]


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
