"""Teacher outputs on disk, named by model, options and image content, so that nothing stale is ever reused."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from labelfree.atomic import temporary_name, write_png, write_text

KEY_LENGTH = 16


@dataclass(frozen=True)
class CacheShelf:
    """The outputs of one teacher with one set of options: a folder of files named by image content."""

    folder: Path

    def arrays(self, image_digest: str) -> dict[str, NDArray[Any]] | None:
        """Return the stored arrays of an image, or None when there are none (a broken file counts as none)."""
        path = self.folder / f"{image_digest[:KEY_LENGTH]}.safetensors"
        if not path.is_file():
            return None
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError):
            path.unlink(missing_ok=True)
            return None

    def put_arrays(self, image_digest: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Store arrays for an image."""
        path = self.folder / f"{image_digest[:KEY_LENGTH]}.safetensors"
        temporary = temporary_name(path)
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary)
        os.replace(temporary, path)

    def picture(self, image_digest: str) -> NDArray[Any] | None:
        """Return the stored label map (uint8) or mask-id map (uint16) of an image, or None."""
        path = self.folder / f"{image_digest[:KEY_LENGTH]}.png"
        if not path.is_file():
            return None
        try:
            with Image.open(path) as picture:
                stored = np.array(picture)
        except (OSError, SyntaxError):
            path.unlink(missing_ok=True)
            return None
        return stored if stored.dtype == np.uint8 else stored.astype(np.uint16)

    def put_picture(self, image_digest: str, picture: NDArray[Any]) -> None:
        """Store a uint8 or uint16 map [H, W] for an image."""
        write_png(self.folder / f"{image_digest[:KEY_LENGTH]}.png", picture)


@dataclass(frozen=True)
class TeacherCache:
    """The root folder of all shelves; it may be shared between runs and scenes."""

    root: Path

    def shelf(self, kind: str, **key: object) -> CacheShelf:
        """Return the shelf of a teacher; `key` holds everything its output depends on besides the image."""
        text = json.dumps({name: str(value) for name, value in key.items()}, sort_keys=True)
        folder = self.root / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]}"
        if not (folder / "about.json").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / "about.json", text + "\n")
        return CacheShelf(folder)
