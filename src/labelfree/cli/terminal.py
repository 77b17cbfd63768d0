"""Terminal input and output: escaped output, messages on one line, and signals that stop the work."""

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
    with suppress(OSError):  # a closed standard error does not stop the work
        print(f"labelfree: {printable(text)}", file=sys.stderr, flush=True)


class ClosedOutput(Exception):
    """The reader of standard output has ended, such as `| head`."""


@contextmanager
def _closed_named() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ClosedOutput from error


class PlainStream:
    """A text stream that escapes control characters, so that no printed name can control the terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text with all control characters escaped except line ends and tabs; return its length."""
        with _closed_named():
            self._stream.write(printable(text, keep="\n\t"))
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        with _closed_named():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def plain_output() -> Iterator[None]:
    """Escape control characters on standard output, and characters that the terminal's encoding cannot represent."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    with redirect_stdout(cast(TextIO, PlainStream(sys.stdout))):
        yield


def drain() -> None:
    """Flush standard output and standard error; redirect a stream that cannot be written to the null device."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, ClosedOutput):
            drop(stream)


def drop(stream: TextIO) -> None:
    """Redirect a stream to the null device, so that the interpreter's flush at exit does not fail."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


AGAIN_SECONDS = 0.05
"""Time after which a signal is sent again whose exception was swallowed."""


class Stopped(KeyboardInterrupt):
    """The exception of a signal that stops the work.

    It is a subclass, because the interpreter ends itself by SIGINT on a plain KeyboardInterrupt.
    """


def _interrupt_main(number: signal.Signals) -> None:
    """Send a signal to the main thread, so that it also interrupts a blocking call."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        _thread.interrupt_main(number)


class Signals:
    """Handlers of SIGINT, SIGTERM and SIGHUP: the first signal stops the work, the second ends the process at once."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._mine: list[signal.Signals] = []

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Raise KeyboardInterrupt at the first signal; restore the caller's handlers afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may set handlers
            return
        names = ("SIGINT", "SIGTERM", "SIGHUP")
        wanted = [getattr(signal, name) for name in names if hasattr(signal, name)]
        # Signals that the caller ignores stay ignored: nohup ignores SIGHUP, a shell's background jobs ignore SIGINT.
        before = {number: signal.getsignal(number) for number in wanted}
        self._mine = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
        for number in self._mine:
            signal.signal(number, self._stop)
        unraisable, sys.unraisablehook = sys.unraisablehook, self._unraisable
        try:
            yield
        finally:
            sys.unraisablehook = unraisable
            if self.received is None:  # else keep the defaults: the next signal ends the process
                for number in self._mine:
                    signal.signal(number, before[number])

    def _unraisable(self, raised: sys.UnraisableHookArgs) -> None:
        """Send the signal again if the interpreter swallowed its exception, as it does in destructors and callbacks."""
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
