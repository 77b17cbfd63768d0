"""Recompute the numbers of README.md and the result pages from the committed JSON files.

    python -m benchmarks.check_numbers            # exit code 1 and one line for each number that differs
    python -m benchmarks.check_numbers --write    # replace the numbers in the pages

A page declares its files once. A path with `*` stands for all files that match:

    <!-- sources: t1 = results/tables/table1.json, runs = results/tables/runs/*/full/result.json -->

A marker follows the text that it covers, which reaches back to the last blank line or marker. It has one item for each
decimal number of the text, in order; the sign and the number of decimals stay as printed:

    CNS reaches 36.8 / 39.3, that is 10.0 ± 2.0 points more.
    <!-- numbers: t1/cns/miou_2d; t1/cns/miou_3d; t1/cns/miou_2d - t1/maskclip/miou_2d -->

- `t1/cns/miou_2d` walks through the JSON, from its `rows` if it has any. `key=value` selects entries of a list.
- A list is one value per seed. Differences are paired; `36.8 ± 2.0` is the mean with its 95 % interval.
- `low(A)` and `high(A)` are the prediction interval of one more run, `smallest(A)` and `largest(A)` the extremes.
  `best(A, B)` is the larger value of each seed, `first(A, B)` is A, or B if A has no values, `percent(A)` is
  100 A, `later(A)` is A without the first seed, `beside(A, B)` is B if A has values.
- `numbers, integers too:` covers integers as well. The words of EXEMPT stand for numbers without a JSON file.

In a table, the items of different columns are separated by `|`, without the first column; `{row}` is its text. A cell
without a value is `–` or empty. `rows[a, b]` in front gives the names of the rows where the first column differs.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelfree.paper_tables.statistics import Estimate, estimate

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/results.md", "docs/findings.md")
MISSING = "–"

EXEMPT = {
    "setting": "a value of a setting, not a result",
    "version": "the version of a program",
    "not_kept": "a result of a run whose output was not kept; the page says so",
    "elsewhere": "a number of the paper or another page that is in no JSON file",
    "_": "an integer that counts or names something",
}
"""Words for numbers that are not checked, with their meaning."""

DECIMAL = r"[-+]?\d+\.\d+"
SPREAD = r"(?:\s±\s+\d+\.\d+)?"
BEFORE, AFTER = r"(?<![\w.,/=-])", r"(?![\w-]|\.\d)"
DECIMALS = re.compile(rf"{BEFORE}{DECIMAL}{SPREAD}{AFTER}")
INTEGERS = re.compile(rf"{BEFORE}(?:{DECIMAL}{SPREAD}|\d+){AFTER}")
CELL = re.compile(rf"{BEFORE}{DECIMAL}{SPREAD}{AFTER}|{MISSING}")

MARKER = re.compile(r"<!-- (numbers|numbers, integers too|sources):(.*?)-->", re.DOTALL)
HIDDEN = re.compile(r"^```.*?^```|<!--.*?-->|`[^`]*`|\]\([^)]*\)|^#.*?$", re.DOTALL | re.MULTILINE)
"""Code, comments, link targets and headings: numbers in them are not results."""

CALL = re.compile(r"(low|high|smallest|largest|best|first|beside|later|percent)\((.*)\)")
ROWS = re.compile(r"rows\[(.*?)\](.*)", re.DOTALL)


class NumberError(Exception):
    """A marker that cannot be read, or that does not fit its text."""


@dataclass(frozen=True)
class Finding:
    """A number of a page and what its source says."""

    start: int
    end: int
    found: str
    expected: str


class Sources:
    """The JSON files that a page names."""

    def __init__(self, root: Path, stated: str) -> None:
        pairs = (part.split("=") for part in stated.split(","))
        self.root, self.paths = root, {name.strip(): path.strip() for name, path in pairs}
        self.read: dict[str, Any] = {}

    def values(self, item: str) -> list[float | None]:
        """Return the value of an expression for each seed; empty if it has none."""
        first, *others = _split(" ".join(item.split()), " - ")
        if others:
            return _minus(self.values(first), self.values(" - ".join(others)))
        called = CALL.fullmatch(first)
        return self._called(called[1], called[2]) if called else self._path(first)

    def _called(self, name: str, inside: str) -> list[float | None]:
        operands = [self.values(part) for part in _split(inside, ", ")]
        known = [value for value in operands[0] if value is not None]
        match name:
            case "best":
                return [None if None in pair else max(filter(None, pair)) for pair in zip(*operands, strict=True)]
            case "first":
                return next((values for values in operands if values), [])
            case "beside":
                return operands[1] if operands[0] else []
            case "later":
                return operands[0][1:]
            case "percent":
                return [100 * value for value in known]
            case "smallest" | "largest":
                return [min(known) if name == "smallest" else max(known)] if known else []
        interval = _estimate(known).next_run
        if interval is None:
            raise NumberError(f"'{inside}' has one value, which gives no interval")
        return [interval.low if name == "low" else interval.high]

    def _path(self, path: str) -> list[float | None]:
        name, *keys = path.strip().split("/")
        if name not in self.paths:
            raise NumberError(f"'{path.strip()}' begins with none of the sources {', '.join(self.paths)}")
        data = self._file(name)
        if isinstance(data, dict) and isinstance(data.get("rows"), dict):
            data = data["rows"]
        for key in keys:
            data = _step(data, key)
        found = list(_flat(data))
        if not all(value is None or isinstance(value, (int, float)) for value in found):
            raise NumberError(f"'{path.strip()}' is no number and no list of numbers")
        return [] if all(value is None for value in found) else found

    def _file(self, name: str) -> Any:
        if name not in self.read:
            path = self.paths[name]
            files = sorted(self.root.glob(path)) if "*" in path else [self.root / path]
            if not files or not files[0].is_file():
                raise NumberError(f"source '{name}', {path}, is missing")
            found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
            self.read[name] = found if "*" in path else found[0]
        return self.read[name]


def _flat(data: Any) -> Iterator[Any]:
    for each in data if isinstance(data, list) else [data]:
        yield from _flat(each) if isinstance(each, list) else [each]


def _split(text: str, at: str) -> list[str]:
    """Split at a separator outside parentheses."""
    parts: list[str] = [""]
    for piece in text.split(at):
        inside = parts[-1].count("(") != parts[-1].count(")")
        parts = [*parts[:-1], parts[-1] + at + piece] if inside else [*parts, piece]
    return parts[1:]


def _minus(first: list[float | None], other: list[float | None]) -> list[float | None]:
    if first and other and len(first) != len(other):
        raise NumberError(f"a difference of {len(first)} and {len(other)} values")
    return [None if a is None or b is None else a - b for a, b in zip(first, other)]


def _step(data: Any, key: str) -> Any:
    """Return an entry of JSON data, or for a list that entry of each element; None if there is none."""
    if isinstance(data, list):
        name, selects, value = key.partition("=")
        if selects:
            found = [each for each in data if str(each.get(name)) == value]
            return found or None
        if key.isdigit() and not any(isinstance(each, (list, dict)) for each in data):
            return data[int(key)]
        return [_step(each, key) for each in data] if len(data) != 1 else _step(data[0], key)
    if isinstance(data, dict):
        return data.get(key, data.get(key.lower()))
    return None


def _estimate(values: list[float]) -> Estimate:
    found = estimate(values)
    if found is None:
        raise NumberError("there is no value")
    return found


def printed(values: list[float | None], like: str) -> str:
    """Return values as a page prints them: with the sign, the decimals and the spread of the text `like`."""
    known = [value for value in values if value is not None]
    if not known:
        return MISSING
    found, with_spread = _estimate(known), re.split(r"\s±\s+", like)
    decimals = len(with_spread[0].partition(".")[2]) if "." in like else 1 if like == MISSING else 0
    sign = "+" if like[0] in "+-" else ""
    text = f"{found.mean:{sign}.{decimals}f}"
    if len(with_spread) == 1:
        return text
    if found.interval is None:
        raise NumberError(f"'{like}' has a ± but its source has one value")
    return f"{text}{like[len(with_spread[0]) : -len(with_spread[1])]}{found.interval.high - found.mean:.{decimals}f}"


def findings(text: str, root: Path = ROOT) -> Iterator[Finding | tuple[int, str]]:
    """Yield every number of a page that has a source, and (position, problem) for markers and numbers without one."""
    visible = HIDDEN.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    sources, start = Sources(root, "none="), 0
    for marker in MARKER.finditer(text):
        if marker[1] == "sources":
            sources = Sources(root, marker[2])
            continue
        begin = max(start, text.rfind("\n\n", 0, marker.start()) + 1)
        yield from ((start + found.start(), "has no source") for found in DECIMALS.finditer(visible[start:begin]))
        start = marker.end()
        try:
            if text[begin : marker.start()].lstrip().startswith("|"):
                yield from _table(visible, begin, marker.start(), marker[2], sources)
            else:
                numbers = INTEGERS if "integers" in marker[1] else DECIMALS
                places = list(numbers.finditer(visible, begin, marker.start()))
                yield from _matched(places, marker[2].split(";"), sources)
        except NumberError as error:
            yield marker.start(), str(error)
    yield from ((start + found.start(), "has no source") for found in DECIMALS.finditer(visible[start:]))


def _matched(places: list[re.Match[str]], items: list[str], sources: Sources) -> Iterator[Finding]:
    if len(places) != len(items):
        texts = ", ".join(" ".join(place[0].split()) for place in places)
        raise NumberError(f"the marker has {len(items)} items for {len(places)} numbers: {texts}")
    for place, item in zip(places, items):
        if item.strip() not in EXEMPT:
            yield Finding(place.start(), place.end(), place[0], printed(sources.values(item), place[0]))


def _table(visible: str, begin: int, end: int, stated: str, sources: Sources) -> Iterator[Finding]:
    """Yield the numbers of a table, whose header and rule are left out."""
    names = ROWS.fullmatch(stated.strip())
    columns = (names[2] if names else stated).split("|")
    lines = [line for line in re.finditer(r"[^\n]+", visible[begin:end]) if line[0].lstrip().startswith("|")][2:]
    labels = names[1].split(", ") if names else [re.sub(r"\(.*?\)|[*`]", "", line[0].split("|")[1]) for line in lines]
    if len(labels) != len(lines):
        raise NumberError(f"rows[...] names {len(labels)} rows of {len(lines)}")
    for line, label in zip(lines, labels):
        cells = list(re.finditer(r"(?<=\|)[^|\n]*(?=\|)", line[0]))[1:]
        if len(cells) != len(columns):
            raise NumberError(f"the marker has {len(columns)} columns for the {len(cells)} of row '{label.strip()}'")
        for cell, column in zip(cells, columns):
            if column.strip() in EXEMPT:
                continue
            items = [item.replace("{row}", " ".join(label.split())) for item in column.split(";")]
            if not cell[0].strip() and not any(any(sources.values(item)) for item in items):
                continue  # a row that the source leaves out, or the row that others are compared with
            first = begin + line.start() + cell.start()
            places = list(CELL.finditer(visible, first, first + len(cell[0])))
            yield from _matched(places, items, sources)


def check_page(path: Path, root: Path = ROOT, write: bool = False) -> list[str]:
    """Return one line for each number of a page that differs or has no source; with `write`, replace the former."""
    text, problems, changes = path.read_text(encoding="utf-8"), [], []
    for found in findings(text, root):
        position = found.start if isinstance(found, Finding) else found[0]
        where = f"{path.relative_to(root)}:{text.count(chr(10), 0, position) + 1}"
        if not isinstance(found, Finding):
            number = DECIMALS.match(text, position)
            problems.append(f"{where}: {number[0] + ' ' if number else ''}{found[1]}")
        elif found.found != found.expected:
            changes.append(found)
            if not write:
                problems.append(
                    f"{where}: {' '.join(found.found.split())}, expected {' '.join(found.expected.split())}"
                )
    if write and changes:
        for change in sorted(changes, key=lambda change: -change.start):
            text = text[: change.start] + change.expected + text[change.end :]
        path.write_text(text, encoding="utf-8")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="replace the numbers that differ")
    options = parser.parse_args()
    problems = [line for page in PAGES for line in check_page(ROOT / page, ROOT, options.write)]
    print("\n".join(problems) or f"The numbers of {', '.join(PAGES)} agree with their files.")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
