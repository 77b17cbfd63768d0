"""Files that appear whole or not at all: written to a temporary name, then renamed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def write_text(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def write_png(path: Path, picture: NDArray[Any]) -> None:
    """Write a PNG ([H, W] uint8 or uint16, or [H, W, 3] uint8) the same way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    Image.fromarray(np.ascontiguousarray(picture)).save(temporary, format="PNG", compress_level=1)
    os.replace(temporary, path)


def temporary_name(path: Path) -> Path:
    """Return a hidden name beside `path`, different for each process."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")
