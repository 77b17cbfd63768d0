"""Names of models: local folders and names on the Hugging Face hub, distinguished before any download."""

from __future__ import annotations

import difflib
import os
import re
from functools import cache
from pathlib import Path

from labelfree.errors import InputError
from labelfree.runtime.lab import WORLDS

HUB_TIMEOUT_S = 10.0
"""Time limit in seconds for the hub's answer whether it has a model."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,95}", re.ASCII)
_PART = re.compile(r"(.+/.+)/(2d|3d)")
"""A network of a repository with both: `owner/name/2d`."""


def is_hub_name(text: str) -> bool:
    """Return whether a text has the form of a name on the hub, `owner/name`."""
    return _HUB_NAME.fullmatch(text) is not None


def divided(name: str) -> tuple[str, str]:
    """Return the repository of a hub name and the folder in it: `owner/name` and `2d` of `owner/name/2d`, else ``."""
    found = _PART.fullmatch(name)
    return (found[1], found[2]) if found else (name, "")


def folder_or_hub_name(source: str | Path, holding: str) -> Path | None:
    """Return the folder of a model, or None for a name on the hub such as `openai/clip-vit-base-patch16`.

    A source that is no valid hub name, or whose parent folder exists, is a path. Raises an InputError if that path does
    not exist; `holding` names the files of such a folder in the message.
    """
    text = str(source)
    folder = _expanded(Path(source))
    if os.path.isdir(folder):  # unlike Path's, no error for a name that is too long
        return folder
    if isinstance(source, Path) or not is_hub_name(divided(text)[0]) or os.path.isdir(folder.parent):
        raise InputError(f"{text}: no such folder{_nearest(folder)}; give one with {holding}, or a hub name.")
    return None


@cache
def hub_answers(name: str) -> bool:
    """Return whether the hub answers within the time limit.

    Without an answer only files of earlier downloads are used, because libraries would retry for minutes.
    Raises an InputError if the hub answers that it has no model of this name.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        HfApi().model_info(name, timeout=HUB_TIMEOUT_S)
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{name}: neither a folder here nor a model on the hub; check the spelling, or log in if it is private."
        ) from error
    except Exception:  # the HTTP client's exceptions differ between releases
        return False
    return True


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise InputError(f"{path}: there is no such user; give the full path of the folder.") from error


def _nearest(folder: Path) -> str:
    """Return a hint with the existing folder whose name is most similar to the first missing part of a path."""
    missing, parent = folder, folder.parent
    while not os.path.isdir(parent) and parent != parent.parent:
        missing, parent = parent, parent.parent
    try:
        names = {path.name: str(path) for path in parent.iterdir() if path.is_dir()}
    except OSError:
        names = {}
    if folder.parent == Path():
        names |= {name: name for name in WORLDS}
    near = difflib.get_close_matches(missing.name, names, n=1)
    return f" (did you mean '{names[near[0]]}'?)" if near else ""
