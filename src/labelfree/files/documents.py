"""Reading of users' text, JSON, YAML and NumPy files in bounded time and memory.

Only regular files up to a size limit are opened. Every function raises an InputError with the file and the fix if it
fails.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import yaml

from labelfree.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_TEXT = 64 << 20
"""Largest size of a text or JSON file in bytes; the poses of 300,000 frames take 60 MB."""
LARGEST_YAML = 4 << 20
"""Largest size of a YAML file in bytes; parsing takes about 1 s per MB."""
DEEPEST = 64
"""Largest number of nested levels of lists and keys."""
MOST_NODES = 200_000
"""Largest number of values of a YAML file, with every alias (`*name`) replaced by its value."""
RESTORE = "restore the file"

_SURROGATES = re.compile(r"\\u[dD][89a-fA-F]|\\U0000[dD][89a-fA-F]")
_YAML_ERRORS = (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Errors that PyYAML raises for invalid values, such as the date 2001-99-99 or an integer of 5,000 digits."""
NUMPY_ERRORS = (
    *(ArithmeticError, OSError, ValueError, EOFError, LookupError, MemoryError, RecursionError, SyntaxError, TypeError),
)
"""Errors that NumPy raises for damaged arrays."""

LARGEST_SWEEP = 1 << 30
"""Largest size in bytes of a file with the points of one LiDAR sweep, or with their labels."""


@contextmanager
def reading(path: Path, fix: str = RESTORE) -> Iterator[None]:
    """Convert an error of the operating system inside the block to an InputError that names the file."""
    try:
        yield
    except OSError as error:
        if not isinstance(error.filename, (str, Path)):
            raise InputError(f"{path}: cannot be read ({error.strerror or error}); {fix}.") from error
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}); {fix}.") from error


@contextmanager
def open_file(path: Path, fix: str = RESTORE, largest: int | None = None) -> Iterator[BinaryIO]:
    """Open a regular file of at most `largest` bytes; a pipe, device or folder is refused without blocking."""
    with reading(path, fix):
        try:
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except FileNotFoundError as error:
            raise InputError(f"{path}: no such file; {fix}.") from error
        except ValueError as error:  # a NUL character, or one that no file name can hold
            raise InputError(f"{str(path)!r}: is no file name ({error}); {fix}.") from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise InputError(f"{path}: is not a regular file (a folder, pipe or device); {fix}.")
        if largest is not None and os.fstat(handle).st_size > largest:
            os.close(handle)
            raise InputError(f"{path}: is larger than {largest / (1 << 20):g} MiB, the limit for such a file; {fix}.")
        with os.fdopen(handle, "rb") as file:
            yield file


def read_bytes(path: Path, largest: int = LARGEST_TEXT, fix: str = RESTORE) -> bytes:
    """Return the content of a regular file of at most `largest` bytes."""
    with open_file(path, fix, largest) as file:
        return file.read(largest)


def read_text(path: Path, largest: int = LARGEST_TEXT, fix: str = RESTORE, strict: bool = True) -> str:
    """Return the content of a UTF-8 text file, with or without a byte order mark.

    With `strict=False` bytes that are not UTF-8 become replacement characters, as for comments in another encoding.
    """
    data = read_bytes(path, largest, fix)
    try:
        return data.decode("utf-8-sig", "strict" if strict else "replace")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: is not UTF-8 text ({error.reason}); {fix}.") from error


def read_json(path: Path, largest: int = LARGEST_TEXT, fix: str = RESTORE) -> Any:
    """Return the content of a JSON file."""
    return parse_json(read_text(path, largest, fix), str(path), fix)


def read_yaml(path: Path, fix: str = "fix the file") -> Any:
    """Return the content of a YAML file; a repeated key has its last value."""
    return parse_yaml(read_text(path, LARGEST_YAML, fix), str(path), fix)


