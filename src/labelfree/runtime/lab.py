"""The door to the lab: package `labelfree_lab`, which imports labelfree and is imported only here, when it is asked for.

labelfree works without it; then the lab's worlds and weights are missing, and whoever asks for them is told.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from labelfree.errors import InputError

PACKAGE = "labelfree_lab"
PREFIXES = {"lab": "tiny", "lab-street": "street"}
"""Names of the lab's models in settings, each with the prefix of its folders."""
MODEL = "model.safetensors"


def lab_module(name: str, wanted_by: str) -> ModuleType:
    """Return a module of the lab; raises an `InputError` that names `wanted_by` where the lab is not installed."""
    if find_spec(PACKAGE) is None:
        raise InputError(f"{wanted_by} needs package {PACKAGE}, which is not installed: reinstall labelfree.")
    return import_module(f"{PACKAGE}.{name}")


def weights_folder(source: str, part: str) -> Path:
    """Return the folder of the `clip`, `sam`, `backbone` or `backbone-3d` of `lab` or `lab-street`, trained or not."""
    return _all_weights(source) / f"{PREFIXES[source]}-{part}"


def _all_weights(source: str) -> Path:
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise InputError(
            f"'{source}' names weights of package {PACKAGE}, which is not installed: reinstall labelfree, or name other "
            "weights."
        )
    return Path(found.submodule_search_locations[0]) / "weights"


def shipped(source: str | None, part: str) -> Path | None:
    """Return the folder of the lab's weights where `source` names those, else None."""
    if source not in PREFIXES:
        return None
    folder = weights_folder(source, part)
    if not (folder / MODEL).is_file():
        raise InputError(f"'{source}' means {folder}, which holds no {MODEL}: train it (docs/lab.md).")
    return folder
