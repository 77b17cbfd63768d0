from __future__ import annotations

import numpy as np
import pytest
import torch

from labelfree.errors import InputError
from labelfree_lab.teachers.crops import (
    TaggedPictures,
    Windows,
    aim_at_objects,
    cut_out,
    jitter_colours,
    read_tags,
    tag_shares,
)

CLASSES = 5


@pytest.fixture
def pictures() -> TaggedPictures:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 24, 32, 3), dtype=np.uint8)
    classes = rng.integers(0, CLASSES, (12, 3, 4), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    classes[:, :4] = 255
    classes[classes == 4] = 3
    classes[7, 20:, 20:] = 4
    return TaggedPictures.index(images, classes, CLASSES)


def test_shares_count_pixels() -> None:
    classes = np.array([[[0, 0], [1, 255]], [[4, 4], [4, 4]]], dtype=np.uint8)
    assert tag_shares(classes, CLASSES).tolist() == [[0.5, 0.25, 0, 0, 0], [0, 0, 0, 0, 1]]


def test_crops_are_aimed_evenly_at_classes(pictures: TaggedPictures) -> None:
    windows = aim_at_objects(np.random.default_rng(1), pictures, 1000, (6, 20))
    assert windows.height.min() >= 6
    assert windows.height.max() <= 20
    assert (windows.top >= 0).all()
    assert (windows.left + windows.width <= 32).all()
    assert (windows.top + windows.height <= 24).all()
    rare = read_tags(pictures, windows, 0.01)[:, 4]
    assert 0.15 < rare.mean() < 0.25  # only picture 7 shows class 4, yet every fifth crop is aimed at it
    assert (windows.picture[rare] == 7).all()


def test_tags_are_the_classes_that_cover_enough(pictures: TaggedPictures) -> None:
    windows = aim_at_objects(np.random.default_rng(2), pictures, 50, (6, 24))
    tags = read_tags(pictures, windows, 0.2)
    for row, (n, rows, columns) in zip(tags, windows.places()):
        cut = pictures.classes[n, rows, columns]
        shares = [float((cut == k).mean()) for k in range(CLASSES)]
        expected = [s >= 0.2 or (s > 0 and s == max(shares)) for s in shares]
        assert row.tolist() == expected


def test_a_cut_of_its_own_size_is_the_picture(pictures: TaggedPictures) -> None:
    windows = Windows(*(np.array(v) for v in ([3, 3], [2, 2], [5, 5], [8, 8], [8, 8])))
    cuts = cut_out(pictures, windows, (8, 8), np.array([False, True]))
    expected = torch.from_numpy(pictures.images[3, 2:10, 5:13]).permute(2, 0, 1) / 255
    assert torch.allclose(cuts[0], expected)
    assert torch.allclose(cuts[1], expected.flip(-1))


def test_jitter_of_no_strength_changes_nothing() -> None:
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    assert torch.allclose(jitter_colours(images, generator, 0.0), images, atol=1e-6)
    changed = jitter_colours(images, generator)
    assert not torch.allclose(changed, images, atol=0.05)
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1


def test_a_corpus_that_does_not_fit_together_is_refused() -> None:
    with pytest.raises(InputError, match="class maps"):
        TaggedPictures.index(np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4, 5), np.uint8), CLASSES)
