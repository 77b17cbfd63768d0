"""Import and cache what commands need before the process is forked."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path


def warm(modules: Path, commands: Sequence[Sequence[str]], folder: Path, environment: Mapping[str, str]) -> None:
    """Import the modules listed by a child with LABELFREE_MODULES, then run commands to fill caches in this process.

    The commands must not train: the backward pass of PyTorch fails in a fork of a process that has used it.
    """
    for name in modules.read_text().split():
        if name not in sys.modules and not name.startswith("__"):
            with contextlib.suppress(Exception):
                import_module(name)
    setattr(re, "_MAXCACHE", 1 << 16)  # noqa: B010  transformers compiles more patterns than Python caches
    kept, here = dict(os.environ), Path.cwd()
    os.chdir(folder)
    os.environ.update(environment)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        for command in commands:
            import_module("labelfree.cli.main").main(list(command))
    os.chdir(here)
    os.environ.clear()
    os.environ.update(kept)
    if (threads := len(list(Path("/proc/self/task").iterdir()))) > 1:
        print(f"{threads} threads before the first fork", file=sys.stderr)
