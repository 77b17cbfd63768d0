"""Vocabularies: class names, the synonyms that CLIP reads, and colours."""

from __future__ import annotations

import colorsys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError, shown
from labelfree.files.documents import parse_yaml, read_text

IGNORE_LABEL = 255
"""Label of pixels and points that belong to no class."""

LARGEST_FILE = 1 << 20
"""Largest size of a vocabulary file in bytes."""

MAX_CLASSES = 255
"""Largest number of classes: labels are uint8 and 255 is ignored."""

MAX_NAME = 200
"""Longest class name or synonym in characters; CLIP reads at most 77 tokens."""

PRESETS_DIR = Path(__file__).parent / "vocabularies"

_GOLDEN_RATIO = 0.618033988749895


@dataclass(frozen=True)
class Vocabulary:
    """An ordered list of K classes; a label is the index of a class.

    Raises an InputError if names, synonyms or colours are empty, repeated or do not fit together.
    """

    names: tuple[str, ...]
    """Class names in label order, as printed in tables and, without `synonyms`, as read by CLIP."""
    synonyms: tuple[tuple[str, ...], ...] = ()
    """Names per class that CLIP reads; the best one counts. Empty takes the class name, as in the paper."""
    colours: tuple[tuple[int, int, int], ...] = ()
    """RGB 0..255 per class; empty takes distinct colours."""
    ignore: int = field(default=IGNORE_LABEL)
    """The ignored label, left out of training and evaluation; always 255."""

    def __post_init__(self) -> None:
        # Check the names
        if not self.names:
            raise InputError("The vocabulary has no classes: give at least one class name.")
        if len(self.names) > MAX_CLASSES:
            raise InputError(
                f"The vocabulary has {len(self.names)} classes: at most {MAX_CLASSES} fit in uint8 labels."
            )
        if any(not name.strip() for name in self.names):
            raise InputError(
                f"Class name {[n.strip() for n in self.names].index('')} of the vocabulary is empty: remove it."
            )
        for name in (*self.names, *(word for words in self.synonyms for word in words)):
            if len(name) > MAX_NAME or any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in name):
                raise InputError(
                    f"Class name {shown(name)} has {len(name):,} characters: give at most {MAX_NAME}, none of them a "
                    "control character."
                )
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise InputError(f"Class name '{repeated[0]}' is listed more than once in the vocabulary: keep it once.")
        if self.ignore != IGNORE_LABEL:
            raise InputError(
                f"ignore is {self.ignore}: this library uses {IGNORE_LABEL}; convert labels when reading them."
            )

        # Fill in the defaults
        object.__setattr__(self, "synonyms", self.synonyms or tuple((name,) for name in self.names))
        object.__setattr__(self, "colours", self.colours or _distinct_colours(len(self.names)))

        # Check synonyms and colours
        for what, values in (("synonyms", self.synonyms), ("colours", self.colours)):
            if len(values) != len(self.names):
                raise InputError(
                    f"The vocabulary has {len(self.names)} names but {len(values)} {what}: give one per class."
                )
        for name, words in zip(self.names, self.synonyms):
            if not words or any(not word.strip() for word in words):
                raise InputError(f"Class '{name}' has an empty word among its synonyms: remove it.")
        for name, colour in zip(self.names, self.colours):
            if len(colour) != 3 or not all(0 <= int(c) <= 255 for c in colour):
                raise InputError(f"Colour {tuple(colour)} of class '{name}' is not three values in 0..255.")

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Return the label of a class name. Raises an InputError if there is no such class."""
        if name not in self.names:
            raise InputError(f"'{name}' is not a class of this vocabulary; its classes are {', '.join(self.names)}.")
        return self.names.index(name)

    def palette(self) -> NDArray[np.uint8]:
        """Return the RGB colour of each label, [256, 3] uint8; labels without a class are mid grey."""
        table = np.full((256, 3), 128, dtype=np.uint8)
        table[: len(self)] = self.colours
        return table

    @classmethod
    def from_names(cls, names: Sequence[str]) -> Vocabulary:
        """Return a vocabulary of plain class names. Raises an InputError if one is empty, too long or repeated."""
        return cls(tuple(name.strip() for name in names))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str = "vocabulary") -> Vocabulary:
        """Return the vocabulary of `{"classes": [name | {name, synonyms, colour}, ...]}`.

        Raises an InputError if the data has another form; `source` names it in the message.
        """
        entries = data.get("classes") if isinstance(data, Mapping) else None
        if not isinstance(entries, list) or set(data) - {"classes"}:
            raise InputError(f"{source}: expected one key 'classes' with a list, found {str(data)[:60]}.")
        rows = [{"name": entry} if isinstance(entry, str) else entry for entry in entries]
        for row in rows:
            if not isinstance(row, dict) or "name" not in row or set(row) - {"name", "synonyms", "colour"}:
                raise InputError(
                    f"{source}: class entry {row!r} must be a name or have the keys name, synonyms, colour."
                )
            if not isinstance(row.get("synonyms", []), list):
                raise InputError(f"{source}: synonyms of '{row['name']}' must be a list of names.")
        names = tuple(str(row["name"]) for row in rows)
        palette = _distinct_colours(len(names))
        colours = tuple(_colour(row.get("colour", auto), source) for row, auto in zip(rows, palette))
        return cls(names, tuple(tuple(map(str, row.get("synonyms", [row["name"]]))) for row in rows), colours)

    def to_dict(self) -> dict[str, Any]:
        """Return the vocabulary as plain data for `from_dict`."""
        rows = zip(self.names, self.synonyms, self.colours)
        return {"classes": [{"name": n, "synonyms": list(s), "colour": list(c)} for n, s, c in rows]}

    @classmethod
    def parse(cls, text: str) -> Vocabulary:
        """Return the vocabulary of comma-separated names, a preset such as `scannet20`, or a vocabulary file.

        Raises an InputError if the text is none of these.
        """
        presets = {path.stem: path for path in sorted(PRESETS_DIR.glob("*.yaml"))}
        if text in presets:
            return cls.from_file(presets[text])
        if Path(text).suffix in {".yaml", ".yml", ".txt", ".json"}:
            return cls.from_file(Path(text))
        names = [name.strip() for name in text.split(",") if name.strip()]
        if len(names) < 2:
            raise InputError(
                f"--classes {shown(text)} is neither a comma list of two or more names, nor a file, nor a preset "
                f"({', '.join(presets)})."
            )
        return cls.from_names(names)

    @classmethod
    def from_file(cls, path: str | Path) -> Vocabulary:
        """Return the vocabulary of a file: YAML or JSON with key `classes`, or text with one name per line."""
        path = Path(path)
        text = read_text(path, LARGEST_FILE, "give a vocabulary file, with one class name per line")
        if path.suffix == ".txt":
            lines = (line.strip() for line in text.splitlines())
            return cls.from_names([line for line in lines if line and not line.startswith("#")])
        data = parse_yaml(text, str(path))
        if isinstance(data, list):
            data = {"classes": data}
        if not isinstance(data, dict):
            raise InputError(f"{path}: expected a key 'classes' with a list of names, found {type(data).__name__}.")
        return cls.from_dict(data, str(path))


def _colour(value: Any, source: str) -> tuple[int, int, int]:
    if not isinstance(value, (list, tuple)) or len(value) != 3 or not all(isinstance(part, int) for part in value):
        raise InputError(f"{source}: colour {value!r} must be three numbers in 0..255.")
    return (int(value[0]), int(value[1]), int(value[2]))


def _distinct_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return one RGB colour per class, with hues spread by the golden ratio so that neighbouring labels differ."""
    colours = []
    for label in range(count):
        hue = (0.11 + label * _GOLDEN_RATIO) % 1.0
        value = (0.95, 0.7, 0.85)[label % 3]
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.65, value)
        colours.append((round(red * 255), round(green * 255), round(blue * 255)))
    return tuple(colours)
