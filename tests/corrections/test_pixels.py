from __future__ import annotations

import numpy as np

from helpers.small_capture import make_capture
from labelfree.config.labels import PairingConfig
from labelfree.corrections.pixels import as_truth, corrected_pixels
from labelfree.data.fusion import fuse
from labelfree.data.pairs import pair_points
from labelfree.scene import Scene


def test_pixels_take_the_lowest_class_of_the_points_they_see() -> None:
    fixed = np.array([3, 255, 1, 2], np.uint8)
    point, row, column = np.array([0, 1, 2, 3, 1]), np.array([0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 0])
    assert corrected_pixels(fixed, point, row, column, (2, 2)).tolist() == [[1, 255], [255, 2]]


def test_corrections_stand_for_ground_truth_on_points_and_pixels() -> None:
    frames = make_capture(2).frames()
    scene = Scene("room", fuse(frames).points_world, tuple(frames))
    fixed = np.full(len(scene), 255, np.uint8)
    fixed[: len(scene) // 3] = 1
    truth = as_truth(scene, fixed, (36, 48), PairingConfig())
    assert truth.labels is not None
    assert np.array_equal(truth.labels, fixed)
    for before, after in zip(scene.frames, truth.frames):
        labels = after.load_labels()
        assert labels is not None
        pairs = pair_points(scene, before, (36, 48), PairingConfig())
        slow = np.full((36, 48), 255, np.uint8)
        for point, row, column in zip(pairs.point.tolist(), pairs.row.tolist(), pairs.column.tolist()):
            slow[row, column] = min(slow[row, column], fixed[point])
        assert np.array_equal(labels, slow)
        assert 0 < (labels == 1).sum() < labels.size
