"""Match messages of several topics by time while they are read, with a bounded number of messages in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")

WINDOW = 32
"""Messages of a topic that wait for their counterparts; the topics of one camera lag behind each other by a few."""


@dataclass(frozen=True)
class Stamped(Generic[Item]):
    """A message and its time in nanoseconds."""

    time: int
    item: Item


@dataclass(frozen=True)
class Match(Generic[Item]):
    """A message of the main topic and the nearest one of each other topic; None where none is near enough."""

    main: Stamped[Item]
    others: tuple[Stamped[Item] | None, ...]


class NearestInTime(Generic[Item]):
    """Matches each message of the main topic, which is topic 0, with the nearest ones of the other topics.

    Messages of one topic come in order of time; topics may lag behind each other. A message is matched when every
    other topic has passed its time, or when `window` messages wait.
    """

    def __init__(self, others: int, tolerance: int, window: int = WINDOW) -> None:
        self._tolerance, self._window = tolerance, window
        self._waiting: deque[Stamped[Item]] = deque()
        self._seen: list[deque[Stamped[Item]]] = [deque() for _ in range(others)]
        self._latest: list[int | None] = [None] * others

    def add(self, topic: int, message: Stamped[Item]) -> Iterator[Match[Item]]:
        """Add a message and yield the matches that are complete."""
        if topic == 0:
            self._waiting.append(message)
        else:
            seen, latest = self._seen[topic - 1], self._latest[topic - 1]
            seen.append(message)
            self._latest[topic - 1] = message.time if latest is None else max(latest, message.time)
            self._forget(seen)
        while self._waiting and (self._passed(self._waiting[0].time) or len(self._waiting) > self._window):
            yield self._match()

    def end(self) -> Iterator[Match[Item]]:
        """Yield the matches of the messages that still wait."""
        while self._waiting:
            yield self._match()

    def _passed(self, time: int) -> bool:
        return all(latest is not None and latest >= time + self._tolerance for latest in self._latest)

    def _match(self) -> Match[Item]:
        main = self._waiting.popleft()
        return Match(main, tuple(self._nearest(seen, main.time) for seen in self._seen))

    def _nearest(self, seen: Sequence[Stamped[Item]], time: int) -> Stamped[Item] | None:
        best = min(seen, key=lambda message: abs(message.time - time), default=None)
        return None if best is None or abs(best.time - time) > self._tolerance else best

    def _forget(self, seen: deque[Stamped[Item]]) -> None:
        """Drop messages that are too old for the first waiting one, or too many."""
        while len(seen) > self._window or (self._waiting and seen[0].time < self._waiting[0].time - self._tolerance):
            seen.popleft()
            if not seen:
                break
