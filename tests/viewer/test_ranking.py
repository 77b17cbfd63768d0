from __future__ import annotations

import numpy as np

from labelfree.viewer.ranking import doubtful_segments, ranked_segments, segment_means

VALUES = np.array([0.1, 0.3, np.nan, 0.9, 0.7, 0.8, np.nan], np.float32)
SEGMENTS = np.array([0, 0, 0, 1, 1, 1, 2])


def test_means_are_of_known_values() -> None:
    means, sizes = segment_means(VALUES, SEGMENTS)
    assert np.allclose(means, [0.2, 0.8, np.nan], equal_nan=True)
    assert sizes.tolist() == [3, 3, 1]


def test_means_agree_with_a_loop() -> None:
    random = np.random.default_rng(0)
    values, segments = random.normal(size=300), random.integers(0, 20, 300)
    means, _ = segment_means(values, segments)
    assert np.allclose(means, [values[segments == segment].mean() for segment in range(20)])


def test_the_most_similar_segment_comes_first() -> None:
    found = ranked_segments(VALUES, SEGMENTS, least_points=1)
    assert [each.segment for each in found] == [1, 0]
    assert found[0].points == 3
    assert [each.segment for each in ranked_segments(VALUES, SEGMENTS, 0.5, 1)] == [1]
    assert ranked_segments(VALUES, SEGMENTS) == ()  # too small to be listed


def test_large_uncertain_segments_are_offered_first() -> None:
    scores = np.array([0.2] * 2 + [0.6] * 10 + [0.99] * 100, np.float32)
    segments = np.repeat([0, 1, 2], [2, 10, 100])
    done = np.zeros(112, np.bool_)
    order = [each.segment for each in doubtful_segments(scores, segments, done, 1)]
    assert order == [1, 0, 2]  # 4.0, 1.6 and 1.0 expected wrong points
    done[2:8] = True
    assert [each.segment for each in doubtful_segments(scores, segments, done, 1)] == [0, 2]
