"""Cache teacher outputs on disk, named by model, options and image content, so that stale files are never used."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load, save

from labelfree.files.atomic import save_png, write_text
from labelfree.files.checksum import checked_file, read_checked
from labelfree.files.leftovers import remove_leftovers

KEY_LENGTH = 16


@dataclass(frozen=True)
class CacheShelf:
    """The outputs of one teacher with one set of options: a folder of files named by image content.

    Every file ends with a checksum of its content, shelf and image (see `labelfree.files.checksum`). A damaged or
    misplaced file counts as missing and is written again.
    """

    folder: Path

    def arrays(self, image_digest: str) -> dict[str, NDArray[Any]] | None:
        """Return the stored arrays of an image, or None if they are missing or damaged."""
        path = self._path(image_digest, "safetensors")
        stored = read_checked(path, _key(path))
        return None if stored is None else load(stored)

    def put_arrays(self, image_digest: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Store arrays for an image."""
        path = self._path(image_digest, "safetensors")
        with checked_file(path, key=_key(path)) as file:
            file.write(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))

    def picture(self, image_digest: str) -> NDArray[Any] | None:
        """Return the stored label map (uint8) or mask-id map (uint16) of an image, or None if missing or damaged."""
        path = self._path(image_digest, "png")
        content = read_checked(path, _key(path))
        if content is None:
            return None
        with Image.open(io.BytesIO(content)) as picture:
            stored = np.array(picture)
        return stored if stored.dtype == np.uint8 else stored.astype(np.uint16)

    def put_picture(self, image_digest: str, picture: NDArray[Any]) -> None:
        """Store a uint8 or uint16 map [H, W] for an image."""
        path = self._path(image_digest, "png")
        with checked_file(path, key=_key(path)) as file:
            save_png(file, picture)

    def _path(self, image_digest: str, suffix: str) -> Path:
        return self.folder / f"{image_digest[:KEY_LENGTH]}.{suffix}"


def _key(path: Path) -> str:
    """Return the key of an entry: its shelf and its image."""
    return f"{path.parent.name}/{path.name}"


@dataclass(frozen=True)
class TeacherCache:
    """The root folder of all shelves, which runs and scenes may share."""

    root: Path

    def __post_init__(self) -> None:
        remove_leftovers(self.root)

    def shelf(self, kind: str, **key: object) -> CacheShelf:
        """Return the shelf of a teacher; `key` names everything its output depends on besides the image."""
        text = json.dumps({name: str(value) for name, value in key.items()}, sort_keys=True)
        folder = self.root / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]}"
        about = folder / "about.json"  # for users; the program does not read it
        if not about.is_file():
            write_text(about, text + "\n")
        return CacheShelf(folder)
