"""What a worker must share with its driver: versions, working folder, files and number of threads."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

import labelfree
from labelfree.errors import InputError
from labelfree.files.atomic import write_text

_OLD_SECONDS = 30 * 24 * 3600.0
"""Age of a file from which its driver counts as ended."""


@dataclass(frozen=True)
class Surroundings:
    """The driver's surroundings, which are sent to its workers."""

    token: Path
    """A file that the driver wrote into the shared folder."""
    content: str
    folder: str
    """Working folder of the driver, for relative paths."""
    threads: int
    """Threads of PyTorch, as the driver has: sums depend on their number."""
    versions: str

    def enter(self) -> None:
        """Take over the working folder and the number of threads.

        Raises an InputError if this machine has other versions or does not see the driver's file.
        """
        if versions() != self.versions:
            raise InputError(
                f"{socket.gethostname()} has {versions()} but the driver has {self.versions}: install the same "
                "versions on every machine."
            )
        with suppress(OSError):  # absolute paths need no common working folder
            os.chdir(self.folder)
        try:
            found = self.token.read_text(encoding="utf-8")
        except (OSError, ValueError):
            found = ""
        if found != self.content:
            raise InputError(
                f"{socket.gethostname()} does not see {self.token.parent} of the driver: choose a folder that every "
                "machine shares under the same path (--out, --cache)."
            )
        torch.set_num_threads(self.threads)


@contextmanager
def surroundings(shared: Path) -> Iterator[Surroundings]:
    """Write a file into a folder that all workers share, and remove it at the end; a killed driver leaves it behind."""
    for old in shared.glob(".driver-*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > _OLD_SECONDS:
                old.unlink()
    token, content = shared / f".driver-{secrets.token_hex(8)}", secrets.token_hex(16)
    write_text(token, content)
    try:
        yield Surroundings(token, content, os.getcwd(), torch.get_num_threads(), versions())
    finally:
        with suppress(OSError):
            token.unlink(missing_ok=True)


def versions() -> str:
    """Return the versions that results depend on."""
    return f"labelfree {labelfree.__version__} and PyTorch {torch.__version__}"
