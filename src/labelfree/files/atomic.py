"""Atomic writing of files and folders: to a temporary name, which is then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelfree.errors import InputError
from labelfree.files.leftovers import clean_once, remove, temporary_name


class UnwritableError(InputError, OSError):
    """The error of a file or folder that cannot be written, such as on a full disk."""

    def __init__(self, path: Path, error: OSError) -> None:
        self.reason = error.strerror or str(error)
        super().__init__(f"{path}: cannot be written ({self.reason}); free disk space or choose another folder.")


@contextmanager
def atomic_file(path: Path, sync: bool = False) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`, which replaces `path` when the block ends without an error.

    `sync` waits until the disk holds the content, so that a power failure cannot leave an empty file.
    Raises an UnwritableError if the file cannot be written, as on a full disk; the temporary file is removed.
    """
    with _temporary(path) as temporary:
        with temporary.open("wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Make a temporary folder beside `path`, which replaces `path` when the block ends without an error.

    Raises an UnwritableError if the folder cannot be written; the temporary folder is removed.
    """
    if path.is_symlink():
        path = Path(os.path.realpath(path))  # Path.resolve raises a RuntimeError for links that point at each other
    with _temporary(path) as temporary:
        temporary.mkdir()
        yield temporary
        with _temporary(path) as old:
            if path.exists():
                os.replace(path, old)
            try:
                os.replace(temporary, path)
            except OSError:
                if old.exists():
                    os.replace(old, path)
                raise


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Yield a free name beside `path`; remove the file or folder of that name at the end."""
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clean_once(path.parent)
        yield temporary
    except OSError as error:
        if not _is_ours(error, path, temporary):
            raise
        raise UnwritableError(path, error) from error
    finally:
        remove(temporary)


def _is_ours(error: OSError, path: Path, temporary: Path) -> bool:
    """Return whether an error comes from writing `path`: errors of opening name a file, errors of writing name none."""
    if isinstance(error, UnwritableError) or error.errno is None:
        return False
    if error.filename is None:
        return True
    named = Path(os.fsdecode(error.filename))
    return named in {path, *path.parents, temporary} or temporary in named.parents


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, atomically. Raises an UnwritableError if it cannot be written."""
    with atomic_file(path) as file:
        file.write(text.encode("utf-8"))


def write_png(path: Path, picture: NDArray[Any]) -> None:
    """Write a PNG atomically, of an array [H, W] uint8 or uint16, or [H, W, 3] uint8."""
    with atomic_file(path) as file:
        save_png(file, picture)


def save_png(file: BinaryIO, picture: NDArray[Any]) -> None:
    """Write an array, as in `write_png`, to an open file as PNG."""
    Image.fromarray(np.ascontiguousarray(picture)).save(file, format="PNG", compress_level=1)
