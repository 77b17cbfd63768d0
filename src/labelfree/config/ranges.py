"""Ranges of the settings: every number of a configuration lies in one, or the user is told which."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, get_args

from labelfree.errors import InputError, shown

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


def check_ranges(config: Any, section: str, **ranges: Range) -> None:
    """Raise the first number of a dataclass that lies outside its range; None passes where it is the default.

    `section` is the key before the field's in a recipe, such as `train`. Of tuples each entry is checked.
    """
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
