"""Damage JSON and YAML: wrong types, extreme numbers, hostile names, deep nesting, alias bombs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

Rng = np.random.Generator
Place = tuple[Any, Any]
"""A container and the key or index of a value in it."""

NESTING = 100_000
BOMB_LEVELS = 30
HOSTILE_NAMES = ("../../x", "../../../../x/y", "\x1b]0;owned\x07x", "a\nb", "x" * 5000, "..", ".", "", " ", "a/b")
GARBAGE: tuple[Any, ...] = (
    None, True, "x", [], {}, [None] * 3, {"a": 1}, -1, 0, 1, 0.5, -0.5, 1e308, math.inf, -math.inf, math.nan, 2**31,
    2**63,
    -(2**63), 10**30, "1e400", "nan", *HOSTILE_NAMES,
)  # fmt: skip
PAYLOAD = "!!python/object/apply:os.mkdir [owned]"


def damage_tree(random: Rng, path: Path) -> str:
    """Damage a value of a JSON, JSON-lines or YAML file; return a description."""
    kind = path.suffix.lower()
    if kind == ".jsonl":
        return _damage_lines(random, path)
    text = path.read_text(encoding="utf-8")
    data = json.loads(text) if kind == ".json" else yaml.safe_load(text)
    places = list(_places(data))
    if not places:
        raise ValueError("nothing to damage")
    special = random.random()
    if special < 0.12:
        return _write_literal(random, path, data, places)
    container, key = places[int(random.integers(len(places)))]
    done = _change(random, container, key)
    path.write_text(json.dumps(data) if kind == ".json" else yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
    return done


def _damage_lines(random: Rng, path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    number = int(random.integers(len(lines)))
    record = json.loads(lines[number])
    key = list(record)[int(random.integers(len(record)))]
    done = _change(random, record, key)
    lines[number] = json.dumps(record)
    path.write_text("\n".join(lines) + "\n")
    return f"line {number + 1}: {done}"


def _change(random: Rng, container: Any, key: Any) -> str:
    action = random.random()
    if action < 0.15:
        del container[key]
        return f"value at {_short(key)} deleted"
    if action < 0.22 and isinstance(container, list):
        container.append(container[key])
        return f"value at {key} duplicated"
    if action < 0.3 and isinstance(container, dict):
        name = HOSTILE_NAMES[int(random.integers(len(HOSTILE_NAMES)))]
        container[name] = container.pop(key)
        return f"key {_short(key)} renamed to {_short(name)}"
    value = GARBAGE[int(random.integers(len(GARBAGE)))]
    container[key] = value
    return f"value at {_short(key)} = {_short(value)}"


def _write_literal(random: Rng, path: Path, data: Any, places: list[Place]) -> str:
    """Replace a value by text that no writer produces."""
    bomb = ", ".join(
        ["&a0 [x, x, x, x, x, x, x, x, x]"]
        + [f"&a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, BOMB_LEVELS)]
    )
    literals = {"nested lists": "[" * NESTING + "]" * NESTING, "huge number": "9" * 5000, "bare NaN": "NaN"}
    if path.suffix.lower() != ".json":
        literals |= {
            "alias bomb": f"[{bomb}]",
            "python tag": PAYLOAD,
            "self reference": "&s [*s]",
            "bare dash": "- : -",
        }
    else:
        literals |= {"nested objects": '{"a":' * NESTING + "1" + "}" * NESTING, "lone surrogate": '"\\ud800"'}
    name = list(literals)[int(random.integers(len(literals)))]
    container, key = places[int(random.integers(len(places)))]
    container[key] = marker = "literal-goes-here"
    text = json.dumps(data) if path.suffix.lower() == ".json" else yaml.safe_dump(data, sort_keys=False)
    quoted = f'"{marker}"' if f'"{marker}"' in text else marker
    path.write_text(text.replace(quoted, literals[name], 1))
    return f"{name} at {_short(key)}"


def _places(data: Any) -> Iterator[Place]:
    """Yield the place of every value that can be replaced."""
    keys = list(data) if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    for key in keys:
        yield data, key
        yield from _places(data[key])


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


Change = Callable[[Rng, Path], str]
