"""Progress of long work on standard error: a bar on a terminal, else plain lines with the time left."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINE_EVERY_S = 10.0
"""Least time between two plain lines, in seconds."""


class Progress:
    """A context manager that counts finished items and prints the progress to standard error."""

    def __init__(self, title: str, total: int, done: int = 0, enabled: bool = True) -> None:
        self.title, self.total, self.done = title, total, done
        self._started, self._first, self._printed = time.monotonic(), done, 0.0
        self._bar: Bar | None = None
        self._lines = enabled and not sys.stderr.isatty()
        if enabled and sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
            self._bar = Bar(*columns, *times, console=Console(stderr=True))
            self._task = self._bar.add_task(title, total=total, completed=done)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._lines and kind is None and self.total:
            print(f"{self.title}: {self.done}/{self.total} in {duration(self._elapsed())}", file=sys.stderr, flush=True)

    def advance(self, note: str = "") -> None:
        """Count one more finished item; `note` is printed with it."""
        self.done += 1
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, description=f"{self.title} {note}".strip())
        elif self._lines and self._elapsed() - self._printed > LINE_EVERY_S and self.done < self.total:
            self._printed = self._elapsed()
            left = self._printed / max(1, self.done - self._first) * (self.total - self.done)
            print(
                f"{self.title}: {self.done}/{self.total} {note}, about {duration(left)} left",
                file=sys.stderr,
                flush=True,
            )

    def _elapsed(self) -> float:
        return time.monotonic() - self._started


def duration(seconds: float) -> str:
    """Return seconds as text, such as 4.2 s, 3 min 20 s or 2 h 05 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
