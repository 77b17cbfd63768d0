"""One list of all settings, each with default, paper value, allowed values and description.

Descriptions are the docstrings of the dataclasses' fields. Allowed values are the rules that the dataclasses check.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import itertools
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, get_type_hints

import yaml

from labelfree.config.ranges import Rules, recorded_rules, type_in_words
from labelfree.config.recipe_files import recipe_path
from labelfree.config.run_config import RunConfig
from labelfree.errors import InputError, shown

PAPER_RECIPES = {"ScanNet": "scannet", "nuScenes": "nuscenes"}
"""Recipes that reproduce the paper's two datasets; settings that a recipe leaves out have their defaults."""
MACHINE = frozenset(
    {
        "memory_gb",
        "teachers.clip_kind",
        "teachers.sam_kind",
        "teachers.clip_options.precision",
        "teachers.clip_options.tokenizer",
        "teachers.clip_options.windows_per_batch",
        "teachers.sam_options.points_per_batch",
        "teachers.sam_options.precision",
        "labels.keep_frames",
        "train.checkpoint_seconds",
        "train.precision",
        "train.tensorboard",
        "train.workers",
    }
)
"""Settings without a paper value: they control how the work is done, not what is computed."""
OPEN = frozenset(
    {
        "augment.crop_area",
        "augment.crop_aspect",
        "networks.net_2d.aspp_channels",
        "networks.net_2d.backbone",
        "networks.net_2d.dropout",
        "networks.net_2d.output_stride",
        "networks.net_2d.width",
        "networks.net_3d.voxel_m",
        "train.dampening",
        "train.momentum",
        "train.optimiser",
        "train.scenes_per_batch",
        "train.sync_norm",
        "train.weight_decay",
    }
)
"""Settings that the paper leaves open; the default is a choice of this implementation."""
NO_VALUE = "–"


@dataclass(frozen=True)
class Setting:
    """One setting, as text for printing."""

    name: str
    """Full dotted name, as in `--a.b=c`."""
    default: str
    paper: str
    """The paper's value, or one per dataset; `open` where the paper states none, a dash for `MACHINE` settings."""
    allowed: str
    """The allowed values, in words."""
    description: str

    @property
    def group(self) -> str:
        """Return the name without its last part."""
        return self.name.rpartition(".")[0]


def catalogue(prefix: str = "") -> tuple[Setting, ...]:
    """Return the setting or the group named `prefix`, in the order of the dataclasses; all for an empty prefix.

    Raises an InputError with the nearest name if there is no such setting.
    """
    found = tuple(setting for setting in _all_settings() if _begins(setting.name, prefix))
    if found:
        return found
    names = [setting.name for setting in _all_settings()]
    near = difflib.get_close_matches(prefix, [*names, *{setting.group for setting in _all_settings()}], n=1, cutoff=0)
    raise InputError(f"There is no setting '{shown(prefix)[1:-1]}'; did you mean '{near[0]}'?")


def _begins(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(prefix.rstrip(".") + ".")


@cache
def _all_settings() -> tuple[Setting, ...]:
    with recorded_rules() as rules:
        config = RunConfig()
    papers = {title: _tree(recipe) for title, recipe in PAPER_RECIPES.items()}
    return tuple(_settings(config, "", rules, papers))


def _tree(recipe: str) -> Mapping[str, Any]:
    tree: Mapping[str, Any] = yaml.safe_load(recipe_path(recipe).read_text(encoding="utf-8"))
    return tree


def _settings(config: Any, prefix: str, rules: Rules, papers: Mapping[str, Mapping[str, Any]]) -> Iterator[Setting]:
    hints, described = get_type_hints(type(config)), field_docstrings(type(config))
    for field in fields(config):
        name, value = f"{prefix}{field.name}", getattr(config, field.name)
        if is_dataclass(value):
            inner = {title: tree.get(field.name, {}) for title, tree in papers.items()}
            yield from _settings(value, f"{name}.", rules, inner)
        else:
            paper = _paper(name, {title: tree.get(field.name, value) for title, tree in papers.items()})
            allowed = _allowed(hints[field.name], rules.get(name), value is None)
            yield Setting(name, yaml_text(value), paper, allowed, described[field.name])


def _paper(name: str, values: Mapping[str, object]) -> str:
    if name in MACHINE or name.startswith("consensus."):
        return NO_VALUE
    if name in OPEN:
        return "open"
    texts = {title: yaml_text(value) for title, value in values.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return ", ".join(f"{title} {text}" for title, text in texts.items())


def _allowed(hint: object, rule: object, null: bool) -> str:
    """Return the allowed values in words, from the rule if there is one, else from the type."""
    if rule is None:
        return type_in_words(hint).removeprefix("one of ")
    words = ", ".join(map(str, rule)) if isinstance(rule, tuple) else str(rule).removeprefix("give ")
    many = "each " if "tuple" in str(hint) and not isinstance(rule, tuple) else ""
    return f"{many}{words}" + (", or null" if null else "")


def yaml_text(value: object) -> str:
    """Return a value as one line of YAML."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case list() | tuple():
            return f"[{', '.join(yaml_text(item) for item in value)}]"
        case _:
            return str(value)


def field_docstrings(kind: type[Any]) -> dict[str, str]:
    """Return the docstring of each field of a dataclass, on one line; fields without one are left out."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    found: dict[str, str] = {}
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for field, below in itertools.pairwise(statements):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found
