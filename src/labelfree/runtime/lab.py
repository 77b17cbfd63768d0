"""The door to the lab: package `labelfree_lab`, which imports labelfree and is imported only here, on demand.

labelfree works without it; then the lab's worlds and weights are missing, and whoever asks for them is told.
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
"""The lab's worlds, and what settings call the models trained on each."""
MODEL = "model.safetensors"


def lab_module(name: str, wanted_by: str) -> ModuleType:
    """Return a module of the lab; raises an `InputError` that names `wanted_by` where the lab is not installed."""
    if find_spec(PACKAGE) is None:
        raise InputError(f"{wanted_by} needs package {PACKAGE}, which is not installed: reinstall labelfree.")
    return import_module(f"{PACKAGE}.{name}")


def weights_folder(world: str, part: str) -> Path:
    """Return the folder of the `clip`, `sam`, `backbone` or `backbone-3d` of a world, trained or not."""
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
    """Return the weights that a network starts from: the lab's folder, `name` itself, or None for a random start.

    Where they are the lab's and the lab is not installed, the start is random, and a `DataWarning` says so.
    """
    if name in WORLDS and find_spec(PACKAGE) is None:
        told = f"starting weights '{name}' belong to package {PACKAGE}, which is not installed: random weights instead."
        warnings.warn(told, DataWarning, stacklevel=2)
        return None
    return shipped(name, part) or name


def shipped(name: str | None, part: str) -> Path | None:
    """Return the folder of the lab's weights where `name` is a world of the lab, else None."""
    if name not in WORLDS:
        return None
    folder = weights_folder(name, part)
    if not (folder / MODEL).is_file():
        raise InputError(f"'{name}' means {folder}, which holds no {MODEL}: train it (docs/lab.md).")
    return folder
