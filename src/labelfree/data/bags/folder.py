"""The output folder of an import: a record of what is imported, and files that appear complete or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.data.bags.pixels import Encoded
from labelfree.errors import InputError
from labelfree.files.atomic import atomic_file, write_png, write_text
from labelfree.files.documents import read_json

RECORD = "import.json"
VERSION = 1


@dataclass(frozen=True)
class ImportFolder:
    """A folder into which one recording is imported with fixed settings."""

    root: Path
    source: dict[str, Any]
    """Files, topics and settings; an import is resumed only with equal ones."""

    def claim(self) -> dict[str, Any] | None:
        """Begin or resume the import; return its outcome if it is finished and all frames are there.

        Raises an `InputError` if the folder holds other files or an import with other settings.
        """
        record = self.root / RECORD
        others = [path for path in self.root.iterdir() if not path.name.startswith(".") and path != record]
        if not others:  # an import that wrote no frame may begin with other settings
            self._write(None)
            return None
        if not record.is_file():
            raise InputError(f"{self.root}: holds other files than an import; give another --out.")
        found = read_json(record, fix="give another --out")
        if not isinstance(found, dict) or found.get("version") != VERSION or found.get("source") != self.source:
            raise InputError(
                f"{record}: this folder holds an import of other files or with other settings; give another --out."
            )
        outcome = found.get("outcome")
        kinds = {"frames": int, "lost": dict, "notes": list}
        if not isinstance(outcome, dict) or any(not isinstance(outcome.get(key), kinds[key]) for key in kinds):
            return None
        whole = len([*self.root.glob("pose/*.txt"), *self.root.glob("points/*.bin")]) == outcome["frames"]
        return outcome if whole else None

    def finish(self, outcome: dict[str, Any]) -> None:
        """Record that the import is complete."""
        self._write(outcome)

    def has(self, file: str) -> bool:
        """Return whether a file was written."""
        return (self.root / file).is_file()

    def write_image(self, stem: str, image: Encoded) -> None:
        """Write an image as PNG, or as the file that it is."""
        if image.pixels is not None:
            write_png(self.root / f"{stem}.png", image.pixels)
        else:
            self.write_bytes(f"{stem}{image.ending}", image.data)

    def write_map(self, stem: str, values: NDArray[np.uint16]) -> None:  # [H, W]
        """Write a depth map as PNG."""
        write_png(self.root / f"{stem}.png", values)

    def write_matrix(self, file: str, matrix: NDArray[np.float64]) -> None:
        """Write a matrix as text that reads back to equal numbers."""
        write_text(self.root / file, "".join(" ".join(f"{value:.17g}" for value in row) + "\n" for row in matrix))

    def write_bytes(self, file: str, data: bytes) -> None:
        """Write bytes."""
        with atomic_file(self.root / file) as stream:
            stream.write(data)

    def _write(self, outcome: dict[str, Any] | None) -> None:
        content = {"version": VERSION, "source": self.source, "outcome": outcome}
        write_text(self.root / RECORD, json.dumps(content, indent=2, sort_keys=True) + "\n")
