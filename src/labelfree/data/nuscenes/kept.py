"""Store arrays in a folder with a checksum of each file; memory-map them, or reject the folder as a whole.

Each file is read once when the folder is opened, to compare its CRC-32, which detects any single flipped bit. This
takes about a second per gigabyte in the page cache and no memory, because the pages do not stay mapped.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError
from labelfree.files.atomic import atomic_folder
from labelfree.files.documents import NUMPY_ERRORS, map_array, open_file, parse_json, read_bytes

FACTS = "index.json"
PIECE = 1 << 20


def save_arrays(folder: Path, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays and facts to a folder, which appears at once and replaces an existing one."""
    with atomic_folder(folder) as made:
        for name, array in arrays.items():
            np.save(made / f"{name}.npy", array)
        checksums = {name: _checksum(made / f"{name}.npy") for name in arrays}
        text = json.dumps({"facts": facts, "crc32": checksums})
        (made / FACTS).write_text(f"{zlib.crc32(text.encode()):08x}\n{text}", encoding="utf-8")


def load_arrays(folder: Path, names: Sequence[str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
    """Return the facts and the arrays of these names; None if a file is missing or its checksum differs."""
    try:
        checksum, _, text = read_bytes(folder / FACTS).partition(b"\n")
        if checksum != f"{zlib.crc32(text):08x}".encode():
            return None
        stored = parse_json(text.decode("utf-8"), FACTS)
        if any(stored["crc32"][name] != _checksum(folder / f"{name}.npy") for name in names):
            return None
        arrays = {name: map_array(folder / f"{name}.npy") for name in names}
        return dict(stored["facts"]), arrays
    except (InputError, *NUMPY_ERRORS):
        return None


def _checksum(path: Path) -> int:
    crc = 0
    with open_file(path) as file:
        while piece := file.read(PIECE):
            crc = zlib.crc32(piece, crc)
    return crc
