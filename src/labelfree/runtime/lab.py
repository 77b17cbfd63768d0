"""Access to the optional package `labelfree_lab`, which is imported only here and only on demand.

labelfree works without it. Requests for the lab's worlds or weights then raise an InputError.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from labelfree.errors import DataWarning, InputError

PACKAGE = "labelfree_lab"
WORLDS = ("rooms", "streets")
"""The lab's worlds. In settings, a world's name stands for the models that were trained on it."""
MODEL = "model.safetensors"


def lab_module(name: str, wanted_by: str) -> ModuleType:
    """Return a module of the lab. Raises an InputError that names `wanted_by` if the lab is not installed."""
    if find_spec(PACKAGE) is None:
        raise InputError(f"{wanted_by} needs package {PACKAGE}, which is not installed: reinstall labelfree.")
    return import_module(f"{PACKAGE}.{name}")


def weights_folder(world: str, part: str) -> Path:
    """Return the folder of a world's `clip`, `sam`, `backbone` or `backbone-3d`, whether or not it exists.

    Raises an InputError if the lab is not installed.
    """
    return _all_weights(world) / f"{world}-{part}"


def _all_weights(world: str) -> Path:
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise InputError(
            f"'{world}' names weights of package {PACKAGE}, which is not installed: reinstall labelfree, or give other "
            "weights."
        )
    return Path(found.submodule_search_locations[0]) / "weights"


def starting_weights(name: str | None, part: str) -> Path | str | None:
    """Return a network's initial weights: the lab's folder for a world, else `name`; None for random weights.

    If `name` is a world and the lab is not installed, the result is None, with a DataWarning.
    """
    if name in WORLDS and find_spec(PACKAGE) is None:
        told = f"starting weights '{name}' belong to package {PACKAGE}, which is not installed: random weights instead."
        warnings.warn(told, DataWarning, stacklevel=2)
        return None
    return shipped(name, part) or name


def lab_folder(name: str | None, part: str) -> Path | None:
    """Return the folder of the lab's weights, whether or not it exists, if `name` is a world, else None."""
    return weights_folder(name, part) if name in WORLDS else None


def shipped(name: str | None, part: str) -> Path | None:
    """Return the folder of the lab's weights if `name` is a world, else None. Raises an InputError if it is empty."""
    folder = lab_folder(name, part)
    if folder is not None and not (folder / MODEL).is_file():
        raise InputError(f"'{name}' means {folder}, which holds no {MODEL}: train it (docs/lab.md).")
    return folder
