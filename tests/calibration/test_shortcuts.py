"""Histogram classifiers find a class that a feature tells, and nothing where it tells none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.small_capture import make_capture
from labelfree.calibration.histogram import Samples, cross_validated_miou, fit_histogram
from labelfree.calibration.shortcuts import (
    WINDOWS,
    _mean,
    colour_samples,
    position_samples,
    size_samples,
    texture_samples,
)
from labelfree.data.fusion import fuse
from labelfree.errors import InputError
from labelfree.scene import Scene
from labelfree.segments.geometric import surface_graph


def samples(seed: int, informative: bool, count: int = 600) -> Samples:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    told = labels if informative else random.integers(0, 3, count)
    features = np.column_stack([told + random.normal(scale=0.05, size=count), random.random(count)])
    return Samples(features, labels, np.ones(count, np.int64))


def test_a_telling_feature_is_found_and_another_is_not() -> None:
    for informative, low, high in ((True, 0.85, 1.0), (False, 0.0, 0.25)):
        reached = cross_validated_miou([samples(seed, informative) for seed in range(5)], 3, 10)
        assert reached is not None
        assert low <= reached <= high


def test_cells_with_few_samples_take_the_class_of_coarser_ones() -> None:
    features = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2], [5.3], [9.0]])
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    fitted = fit_histogram(Samples(features, labels, np.ones(8, np.int64)), 2, 0.0, least=3)
    assert fitted.predict(np.array([[0.1], [5.15], [8.0], [-7.0]])).tolist() == [0, 1, 1, 0]


def test_a_fold_is_not_measured_with_itself() -> None:
    """Each scene has one place of its own and another class there, so nothing can be known about the others."""
    scenes = [Samples(np.full((50, 1), 10.0 * i), np.full(50, i), np.ones(50, np.int64)) for i in range(4)]
    assert cross_validated_miou(scenes, 4, 10) == 0


def test_one_scene_cannot_be_validated_and_wrong_ids_are_refused() -> None:
    assert cross_validated_miou([samples(0, True)], 3, 10) is None
    with pytest.raises(InputError, match="holds label 2, but there are 2 classes"):
        cross_validated_miou([samples(0, True), samples(1, True)], 2, 10)


def test_window_means_are_those_of_a_loop() -> None:
    values = np.random.default_rng(0).random((9, 14))
    for side in WINDOWS:
        padded = np.pad(values, side // 2, mode="edge")
        expected = [[padded[r : r + side, c : c + side].mean() for c in range(14)] for r in range(9)]
        np.testing.assert_allclose(_mean(values, side), expected)


def test_samples_of_a_room() -> None:
    frames = make_capture(6).frames()
    cloud = fuse(frames, with_labels=True)
    scene = Scene("room", cloud.points_world, tuple(frames), cloud.colours, labels=cloud.labels)

    colour, texture = colour_samples(frames[0]), texture_samples(frames[0])
    assert colour.features.shape == texture.features.shape == (5000, 3)
    image, labels = frames[0].load_image(), frames[0].load_labels()
    assert labels is not None
    known = {(*map(int, image[i, j]), int(labels[i, j])) for i in range(image.shape[0]) for j in range(image.shape[1])}
    assert {(*map(int, c), int(t)) for c, t in zip(colour.features, colour.labels)} <= known

    position = position_samples(scene)
    floor = position.labels == 1
    assert np.abs(position.features[floor, 0]).max() < 0.05  # the floor is at height 0
    assert position.features[position.labels == 2, 0].max() == pytest.approx(0.8, abs=0.1)  # the box is 0.8 m high

    size = size_samples(scene, surface_graph(scene.points_world, scene.colours, 0.05))
    largest = [np.argmax(np.where(size.labels == label, size.weights, 0)) for label in range(3)]
    np.testing.assert_allclose(size.features[largest[2]], [0.8, 1.0, 1.1], atol=0.15)
    np.testing.assert_allclose(size.features[largest[1], 1:], [4.0, 5.0], atol=0.4)
    assert size.weights.sum() == (cloud.labels != 255).sum() if cloud.labels is not None else False

    nothing = replace(scene, labels=None)
    assert len(position_samples(nothing).labels) == 0
    assert len(size_samples(nothing, surface_graph(scene.points_world, None, 0.05)).labels) == 0
