"""A lock that admits one process at a time to a run folder."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from labelfree.errors import DataWarning, InputError

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""Environment variables in which launchers set a process's rank; the first that is set counts, as in Lightning."""

_NO_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK})


@contextmanager
def run_lock(folder: str | Path, verb: str, part: str = "") -> Iterator[None]:
    """Lock a run folder while a verb writes to it. Raises an InputError that names the process that holds the lock.

    The operating system releases the lock when the process ends, even if it is killed. In a distributed job only rank
    zero locks. `part` separates processes that may write to one folder at the same time, such as the shards of `label`.
    A folder that the lock made is removed at the end if it is otherwise empty.
    """
    folder = Path(folder)
    if rank() > 0:
        yield
        return
    lock_file, note = folder / f".run{_suffix(part)}.lock", folder / f".run{_suffix(part)}.in-use"
    made = _make_folder(folder)
    lock = _acquire(lock_file, note, folder)
    try:
        with suppress(OSError):  # the note only improves the message to a refused process
            note.unlink(missing_ok=True)  # writing to a FIFO in its place would block
            note.write_text(_holder(verb), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            note.unlink(missing_ok=True)
            if made is not None and list(folder.iterdir()) in ([], [lock_file]):
                shutil.rmtree(made, ignore_errors=True)
        if lock is not None:
            lock.release()


def rank() -> int:
    """Return the rank of this process in a distributed job, 0 outside of one."""
    found = next((os.environ[name] for name in RANK_VARIABLES if name in os.environ), "0")
    return int(found) if found.isdigit() else 0


def _suffix(part: str) -> str:
    return f"-{part}" if part else ""


def _make_folder(folder: Path) -> Path | None:
    """Make a folder with its parents; return the topmost one that was missing, or None if all existed."""
    missing = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be used as a folder ({error.strerror}); choose another --out.") from error
    return missing[-1] if missing else None


def _acquire(lock_file: Path, note: Path, folder: Path) -> FileLock | None:
    """Return the acquired lock, or None with a DataWarning if the file system has no locks."""
    lock = FileLock(lock_file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lock.acquire(blocking=False)
        return lock
    except Timeout as error:
        raise InputError(
            f"{folder} is in use by {_read(note) or 'another process'}; wait for it or choose another --out."
        ) from error
    except (NotImplementedError, OSError) as error:
        number = errno.ENOSYS if isinstance(error, NotImplementedError) else error.errno
        if number not in _NO_LOCKS:
            raise InputError(
                f"{folder}: cannot be written ({os.strerror(number or 0)}); choose another --out."
            ) from error
        warnings.warn(
            f"{folder}: this file system has no locks; do not start the same command twice.", DataWarning, stacklevel=2
        )
        return None


def _holder(verb: str) -> str:
    return f"process {os.getpid()} on {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M} (labelfree {verb})"


def _read(note: Path) -> str:
    try:
        return note.read_text(encoding="utf-8")[:200] if note.is_file() else ""
    except (OSError, ValueError):
        return ""
