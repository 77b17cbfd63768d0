"""Messages matched while they are read agree with a search through all messages, and few are kept."""

from __future__ import annotations

import numpy as np
import pytest

from labelfree.data.bags.matching import WINDOW, Match, NearestInTime, Stamped


def match_streams(
    messages: list[tuple[int, int]], others: int, tolerance: int, window: int = WINDOW
) -> list[Match[int]]:
    matcher = NearestInTime[int](others, tolerance, window)
    found = [match for topic, time in messages for match in matcher.add(topic, Stamped(time, time))]
    return [*found, *matcher.end()]


@pytest.mark.parametrize("seed", range(6))
def test_the_nearest_of_all_messages_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = [np.unique(rng.integers(0, 3000, 100)) for _ in range(3)]
    lags = rng.integers(0, 200, 3)  # each topic is recorded some time after its stamps
    messages = [(int(time + lags[topic]), topic, int(time)) for topic in range(3) for time in times[topic]]
    ordered = [(topic, time) for _, topic, time in sorted(messages)]
    found = match_streams(ordered, 2, 15)
    assert sorted(match.main.time for match in found) == times[0].tolist()
    for match in found:
        for other, known in zip(match.others, times[1:]):
            gap = int(np.abs(known - match.main.time).min())
            assert (None if other is None else abs(other.time - match.main.time)) == (gap if gap <= 15 else None)


def test_a_missing_topic_ends_in_none_and_the_window_bounds_what_waits() -> None:
    matcher = NearestInTime[int](1, 5, window=4)
    found = [match for time in range(0, 1000, 10) for match in matcher.add(0, Stamped(time, time))]
    assert len(found) == 100 - 4
    assert all(match.others == (None,) for match in [*found, *matcher.end()])
    for time in range(5000, 9000, 10):
        assert not list(matcher.add(1, Stamped(time, time)))
    assert len(matcher._seen[0]) == 4


def test_without_other_topics_each_message_is_complete_at_once() -> None:
    matcher = NearestInTime[str](0, 5)
    assert [match.main.item for match in matcher.add(0, Stamped(1, "a"))] == ["a"]
