"""The edge towards the terminal: plain output, messages on one line, and signals that stop the work."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from types import FrameType
from typing import Any, TextIO, cast

from labelfree.errors import printable


def say(text: object) -> None:
    """Print one message on one line of standard error."""
    with suppress(OSError):  # a closed standard error ends no work
        print(f"labelfree: {printable(text)}", file=sys.stderr, flush=True)


class ClosedOutput(Exception):
    """Nobody reads standard output any more, such as behind `| head`."""


@contextmanager
def _closed_named() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ClosedOutput from error


class PlainStream:
    """A stream whose text cannot steer the terminal: names with control characters are written escaped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text; all control characters but line ends and tabs are escaped."""
        with _closed_named():
            self._stream.write(printable(text, keep="\n\t"))
        return len(text)

    def flush(self) -> None:
        """Write out what is held."""
        with _closed_named():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def plain_output() -> Iterator[None]:
    """Escape control characters on standard output, and letters that the terminal's encoding does not have."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    with redirect_stdout(cast(TextIO, PlainStream(sys.stdout))):
        yield


def drain() -> None:
    """Write out what standard output and error hold; a stream that takes no more is pointed at nothing."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, ClosedOutput):
            drop(stream)


def drop(stream: TextIO) -> None:
    """Point a stream at nothing; else the interpreter would write again at its end, and complain."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


AGAIN_SECONDS = 0.05
"""After this time a signal is handled again whose exception was lost."""


class Stopped(KeyboardInterrupt):
    """A signal asked the work to end; a class of its own, or the interpreter would end itself by SIGINT in the end."""


def _interrupt_main(number: signal.Signals) -> None:
    """Send a signal to the main thread, so that it also ends a call that waits."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        _thread.interrupt_main(number)


class Signals:
    """Ctrl-C, SIGTERM and SIGHUP end the work as Ctrl-C does; the second one ends the process at once."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._mine: list[signal.Signals] = []

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Raise KeyboardInterrupt at the first signal; the caller's own handlers are back afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may set handlers
            return
        names = ("SIGINT", "SIGTERM", "SIGHUP")
        wanted = [getattr(signal, name) for name in names if hasattr(signal, name)]
        # What the caller ignores stays ignored: nohup ignores SIGHUP, a shell's background jobs ignore SIGINT.
        before = {number: signal.getsignal(number) for number in wanted}
        self._mine = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
        for number in self._mine:
            signal.signal(number, self._stop)
        unraisable, sys.unraisablehook = sys.unraisablehook, self._unraisable
        try:
            yield
        finally:
            sys.unraisablehook = unraisable
            if self.received is None:  # else the process is about to end, and the next signal may end it at once
                for number in self._mine:
                    signal.signal(number, before[number])

    def _unraisable(self, raised: sys.UnraisableHookArgs) -> None:
        """Stop again where the interpreter has swallowed the exception, as it does in destructors and callbacks."""
        if self.received is None or not isinstance(raised.exc_value, Stopped):
            sys.__unraisablehook__(raised)
            return
        signal.signal(self.received, self._stop)
        again = threading.Timer(AGAIN_SECONDS, _interrupt_main, (self.received,))
        again.daemon = True
        again.start()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        for each in self._mine:
            signal.signal(each, signal.SIG_DFL)
        raise Stopped
