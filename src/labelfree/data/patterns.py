"""Match file patterns such as `color/*.{png,jpg}`; the part matched by `*` is the name of the frame."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labelfree.errors import InputError

_TOKENS = re.compile(r"\*|\{name\}|\?|\{[^{}]*\}|[^*?{]+|\{")
_NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True)
class Pattern:
    """A path with wildcards in a scene's folder: `*` and `{name}` are the frame's name, `?` and `{png,jpg}` are not."""

    text: str

    @property
    def has_wildcard(self) -> bool:
        """Return whether the pattern can match more than one file."""
        return any(mark in self.text for mark in "*?{")

    @property
    def names_frames(self) -> bool:
        """Return whether a part of the pattern stands for the frame's name."""
        return "*" in self.text or "{name}" in self.text

    def fill(self, name: str) -> str:
        """Return the path of a frame: its name replaces the wildcard, and the first alternative is taken."""
        filled = re.sub(r"\*|\{name\}", lambda _: name, self.text, count=1)
        return re.sub(r"\{([^{},]*),[^{}]*\}", r"\1", filled)

    def matches_in(self, folder: Path) -> bool:
        """Return whether a file in the folder matches, or the pattern's own folder (`color/`) exists, even if empty."""
        first = self.text.split("/")[0]
        if first != self.text and not Pattern(first).has_wildcard and (folder / first).is_dir():
            return True
        return next(self._walk(folder), None) is not None

    def find(self, folder: Path) -> dict[str, Path]:
        """Return the matching files by frame name, in natural order (2 before 10).

        Raises an `InputError` if two files have the same frame name.
        """
        found: dict[str, Path] = {}
        for name, path in self._walk(folder):
            if name in found:
                raise InputError(
                    f"{path}: frame name '{name}' already belongs to {found[name].name}; keep one of the two, or make "
                    f"the pattern '{self.text}' tell them apart."
                )
            found[name] = path
        return {name: found[name] for name in natural_order(found)}

    def find_for(self, folder: Path, names: Collection[str]) -> dict[str, Path]:
        """Return the matching files by frame name; a single file for a single frame needs no `*`.

        Raises an `InputError` if files match but none has the name of a frame: then the pattern is wrong.
        """
        found = self.find(folder)
        if not found or not names or any(name in found for name in names):
            return found
        name, file = next(iter(names)), next(iter(found.values()))
        if not self.names_frames:
            if len(names) == len(found) == 1:
                return {name: file}
            raise InputError(
                f"{file}: '{self.text}' names one file for {len(names)} frames; write '*' where a frame's name, such "
                f"as '{name}', stands."
            )
        raise InputError(
            f"{file}: '{self.text}' finds {len(found)} files, none with the name of a frame such as '{name}': what '*' "
            "stands for must be the same for all files of a frame; change the pattern."
        )

    def _walk(self, folder: Path) -> Iterator[tuple[str, Path]]:
        start = Path("/") if self.text.startswith("/") else folder
        yield from _descend(start, self.text.strip("/").split("/"), ())


def natural_order(names: Iterable[str]) -> list[str]:
    """Return names sorted by the numbers in them: '2' before '10', timestamps by value."""
    names = list(names)
    if all(_NUMBER.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    return sorted(names, key=lambda name: [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in _split(name)])


def _split(name: str) -> list[str]:
    return [part for part in re.split(r"(\d+)", name) if part]


def is_number(name: str) -> bool:
    """Return whether a frame's name is a plain number, such as an index or a timestamp."""
    return _NUMBER.fullmatch(name) is not None


def _descend(folder: Path, parts: list[str], captured: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    head, rest = parts[0], parts[1:]
    if not Pattern(head).has_wildcard:
        entries = [(folder / head, captured)] if (folder / head).exists() else []
    else:
        entries = list(_matching(folder, head, captured))
    for path, names in entries:
        if rest and path.is_dir():
            yield from _descend(path, rest, names)
        elif not rest and (path.is_file() or path.is_symlink()):  # a broken link is a missing file
            yield "_".join(names) or path.stem, path


def _matching(folder: Path, part: str, captured: tuple[str, ...]) -> Iterator[tuple[Path, tuple[str, ...]]]:
    expression = _expression(part)
    for path in folder.iterdir() if folder.is_dir() else ():
        match = None if path.name.startswith(".") else expression.fullmatch(path.name)
        if match:
            yield path, (*captured, *match.groups())


def _expression(part: str) -> re.Pattern[str]:
    suffix = r"\.[^.]*" if part.endswith(".*") else ""
    pieces = []
    for token in _TOKENS.findall(part.removesuffix(".*") if suffix else part):
        if token in ("*", "{name}"):
            pieces.append("(.*)")
        elif token == "?":
            pieces.append(".")
        elif token.startswith("{") and token.endswith("}"):
            pieces.append("(?:" + "|".join(re.escape(word.strip()) for word in token[1:-1].split(",")) + ")")
        else:
            pieces.append(re.escape(token))
    return re.compile("".join(pieces) + suffix, re.IGNORECASE)
