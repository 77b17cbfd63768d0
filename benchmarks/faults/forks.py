"""Run `labelfree` commands in forked children: modules are imported once, and each child has its own limits."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import struct
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

GIB = 1 << 30
CAP_READ_ANYWAY = 0b110
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, which let root ignore file modes."""


@dataclass(frozen=True)
class Limits:
    """Limits of time and memory for a command on small inputs."""

    cpu_seconds: float = 60.0
    idle_seconds: float = 10.0
    """Maximum seconds without CPU time; a longer wait counts as a hang."""
    wall_seconds: float = 600.0
    address_bytes: int = 6 * GIB
    """Address space in addition to that of the parent."""
    peak_bytes: int = 3 * GIB
    """Resident memory in addition to that of the parent."""
    file_bytes: int | None = None
    """RLIMIT_FSIZE, used in place of a full disk where none can be mounted."""


@dataclass(frozen=True)
class Stop:
    """A signal that is sent to a command `after_s` seconds after its start."""

    signal: signal.Signals
    after_s: float


@dataclass(frozen=True)
class Outcome:
    """The outcome of a command."""

    command: tuple[str, ...]
    code: int
    """Exit code, or minus the number of the signal that ended the command."""
    stdout: str
    stderr: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    """Peak resident memory in addition to that of the parent."""
    hang: str = ""
    stopped: bool = False
    """Whether the command was still running when the signal was sent."""
    signal: int = 0
    """The signal of the stop; 0 where none was sent."""


@dataclass
class Running:
    """A running command."""

    command: tuple[str, ...]
    pid: int
    logs: tuple[Path, Path]
    started: float
    limits: Limits
    stop: Stop | None = None
    stopped: bool = False
    hang: str = ""
    busy: tuple[float, float] = field(default=(0.0, 0.0))
    """Last measured CPU seconds, and the time at which they last increased."""


def start(
    command: Sequence[str],
    folder: Path,
    limits: Limits,
    stop: Stop | None = None,
    environment: Mapping[str, str] | None = None,
    patches: Mapping[str, object] | None = None,
    real: bool = False,
) -> Running:
    """Start `labelfree COMMAND` in `folder`, as a fork or, with `real`, in a new interpreter.

    `patches` replaces attributes, given as `module:name`, where they exist.
    """
    logs = folder / f".stdout-{time.monotonic_ns()}", folder / f".stderr-{time.monotonic_ns()}"
    sys.stdout.flush()
    sys.stderr.flush()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _child(command, folder, logs, limits, {**(environment or {})}, patches or {}, real)
    return Running(tuple(command), pid, logs, began, limits, stop, busy=(0.0, began))


def finish(running: Running) -> Outcome:
    """Wait for a command and return what became of it."""
    handle = os.pidfd_open(running.pid)
    try:
        while not select.select([handle], [], [], _patience(running))[0]:
            _look_after(running)
        _, status, usage = os.wait4(running.pid, 0)
    finally:
        os.close(handle)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(running.pid, signal.SIGKILL)  # remaining child processes
    seconds = time.monotonic() - running.started
    stdout, stderr = (path.read_bytes().decode("utf-8", "replace") if path.exists() else "" for path in running.logs)
    for path in running.logs:
        path.unlink(missing_ok=True)
    peak = max(0, usage.ru_maxrss * 1024 - resident_bytes())
    code = os.waitstatus_to_exitcode(status)
    used = usage.ru_utime + usage.ru_stime
    sent = running.stop.signal if running.stop is not None and running.stopped else 0
    return Outcome(running.command, code, stdout, stderr, seconds, used, peak, running.hang, running.stopped, int(sent))


def run(command: Sequence[str], folder: Path, limits: Limits, **more: object) -> Outcome:
    """Run a command to its end; see `start`."""
    return finish(start(command, folder, limits, **more))  # type: ignore[arg-type]


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _patience(running: Running) -> float:
    if running.stop is None or running.stopped:
        return 0.25
    return min(0.25, max(0.0, running.started + running.stop.after_s - time.monotonic()))


def _look_after(running: Running) -> None:
    """Send the signal when it is due; kill a command that exceeds its limits."""
    now, limits = time.monotonic(), running.limits
    if running.stop is not None and not running.stopped and now >= running.started + running.stop.after_s:
        os.kill(running.pid, running.stop.signal)
        running.stopped = True
        return
    used = _cpu_seconds(running.pid)
    if used > running.busy[0]:
        running.busy = used, now
    if used > limits.cpu_seconds:
        running.hang = f"more than {limits.cpu_seconds:g} s of CPU time"
    elif now - running.busy[1] > limits.idle_seconds:
        running.hang = f"idle for {limits.idle_seconds:g} s"
    elif now - running.started > limits.wall_seconds:
        running.hang = f"more than {limits.wall_seconds:g} s"
    if running.hang:
        os.killpg(running.pid, signal.SIGKILL)


def _cpu_seconds(pid: int) -> float:
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")


def _child(
    command: Sequence[str],
    folder: Path,
    logs: tuple[Path, Path],
    limits: Limits,
    environment: dict[str, str],
    patches: Mapping[str, object],
    real: bool,
) -> None:
    """Run the command in this process and exit."""
    code = 1
    try:
        os.setpgid(0, 0)
        for number, path in enumerate((Path("/dev/null"), *logs)):
            opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(opened, number)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a campaign in the background ignores SIGINT
        os.chdir(folder)
        os.environ.update(environment)
        _limit(limits)
        if real:
            os.execv(sys.executable, [sys.executable, "-m", "labelfree", *command])
        _drop_override()
        code = _call(command, patches)
        if "LABELFREE_MODULES" in environment:
            Path(environment["LABELFREE_MODULES"]).write_text("\n".join(sys.modules))
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 255)


def _call(command: Sequence[str], patches: Mapping[str, object]) -> int:
    for place, value in patches.items():
        module, _, name = place.partition(":")
        with contextlib.suppress(ImportError):
            if hasattr(found := import_module(module), name):
                setattr(found, name, value)
    main = import_module("labelfree.cli.main").main
    sys.argv = ["labelfree", *command]
    sys.modules["__main__"].__spec__ = None  # processes launched by Fabric use argv, not this campaign
    try:
        return int(main(list(command)) or 0)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            return 1
        return int(stop.code or 0)


def _limit(limits: Limits) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") + limits.address_bytes
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.file_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))


def _drop_override() -> None:
    """Enforce file modes for root too, so that unreadable files and read-only folders can be tested."""
    libc = ctypes.CDLL(None)
    header = ctypes.create_string_buffer(struct.pack("<Ii", 0x20080522, 0))
    data = ctypes.create_string_buffer(24)
    if libc.capget(header, data) == 0:
        values = list(struct.unpack("<6I", data.raw))
        values[0] &= ~CAP_READ_ANYWAY
        libc.capset(header, ctypes.create_string_buffer(struct.pack("<6I", *values)))
