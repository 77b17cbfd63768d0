"""Names of temporary files, and the removal of those whose process was killed."""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

OLD_SECONDS = 24 * 3600.0
"""A temporary file of another machine, whose processes cannot be seen, counts as left over after this time."""

_NAME_LETTERS = 40
"""How much of a name a temporary name repeats: a file name has at most 255 bytes."""
_NAME = re.compile(r"\..*\.(?:(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-(?P<start>\d+)|\d+)-\d+\.tmp", re.DOTALL)
_COUNT = itertools.count()


def temporary_name(path: Path) -> Path:
    """Return an unused hidden name beside `path` that identifies this process and this machine."""
    process = os.getpid()
    token = f"{_machine()}-{process}-{_start(process)}-{next(_COUNT)}"
    return path.with_name(f".{path.name[:_NAME_LETTERS]}.{token}.tmp")


def remove_leftovers(folder: str | Path) -> None:
    """Remove the temporary files and folders of ended processes in a folder and in all folders inside it."""
    for place, _, _ in os.walk(folder, topdown=True):
        clean(place)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder for intermediate files in the system's place for them, and remove it at the end."""
    folder = temporary_name(Path(tempfile.gettempdir()) / "labelfree")
    clean_once(folder.parent)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        remove(folder)


def clean_once(folder: str | Path) -> None:
    """Clean a folder, the first time that this process asks for it."""
    _clean_once(os.path.abspath(folder), os.getpid())


@functools.cache
def _clean_once(folder: str, process: int) -> None:
    """Clean a folder; a fork inherits what was cleaned, so that it counts as a process of its own."""
    clean(folder)


def clean(folder: str | Path) -> None:
    """Remove the temporary files and folders of ended processes in a folder, not in those inside it."""
    try:
        entries = [entry for entry in os.scandir(folder) if entry.name.endswith(".tmp")]
    except OSError:
        return
    for entry in entries:
        named = _NAME.fullmatch(entry.name)
        with suppress(OSError):
            if named is not None and _ended(named, entry.stat(follow_symlinks=False).st_mtime):
                remove(Path(entry.path))


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, as far as that is possible."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):
                path.chmod(0o700)  # a folder that cannot be read cannot be emptied
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _ended(named: re.Match[str], written: float) -> bool:
    """Tell whether the process of a temporary name has ended; where that cannot be seen, whether it is old."""
    if named["machine"] != _machine() or os.name != "posix":
        return time.time() - written > OLD_SECONDS
    process, start = int(named["process"]), int(named["start"])
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # it runs, and belongs to another user
        pass
    return _start(process) not in {0, start}  # the number belongs to another process by now


@functools.cache
def _machine() -> str:
    """Return a digest of what process numbers belong to: the machine, and inside it the container."""
    try:
        numbering = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbering = ""
    return hashlib.sha256(f"{socket.gethostname()} {numbering}".encode()).hexdigest()[:8]


def _start(process: int) -> int:
    """Return when a process started, in clock ticks since the machine did; 0 where it is unknown, -1 if it has ended.

    A process that was killed is still listed, as a zombie, until its parent has asked how it ended.
    """
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
        return -1 if state in {b"Z", b"X"} else int(fields[18])
    except (OSError, ValueError, IndexError):
        return 0
