"""Errors of the system and of libraries, such as a full disk, turned into one sentence for the user."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from labelfree.errors import InputError

DISK_FULL = "the disk is full; free some space, or choose folders on another disk (--out, --cache)"
OUT_OF_MEMORY = (
    "lower train.images_per_scene, train.scenes_per_batch, labels.image_size or memory_gb, or close other programs"
)

_REASONS = {
    errno.ENOSPC: DISK_FULL,
    errno.EDQUOT: "the disk quota is used up; free some space, or choose folders on another disk (--out, --cache)",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission denied; change its permissions or choose another place",
    errno.EPERM: "the system does not permit this; change its permissions or choose another place",
    errno.ENOTDIR: "a part of this path is a file where a folder is expected; rename the file or give another path",
    errno.EISDIR: "this is a folder where a file is expected; rename the folder or give another path",
    errno.EEXIST: "this is a file where a folder is expected; rename the file or give another path",
    errno.ENOTEMPTY: "the folder holds files that another program writes; stop that program or give another path",
    errno.ENOENT: "no such file or folder; check that it was not moved meanwhile",
    errno.EMFILE: "too many open files; raise the limit with 'ulimit -n 4096', or lower train.workers",
    errno.ENFILE: "the system has too many open files; close other programs",
    errno.ENAMETOOLONG: "the name is too long for the file system; give a shorter one",
    errno.ELOOP: "its symbolic links point at each other; fix them",
    errno.EIO: "the disk reports an input/output error; check the disk and copy the file again",
    errno.EFBIG: "the file would exceed the largest size that is allowed here; choose another disk",
    errno.ETXTBSY: "the file is in use by another program; wait for it",
    errno.EBUSY: "the file is in use by another program; wait for it",
    errno.ESTALE: "the network drive has changed; mount it again",
    errno.ENXIO: "this is a device or a pipe, not a file; give a file",
    errno.ENOMEM: f"not enough memory; {OUT_OF_MEMORY}",
    errno.EAGAIN: "the system has no process or thread left; lower train.workers or --threads",
}

_OS_NUMBER = re.compile(r"\[Errno (\d+)\]|\(os error (\d+)\)|Os \{ code: (\d+)|: [A-Z][\w /-]+ \((\d+)\)$")
"""The system's error number in texts of Python (a worker's traceback), of Rust libraries and of PyTorch."""
_QUOTED_PATH = re.compile(r"\[Errno \d+\] [^\n]*?: '([^'\n]+)'")
_TORCH_WRITES = ("PytorchStreamWriter", "unexpected pos", "iostream error")
"""Parts of the errors that torch.save raises when it cannot write."""
_TORCH_MEMORY = ("can't allocate memory", "out of memory", "Storage size calculation overflowed", "more than 1EB")
_FROM_WORKER = re.compile(r"^Caught (\w+) in .*\n(?:.*\n)*?Original Traceback", re.MULTILINE)
"""The form in which a DataLoader reports a worker's error: the traceback as text."""
_LAST_LINE = re.compile(r"^(?:[\w.]+\.)?(\w+): (.*)$")
_WORKER_ENDED = ("exited unexpectedly", "is killed by signal")
_RESOURCE_KINDS = {"MemoryError", "OutOfMemoryError", "_ArrayMemoryError"}


def sentence(error: BaseException) -> str | None:
    """Return one sentence for an error of the input or the system; None for a defect of the program.

    The chain of causes is searched from the error to its origin. The first known error determines the sentence.
    """
    for each in _chain(error):
        found = _sentence(each)
        if found is not None:
            return found
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__  # not __context__: a defect while a failure is handled is still a defect


def _sentence(error: BaseException) -> str | None:
    kind, text = type(error).__name__, str(error)
    if _FROM_WORKER.match(text):
        kind, text = _origin(text)
        if kind == "InputError":
            return text
    elif isinstance(error, InputError):
        return text
    if (number := _number(error, text)) is not None:
        return _of_system(number, _path(error, text))
    if kind in _RESOURCE_KINDS or (isinstance(error, RuntimeError) and _holds(text, _TORCH_MEMORY)):
        return f"not enough memory ({_first_line(text) or kind}); {OUT_OF_MEMORY}."
    if isinstance(error, RuntimeError) and _holds(text, _TORCH_WRITES):
        return f"a checkpoint could not be written: {DISK_FULL}."
    if isinstance(error, RuntimeError) and _holds(text, _WORKER_ENDED):
        return "the system ended a process that prepares batches, most often for lack of memory; lower train.workers."
    if kind == "RecursionError":
        return "the input is nested too deeply; give a file whose lists and keys are nested less than 100 deep."
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object!r} is not valid UTF-8 text; rename the file or folder."
    if isinstance(error, ValueError) and "embedded null" in text:
        return "a path holds a zero byte; give another path."
    if isinstance(error, OSError):
        return f"{_first_line(text) or kind}; check the file and the disk."
    return None


def _of_system(number: int, path: str) -> str:
    reason = _REASONS.get(number) or f"{os.strerror(number)}; check the path and the disk"
    return f"{path}: {reason}." if path else f"{reason}."


def _number(error: BaseException, text: str) -> int | None:
    """Return the system's error number, from the error itself or from its text; None if it has none."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _OS_NUMBER.search(text)
    return int(next(part for part in found.groups() if part)) if found else None


def _path(error: BaseException, text: str) -> str:
    names = [getattr(error, name, None) for name in ("filename2", "filename")]
    given = next((name for name in names if isinstance(name, (str, bytes, os.PathLike))), None)
    if given is not None:
        return os.fsdecode(given)
    quoted = _QUOTED_PATH.search(text)
    return quoted.group(1) if quoted else ""


def _origin(text: str) -> tuple[str, str]:
    """Return type name and text of the error in the last line of a traceback."""
    last = text.rstrip().splitlines()[-1]
    found = _LAST_LINE.match(last)
    return (found.group(1), found.group(2)) if found else (last, "")


def _holds(text: str, parts: tuple[str, ...]) -> bool:
    return any(part in text for part in parts)


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0].strip().rstrip(".;")
