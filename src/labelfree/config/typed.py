"""Conversion of plain data from YAML or JSON to dataclasses, with type checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Any, TypeVar, cast, get_args, get_type_hints

from jsonargparse import ArgumentParser, Namespace

from labelfree.config.ranges import type_in_words
from labelfree.errors import InputError, shown

Data = TypeVar("Data")

_FIELD = re.compile(r'Parser key "([^"]+)"')
"""The part of a jsonargparse error that names the field."""


def typed(kind: type[Data], tree: Mapping[str, Any], source: str) -> Data:
    """Return a dataclass, with nested ones, made of plain data.

    Raises an InputError if a value has the wrong type or is not allowed; `source` names the data in the message.
    """
    _refuse_nothing(kind, tree, source)
    parser = _parser(cast(Any, kind))
    try:
        parsed: Namespace = parser.parse_object(dict(tree))
        return kind(**vars(parser.instantiate(parsed)))
    except InputError:
        raise
    except Exception as error:  # jsonargparse raises several types of its own
        cause = _input_error(error)
        raise cause or InputError(f"{source}: {_sentence(cast(Any, kind), tree, str(error))}") from error


@cache
def _parser(kind: type[Any]) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind)
    return parser


def _input_error(error: BaseException | None) -> InputError | None:
    while error is not None:
        if isinstance(error, InputError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _refuse_nothing(kind: type[Any], tree: Mapping[str, Any], source: str, prefix: str = "") -> None:
    """Raise an InputError for the first null whose field needs a value; the parser accepts null for any field."""
    hints = get_type_hints(kind)
    for name, value in tree.items():
        hint = hints.get(name)
        if value is None and hint is not None and type(None) not in get_args(hint):
            raise InputError(f"{source}: {prefix}{name} is null: give a value, or leave the key out.")
        if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
            _refuse_nothing(hint, value, source, f"{prefix}{name}.")


def _sentence(kind: type[Any], tree: Mapping[str, Any], text: str) -> str:
    """Return a sentence that names the value of the wrong type, or the parser's own text if it names no field."""
    found = _FIELD.search(text)
    names = found.group(1).split(".") if found else []
    hint: Any = kind
    value: Any = tree
    for name in names:
        if not is_dataclass(hint) or not isinstance(value, Mapping) or name not in value:
            hint = None
            break
        hint, value = get_type_hints(hint)[name], value[name]
    if not names or hint is None or is_dataclass(hint):
        return " ".join(line.strip(" -") for line in text.splitlines()[:3])[:400]
    return f"{'.'.join(names)} is {shown(value)}: give {type_in_words(hint)}."
