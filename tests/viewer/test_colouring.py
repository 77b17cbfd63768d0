from __future__ import annotations

import numpy as np

from labelfree.viewer.colouring import (
    STOPS,
    heat_colours,
    shown_points,
    similarity_colours,
    thinned,
    unit_range,
    with_selection,
)

BASE = np.array([[10, 20, 30], [200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)


def test_heat_goes_from_blue_to_red() -> None:
    colours = heat_colours(np.array([0.0, 0.25, 0.5, 0.75, 1.0, 2.0, np.nan]))
    expected = 255 * STOPS
    assert np.allclose(colours, [*expected, expected[-1], expected[0]], atol=1)
    between = heat_colours(np.array([0.125]))[0]
    assert np.allclose(between, 255 * (STOPS[0] + STOPS[1]) / 2, atol=1)


def test_range_ignores_unknown_values() -> None:
    assert unit_range(np.array([2.0, np.nan, 6.0, 4.0])).tolist() == [0.0, 0.0, 1.0, 0.5]
    assert unit_range(np.array([np.nan, np.nan])).tolist() == [0.0, 0.0]
    assert unit_range(np.array([3.0, 3.0])).tolist() == [0.0, 0.0]


def test_similar_points_are_hot_and_others_grey() -> None:
    similarity = np.array([0.1, 0.9, np.nan, 0.5], np.float32)
    colours = similarity_colours(similarity, 0.6, BASE)
    assert colours[1].tolist() == heat_colours(np.ones(1))[0].tolist()
    for index in (0, 2, 3):
        assert np.ptp(colours[index].astype(int)) <= 60
    everything = similarity_colours(similarity, 0.0, BASE)
    assert everything[0].tolist() == heat_colours(np.zeros(1))[0].tolist()


def test_selection_changes_only_selected_points() -> None:
    selected = np.array([True, False, True, False])
    tinted = with_selection(BASE, selected)
    assert ((tinted != BASE).any(axis=1) == selected).all()


def test_classes_are_switched_off() -> None:
    labels = np.array([0, 1, 255, 1], np.uint8)
    assert shown_points(labels, {1}).tolist() == [True, False, True, False]
    assert shown_points(labels, ()).all()


def test_large_clouds_are_thinned_evenly_and_the_same_way() -> None:
    assert thinned(5, 5) is None
    chosen = thinned(1000, 100)
    assert chosen is not None
    assert len(set(chosen.tolist())) == 100
    assert (np.diff(chosen) > 0).all()
    again = thinned(1000, 100)
    assert again is not None
    assert np.array_equal(chosen, again)
