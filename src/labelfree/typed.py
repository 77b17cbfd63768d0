"""Plain data, as YAML and JSON give it, made into the dataclass whose types it must have."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar, cast

from jsonargparse import ArgumentParser, Namespace

from labelfree.errors import InputError

Data = TypeVar("Data")


def typed(kind: type[Data], tree: Mapping[str, Any], source: str) -> Data:
    """Return a dataclass, nested ones included; `source` names the data where a value is of another type."""
    parser = _parser(cast(Any, kind))
    try:
        parsed: Namespace = parser.parse_object(dict(tree))
        return kind(**vars(parser.instantiate(parsed)))
    except InputError:
        raise
    except Exception as error:  # jsonargparse wraps what it meets in several kinds of its own
        cause = _input_error(error)
        raise cause or InputError(f"{source}: {_first_sentence(str(error))}") from error


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


def _first_sentence(text: str) -> str:
    lines = [line.strip(" -") for line in text.splitlines() if line.strip(" -")]
    return " ".join(lines[:3])[:400]
