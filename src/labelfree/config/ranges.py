"""Ranges of the settings: every number of a configuration lies in one, or the user is told which."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin

from labelfree.errors import InputError, shown

PLAIN_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}

MAX_SIDE = 8192
"""Largest side, in pixels, of an image that teachers and networks work at."""

MAX_PATH = 4096
"""Longest path that a system takes."""

MAX_WIDTH = 4096
"""Widest layer or feature that a setting asks for."""


@dataclass(frozen=True)
class Whole:
    """Whole numbers from `low` to `high`."""

    low: int
    high: int

    def holds(self, value: object) -> bool:
        """Whether a value is one of them."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"give a whole number from {self.low} to {self.high}"


@dataclass(frozen=True)
class Real:
    """Finite numbers from `low` to `high`, without the ends that `above` and `below` leave out."""

    low: float
    high: float
    above: bool = False
    """Whether `low` itself is left out."""
    below: bool = False
    """Whether `high` itself is left out."""

    def holds(self, value: object) -> bool:
        """Whether a value is one of them; NaN and infinity never are."""
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
            return False
        return self.low <= value <= self.high and not (
            (self.above and value == self.low) or (self.below and value == self.high)
        )

    def __str__(self) -> str:
        start = f"above {self.low:g}" if self.above else f"from {self.low:g}"
        if self.above and self.low == 0:
            return f"give a positive number, at most {self.high:g}"
        return f"give a number {start} {'up to, not including,' if self.below else 'to'} {self.high:g}"


Range = Whole | Real


def positive(high: float) -> Real:
    """Return the numbers above 0, at most `high`."""
    return Real(0.0, high, above=True)


Rules = dict[str, Whole | Real | tuple[object, ...]]
"""By setting, the numbers or the values that it may have."""

_RULES: ContextVar[Rules | None] = ContextVar("_RULES", default=None)


@contextmanager
def recorded_rules() -> Iterator[Rules]:
    """Collect the rules of every dataclass that is made meanwhile, so that they are stated once, where they hold."""
    rules: Rules = {}
    token = _RULES.set(rules)
    try:
        yield rules
    finally:
        _RULES.reset(token)


def _record(section: str, rules: Mapping[str, Whole | Real | tuple[object, ...]]) -> None:
    if (recorded := _RULES.get()) is not None:
        recorded.update({key(section, name): rule for name, rule in rules.items()})


def check_ranges(config: Any, section: str, **ranges: Range) -> None:
    """Raise the first number of a dataclass that lies outside its range; None passes where it is the default.

    `section` is the key before the field's in a recipe, such as `train`. Of tuples each entry is checked.
    """
    _record(section, ranges)
    defaults = {field.name: field.default for field in fields(config)}
    for name, allowed in ranges.items():
        value = getattr(config, name)
        if value is None and defaults[name] is None:
            continue
        values = value if isinstance(value, (tuple, list)) else (value,)
        if not all(allowed.holds(entry) for entry in values):
            raise InputError(f"{key(section, name)} is {shown(value)}: {allowed}.")


def check_choice(config: Any, section: str, **choices: Any) -> None:
    """Raise the first setting of a dataclass that is none of the values of its `Literal`, or of some names."""
    _record(section, {name: get_args(choice) or tuple(choice) for name, choice in choices.items()})
    for name, choice in choices.items():
        value = getattr(config, name)
        allowed = get_args(choice) or tuple(choice)
        if value not in allowed:
            raise InputError(f"{key(section, name)} is {shown(value)}: use one of {', '.join(map(str, allowed))}.")


def check_sources(config: Any, section: str, *names: str) -> None:
    """Raise the first setting of a dataclass that can name no file, folder or model on the hub; None passes."""
    for name in names:
        value = getattr(config, name)
        if value is not None and (not value.strip() or "\0" in value or len(value) > MAX_PATH):
            raise InputError(f"{key(section, name)} is {shown(value)}: give a file, a folder or a hub name.")


def key(section: str, name: str) -> str:
    """Return a setting's name as `--a.b=c` takes it."""
    return f"{section}.{name}" if section else name


def type_in_words(hint: Any) -> str:
    """Return what a type hint takes, in words."""
    if hint in PLAIN_WORDS:
        return PLAIN_WORDS[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is tuple:
        length = "" if arguments[-1] is Ellipsis else f" of {len(arguments)}"
        return f"a list{length}, each entry {type_in_words(arguments[0])}"
    if type(None) in arguments:
        return f"{type_in_words(next(part for part in arguments if part is not type(None)))}, or null"
    return str(hint)
