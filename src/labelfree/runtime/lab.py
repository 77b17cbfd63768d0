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
WORLDS = ("rooms", "clean", "streets")
"""The lab's worlds. In settings, a world's name stands for the models that were trained on it."""
VARIANTS = ("b", "selfsup")
"""What may follow a world's name: `rooms-b` is its second pair of teachers, `rooms-selfsup` its initial weights by
self-supervision. The plain name means the first pair, and initial weights that learned image tags."""
TEACHERS = ("clip", "sam")
MODEL = "model.safetensors"


def lab_module(name: str, wanted_by: str) -> ModuleType:
    """Return a module of the lab. Raises an InputError that names `wanted_by` if the lab is not installed."""
    if find_spec(PACKAGE) is None:
        raise InputError(f"{wanted_by} needs package {PACKAGE}, which is not installed: reinstall labelfree.")
    return import_module(f"{PACKAGE}.{name}")


def world_of(name: str | None) -> str | None:
    """Return the world of a name of lab weights, such as `rooms` of `rooms-b`; None for every other name."""
    names = {world: world for world in WORLDS} | {f"{world}-{each}": world for world in WORLDS for each in VARIANTS}
    return names.get(name or "")


def weights_folder(name: str, part: str) -> Path:
    """Return the folder of the `clip`, `sam`, `backbone` or `backbone-3d` that a name means, whether or not it exists.

    It is `rooms-clip` for `rooms`, `rooms-clip-b` for `rooms-b`, and `rooms-selfsup` and `rooms-selfsup-3d` for the
    backbones of `rooms-selfsup`. Raises an InputError if the lab is not installed.
    """
    world, _, variant = name.partition("-")
    if not variant:
        folder = f"{world}-{part}"
    elif part.startswith("backbone"):
        folder = name + part.removeprefix("backbone")
    else:
        folder = f"{world}-{part}-{variant}"
    return _all_weights(name) / folder


def _all_weights(world: str) -> Path:
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise InputError(
            f"'{world}' names weights of package {PACKAGE}, which is not installed: reinstall labelfree, or give other "
            "weights."
        )
    return Path(found.submodule_search_locations[0]) / "weights"


def starting_weights(name: str | None, part: str) -> Path | str | None:
    """Return a network's initial weights: the lab's folder for its names, else `name`; None for random weights.

    If `name` is the lab's and the lab is not installed, the result is None, with a DataWarning.
    """
    if world_of(name) and find_spec(PACKAGE) is None:
        told = f"starting weights '{name}' belong to package {PACKAGE}, which is not installed: random weights instead."
        warnings.warn(told, DataWarning, stacklevel=2)
        return None
    return shipped(name, part) or name


def lab_folder(name: str | None, part: str) -> Path | None:
    """Return the folder of the lab's weights, whether or not it exists, for a name of lab weights, else None."""
    return weights_folder(name, part) if name and world_of(name) else None


def shipped(name: str | None, part: str) -> Path | None:
    """Return the folder of the lab's weights for their names, else None. Raises an InputError if it is empty."""
    folder = lab_folder(name, part)
    if folder is not None and not (folder / MODEL).is_file():
        raise InputError(f"'{name}' means {folder}, which holds no {MODEL}: train it (docs/lab.md).")
    return folder


def second_teachers(world: str, wanted: bool | None = None) -> str | None:
    """Return the name of a world's second pair of teachers, such as `rooms-b`, if it exists, else None.

    Raises an InputError if it is missing but `wanted`; with False the result is None.
    """
    name = f"{world}-{VARIANTS[0]}"
    if wanted:
        for part in TEACHERS:
            shipped(name, part)
    there = all((weights_folder(name, part) / MODEL).is_file() for part in TEACHERS)
    return name if there and wanted is not False else None