def parse_json(text: str, where: str, fix: str = RESTORE) -> Any:
    """Return the content of JSON text; `where` names it in errors."""
    try:
        data = json.loads(text)
    except RecursionError as error:
        raise _too_deep(where, fix) from error
    except ValueError as error:
        raise InputError(f"{where}: is not JSON ({error}); {fix}.") from error
    return _checked(data, text, where, fix)


def parse_yaml(text: str, where: str, fix: str = "fix the file") -> Any:
    """Return the content of YAML text; `where` names it in errors."""
    try:
        data = yaml.load(text, Loader=_Loader)
    except _TooLarge as error:
        raise InputError(f"{where}: {error}; {fix}.") from error
    except _YAML_ERRORS as error:
        raise InputError(f"{where}: is not valid YAML ({_yaml_reason(error)}); {fix}.") from error
    return _checked(data, text, where, fix)


def read_array(path: Path, fix: str = "copy the file again") -> NDArray[Any]:
    """Return the array of real numbers of an `.npy` file, whose header must not declare more than the file holds."""
    import numpy as np  # imported here: commands such as `settings` start faster without it

    with open_file(path, fix):
        pass
    try:
        mapped = map_array(path)
        if mapped.dtype.kind not in "biuf":
            raise ValueError(f"its values are {mapped.dtype}, expected real numbers")
        return np.array(mapped)
    except NUMPY_ERRORS as error:
        raise InputError(f"{path}: cannot be read as an array ({one_line(error)}); {fix}.") from error


def map_array(path: Path) -> NDArray[Any]:
    """Map an `.npy` file into memory, which refuses a header that declares more than the file holds.

    Raises an error of one of many kinds if the file is damaged. `np.load` would advise to allow pickles.
    """
    import numpy as np

    with np.errstate(over="raise"):  # a product of sides that no integer holds
        return np.lib.format.open_memmap(path, mode="r")


def one_line(error: BaseException) -> str:
    """Return the text of an error on one line, shortened to 200 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."


class _TooLarge(Exception):
    """The error of a document that would take too much memory."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with limits on values and levels, which are counted before any object is built."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._nodes = 0
        self._sizes: dict[int, int] = {}
        """Number of values of each complete node, by its id."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node. Raises _TooLarge if it is nested too deeply or aliases expand to too many values."""
        is_alias, before = self.check_event(yaml.AliasEvent), self._nodes
        self._depth += 1
        if self._depth > DEEPEST:
            raise _TooLarge(f"is nested more than {DEEPEST} levels deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias:
            if id(node) not in self._sizes:
                raise _TooLarge("holds an alias (*name) inside its own value")
            self._nodes += self._sizes[id(node)]
        else:
            self._nodes += 1
            self._sizes[id(node)] = self._nodes - before
        if self._nodes > MOST_NODES:
            raise _TooLarge(f"holds more than {MOST_NODES:,} values, with aliases (*name) expanded")
        return node


def _checked(data: Any, text: str, where: str, fix: str) -> Any:
    """Return the data. Raises an InputError if it is nested too deeply or holds text that is not valid Unicode."""
    level = [data]
    for _ in range(DEEPEST + 1):
        level = [child for value in level if isinstance(value, (dict, list)) for child in _children(value)]
        if not level:
            break
    else:
        raise _too_deep(where, fix)
    if _SURROGATES.search(text):
        try:
            json.dumps(data, ensure_ascii=False, default=str).encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(f"{where}: holds half of a surrogate pair, which is not a character; {fix}.") from error
    return data


def _children(value: Any) -> list[Any]:
    inside = value.values() if isinstance(value, dict) else value
    return [child for child in inside if isinstance(child, (dict, list))]


def _too_deep(where: str, fix: str) -> InputError:
    return InputError(f"{where}: is nested more than {DEEPEST} levels deep; {fix}.")


def _yaml_reason(error: BaseException) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return one_line(error)
    mark = error.problem_mark
    where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    return f"{where}{' '.join((error.problem or error.context or 'not understood').split())}"
