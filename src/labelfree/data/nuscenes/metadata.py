"""Stream the JSON tables of nuScenes; the largest have 2.6 million rows and more than a gigabyte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labelfree.data.numbers import LARGEST_SIDE, whole_number
from labelfree.errors import InputError, shown
from labelfree.files.documents import open_file

CHUNK_BYTES = 1 << 24
"""Read at once; what is parsed of it takes about ten times as much memory."""

LONGEST_ROW = 1 << 26
"""Bytes of one row: nuImages' largest masks take some thousands."""
UNPACK = "the table is damaged, unpack the dataset's metadata archive again"

Record = dict[str, Any]


def table_rows(path: Path, chunk: int = CHUNK_BYTES) -> Iterator[list[Record]]:
    """Yield the rows of a table, thousands at a time. Raises an `InputError` if the file is missing or invalid."""
    with open_file(path, "unpack the dataset's metadata archive again") as file:
        yield from _rows(path, file, chunk)


def _rows(path: Path, file: Any, chunk: int) -> Iterator[list[Record]]:
    rest, begun = b"", False
    while True:
        read = file.read(chunk)
        rest += read
        if not begun:
            rest = rest.lstrip()
            if not rest.startswith(b"["):
                raise _broken(path, "does not begin with '['")
            rest, begun = rest[1:], True
        cut = _last_row_end(rest)
        if cut:
            yield _parse(path, rest[:cut])
            rest = rest[cut:].lstrip().removeprefix(b",")
        if not read:
            break
        if len(rest) > LONGEST_ROW:
            raise _broken(path, f"has a row of more than {LONGEST_ROW >> 20} MiB")
    if rest.strip() != b"]":
        raise _broken(path, f"ends with {rest[-20:].decode('utf-8', 'replace')!r} instead of ']'")


def _last_row_end(text: bytes) -> int:
    """Return where the last whole row ends; rows hold lists and, in nuImages, objects of their own."""
    end = len(text)
    while (end := text.rfind(b"}", 0, end)) >= 0:
        after = text[end + 1 : end + 64].lstrip()
        if after[:1] == b"]" or (after[:1] == b"," and after[1:].lstrip()[:1] == b"{"):
            return end + 1
    return 0


def _parse(path: Path, text: bytes) -> list[Record]:
    try:
        rows = json.loads(b"[" + text.lstrip().removeprefix(b",") + b"]")
    except RecursionError as error:
        raise _broken(path, "is nested too deeply") from error
    except ValueError as error:
        raise _broken(path, f"is not JSON ({error})") from error
    wrong = next((row for row in rows if not isinstance(row, dict) or not isinstance(row.get("token"), str)), None)
    if wrong is not None:
        raise _broken(path, f"has a row without a token, {shown(wrong)}")
    return list(rows)


def _broken(path: Path, why: str) -> InputError:
    return InputError(f"{path}: {why}; {UNPACK}.")


def small_table(path: Path) -> dict[str, Record]:
    """Return a table as rows by token. Raises an `InputError` if a token appears twice."""
    table: dict[str, Record] = {}
    for rows in table_rows(path):
        for row in rows:
            if table.setdefault(row["token"], row) is not row:
                raise InputError(f"{path}: token {row['token']} appears twice; unpack the metadata archive again.")
    return table


def field(path: Path, row: Record, name: str) -> Any:
    """Return a field of a row. Raises an `InputError` if the row lacks it."""
    try:
        return row[name]
    except KeyError as error:
        raise InputError(
            f"{path}: row {row['token']} has no '{name}'; is this the table of another dataset?"
        ) from error


def text_field(path: Path, row: Record, name: str) -> str:
    """Return a text field of a row. Raises an `InputError` if it is not text."""
    value = field(path, row, name)
    if not isinstance(value, str) or not value:
        raise InputError(
            f"{path}: row {row['token']} has {shown(value)} for '{name}', expected text; the table is damaged."
        )
    return value


def side_field(path: Path, row: Record, name: str) -> int:
    """Return a height or width of a row, in pixels. Raises an `InputError` if it is not one."""
    return whole_field(path, row, name, 1, LARGEST_SIDE)


def whole_field(path: Path, row: Record, name: str, low: int, high: int) -> int:
    """Return a whole number of a row within a range. Raises an `InputError` if it is not one."""
    try:
        return whole_number(field(path, row, name), low, high)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: row {row['token']}: '{name}': {error}; {UNPACK}.") from error
