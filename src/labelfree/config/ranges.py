"""Allowed values of settings, and the checks that the dataclasses run on themselves."""

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
"""Largest image side in pixels for teachers and networks."""

MAX_PATH = 4096
"""Longest path in characters."""

MAX_WIDTH = 4096
"""Largest number of channels of a layer or feature."""


@dataclass(frozen=True)
class Whole:
    """The whole numbers from `low` to `high`, both included."""

    low: int
    high: int

    def holds(self, value: object) -> bool:
        """Return whether a value is one of these numbers."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"give a whole number from {self.low} to {self.high}"


@dataclass(frozen=True)
class Real:
    """The finite numbers from `low` to `high`; `above` and `below` exclude the ends."""

    low: float
    high: float
    above: bool = False
    """Whether `low` itself is excluded."""
    below: bool = False
    """Whether `high` itself is excluded."""

    def holds(self, value: object) -> bool:
        """Return whether a value is one of these numbers; NaN and infinity never are."""
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
    """Return the range of numbers above 0, at most `high`."""
    return Real(0.0, high, above=True)


Rules = dict[str, Whole | Real | tuple[object, ...]]
"""The allowed numbers or values of each setting, by its full name."""

_RULES: ContextVar[Rules | None] = ContextVar("_RULES", default=None)


@contextmanager
def recorded_rules() -> Iterator[Rules]:
    """Yield a dict that collects the rules of every dataclass that is constructed inside the block."""
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
    """Raise an InputError for the first number of a dataclass that lies outside its range.

    None passes if it is the default. Each entry of a tuple is checked. `section` is the group's name, such as `train`.
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
    """Raise an InputError for the first setting of a dataclass that is none of its choices, a `Literal` or names."""
    _record(section, {name: get_args(choice) or tuple(choice) for name, choice in choices.items()})
    for name, choice in choices.items():
        value = getattr(config, name)
        allowed = get_args(choice) or tuple(choice)
        if value not in allowed:
            raise InputError(f"{key(section, name)} is {shown(value)}: use one of {', '.join(map(str, allowed))}.")


def check_sources(config: Any, section: str, *names: str) -> None:
    """Raise an InputError for the first setting of a dataclass that cannot be a path or a hub name; None passes."""
    for name in names:
        value = getattr(config, name)
        if value is not None and (not value.strip() or "\0" in value or len(value) > MAX_PATH):
            raise InputError(f"{key(section, name)} is {shown(value)}: give a file, a folder or a hub name.")


def key(section: str, name: str) -> str:
    """Return a setting's full dotted name, as in `--a.b=c`."""
    return f"{section}.{name}" if section else name


def type_in_words(hint: Any) -> str:
    """Return the values that a type hint allows, in words."""
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
