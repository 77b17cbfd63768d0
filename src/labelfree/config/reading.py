"""Reading of a `RunConfig` from a recipe, `--a.b=c` overrides and overlays."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from labelfree.config.recipe_files import recipe_path
from labelfree.config.run_config import RunConfig
from labelfree.config.typed import typed
from labelfree.errors import InputError, shown
from labelfree.files.documents import read_yaml

MAX_OVERRIDE, MAX_BRACKETS = 4096, 100
"""Limits of a value on the command line, in characters and brackets; YAML takes minutes for thousands of brackets."""

MAX_DEPTH = 9
"""Largest number of dots in the key of an override."""


def read_settings(
    recipe: str | Path | None,
    overrides: Sequence[str] = (),
    overlays: Sequence[str | Path] = (),
    tuned: Sequence[str | Path] = (),
) -> RunConfig:
    """Return the run's configuration: defaults, then the recipe, then overrides such as `--train.epochs=3`.

    Overlays are YAML files of a few settings and come last, so that no override changes what a table's row ablates.
    Files of `tuned` settings come right after the recipe.
    Raises an InputError for an unknown key, which names the nearest one, and for a value that is not allowed.
    """
    tree: dict[str, Any] = {} if recipe is None else _read_recipe(Path(recipe))
    for each in tuned:
        _merge(tree, _read_recipe(Path(each)))
    for override in overrides:
        _apply(tree, override)
    for overlay in overlays:
        _merge(tree, _read_recipe(Path(overlay)))
    sources = [str(path) for path in (recipe, *tuned, *overlays) if path is not None]
    sources += ["the command line"] if overrides else []
    return typed(RunConfig, tree, ", ".join(sources) or "settings")


def recipe(name: str | Path, *overrides: str) -> RunConfig:
    """Return the configuration of a recipe, by name or path, with overrides: `recipe("quick", "--train.epochs=5")`.

    Raises an InputError if there is no such recipe, or for an unknown key or a value that is not allowed.
    """
    return read_settings(recipe_path(name), overrides)


def settings_yaml(config: RunConfig) -> str:
    """Return all settings as YAML that `read_settings` reads back."""
    return yaml.safe_dump(plain_data(asdict(config)), sort_keys=False)


def _read_recipe(path: Path) -> dict[str, Any]:
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise InputError(f"{path}: expected keys such as 'train:', found {type(tree).__name__}.")
    _check_keys(tree, RunConfig, str(path))
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    """Merge one `--a.b=c` into the tree."""
    key, found, value = override.removeprefix("--").partition("=")
    if not found:
        raise InputError(f"'{override}' is not an override: write --{key}=VALUE.")
    if key.count(".") > MAX_DEPTH:
        raise InputError(f"--{key[:60]}...: no setting has so many parts; write --a.b=c, such as --train.epochs=3.")
    nested: Any = _value(key, value)
    for part in reversed(key.split(".")):
        nested = {part: nested}
    _check_keys(nested, RunConfig, f"--{_short(key)}")
    _merge(tree, nested)


def _value(key: str, text: str) -> Any:
    """Return the value of an override, parsed as YAML."""
    if len(text) > MAX_OVERRIDE:
        raise InputError(f"--{key} has {len(text):,} characters: give at most {MAX_OVERRIDE:,}, or a YAML file.")
    if text.count("[") + text.count("{") > MAX_BRACKETS:
        raise InputError(f"--{key} is {shown(text)}: nested too deeply; write it like [1, 2].")
    try:
        if any(isinstance(token, (yaml.AliasToken, yaml.AnchorToken)) for token in yaml.scan(text)):
            raise InputError(f"--{key} is {shown(text)}: write values out; anchors (&) and aliases (*) are not read.")
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        deep = "nested too deeply" if isinstance(error, RecursionError) else None
        reason = deep or getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise InputError(f"--{key} is {shown(text)}: not a value in YAML ({reason}); write it like [1, 2].") from error


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


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
            raise InputError(f"{source}: unknown key '{prefix}{_short(str(key))}'; did you mean '{prefix}{near}'?")
        if not is_dataclass(hints[key]):
            continue
        if not isinstance(value, dict):
            example = fields(hints[key])[0].name
            raise InputError(
                f"{source}: '{prefix}{key}' is {shown(value)}, but it is a group of settings: write keys below it, "
                f"such as {prefix}{key}.{example}."
            )
        _check_keys(value, hints[key], source, f"{prefix}{key}.")


def plain_data(value: Any) -> Any:
    """Return settings as plain data for YAML and JSON: tuples as lists, enums as their values."""
    match value:
        case dict():
            return {key: plain_data(item) for key, item in value.items()}
        case list() | tuple():
            return [plain_data(item) for item in value]
        case _:
            return value
