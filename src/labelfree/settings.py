"""Reading a `RunConfig`: a recipe's YAML, `--a.b=c` overrides, overlays; unknown keys name the nearest one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from labelfree.config import RunConfig, recipe_path
from labelfree.documents import parse_yaml, read_yaml
from labelfree.errors import InputError
from labelfree.typed import typed


def read_settings(
    recipe: str | Path | None, overrides: Sequence[str] = (), overlays: Sequence[str | Path] = ()
) -> RunConfig:
    """Return the run's configuration: defaults, then the recipe, then overrides such as `--train.epochs=3`.

    Overlays are files of a few keys that come last: what a row of a table ablates stays so, whatever is overridden.
    """
    tree: dict[str, Any] = {} if recipe is None else _read_recipe(Path(recipe))
    for override in overrides:
        _apply(tree, override)
    for overlay in overlays:
        _merge(tree, _read_recipe(Path(overlay)))
    sources = ", ".join(str(path) for path in (recipe, *overlays) if path is not None)
    return typed(RunConfig, tree, sources or "settings")


def recipe(name: str | Path, *overrides: str) -> RunConfig:
    """Return a recipe by name or path, with overrides: `recipe("quick", "--train.epochs=5")`."""
    return read_settings(recipe_path(name), overrides)


def settings_yaml(config: RunConfig) -> str:
    """Return the whole configuration as YAML that `read_settings` reads back."""
    return yaml.safe_dump(_plain(asdict(config)), sort_keys=False)


def _read_recipe(path: Path) -> dict[str, Any]:
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise InputError(f"{path}: expected keys such as 'train:', found {type(tree).__name__}.")
    _check_keys(tree, RunConfig, str(path))
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    """Write one `--a.b=c` into the tree."""
    key, found, value = override.removeprefix("--").partition("=")
    if not found:
        raise InputError(f"'{override}' is not an override: write --{key}=VALUE.")
    nested: Any = parse_yaml(value, f"--{key}", "write --a.b=c")
    for part in reversed(key.split(".")):
        nested = {part: nested}
    _check_keys(nested, RunConfig, f"--{key}")
    _merge(tree, nested)


def _merge(tree: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def _check_keys(tree: Mapping[str, Any], schema: type[Any], source: str, prefix: str = "") -> None:
    hints = get_type_hints(schema)
    names = [field.name for field in fields(schema)]
    for key, value in tree.items():
        if key not in names:
            near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.0)[0]
            raise InputError(f"{source}: unknown key '{prefix}{key}'; did you mean '{prefix}{near}'?")
        if is_dataclass(hints[key]) and isinstance(value, dict):
            _check_keys(value, hints[key], source, f"{prefix}{key}.")


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case Enum():
            return value.name
        case _:
            return value
