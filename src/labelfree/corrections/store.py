"""Files of corrections in a run folder: `corrections/SCENE.json`, a few kilobytes each, written atomically."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.corrections.value import OTHER_CLOUD, Corrections, CorrectionSet
from labelfree.errors import InputError
from labelfree.files.atomic import write_text
from labelfree.files.documents import read_json
from labelfree.files.presence import is_there
from labelfree.vocabulary import Vocabulary

FOLDER = "corrections"
FORMAT = 1
LONGEST_STEM = 100
MOST_POINTS = 1 << 31
"""Largest number of points of a cloud in a file; a larger one is damage."""


def correction_file(run: Path, scene: str) -> Path:
    """Return the file of a scene's corrections; scenes of different names have different files."""
    stem = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in scene)[:LONGEST_STEM]
    plain = stem == scene and stem.isascii() and not stem.startswith(".")
    mark = "" if plain else f"-{hashlib.sha256(scene.encode()).hexdigest()[:8]}"
    return run / FOLDER / f"{stem.lstrip('.')}{mark}.json"


def write_corrections(path: Path, corrections: Corrections) -> None:
    """Write corrections atomically; a file without any corrected point is removed instead."""
    if not len(corrections):
        path.unlink(missing_ok=True)
        return
    content = {
        "format": FORMAT,
        "scene": corrections.scene,
        "cloud": corrections.cloud,
        "points": len(corrections.labels),
        "corrected": len(corrections),
        "classes": list(corrections.classes),
        "labels": base64.b64encode(zlib.compress(corrections.labels.tobytes(), 9)).decode("ascii"),
    }
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_corrections(path: Path) -> Corrections:
    """Read a file of corrections. Raises an `InputError` if it is damaged or of another format."""
    data = read_json(path, fix=OTHER_CLOUD)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError(f"{path}: is not a file of corrections of format {FORMAT}; {OTHER_CLOUD}.")
    kinds = {"scene": str, "cloud": str, "points": int, "classes": list, "labels": str}
    for name, kind in kinds.items():
        if not isinstance(data.get(name), kind):
            raise InputError(f"{path}: '{name}' is missing or damaged; {OTHER_CLOUD}.")
    classes = data["classes"]
    if not all(isinstance(name, str) for name in classes) or not 0 <= data["points"] <= MOST_POINTS:
        raise InputError(f"{path}: classes or number of points are damaged; {OTHER_CLOUD}.")
    labels = _unpacked(data["labels"], data["points"], path)
    return Corrections(data["scene"], labels, tuple(classes), data["cloud"], str(path))


def find_corrections(run: Path, scenes: Collection[str], vocabulary: Vocabulary) -> tuple[CorrectionSet, list[str]]:
    """Return the corrections that a run folder holds for scenes, and the names of other scenes that it corrects.

    Raises an `InputError` if a file is damaged, is not in its place, or names a class that the vocabulary lacks.
    """
    found, others = {}, []
    for path in sorted((run / FOLDER).glob("*.json")):
        corrections = read_corrections(path)
        if path.name != correction_file(run, corrections.scene).name:
            raise InputError(
                f"{path}: holds corrections of scene '{corrections.scene}'; rename it to "
                f"{correction_file(run, corrections.scene).name}, or delete it."
            )
        if corrections.scene in scenes:
            found[corrections.scene] = corrections.of_classes(vocabulary)
        else:
            others.append(corrections.scene)
    return CorrectionSet(found), others


def keep_corrections(run: Path, used: CorrectionSet) -> None:
    """Write the corrections that a run uses into its folder, where it has none of these scenes."""
    for name, corrections in used.by_scene.items():
        path = correction_file(run, name)
        if not is_there(path):
            write_corrections(path, corrections)


def _unpacked(text: str, count: int, path: Path) -> NDArray[np.uint8]:
    """Return `count` labels; no more than these are decompressed."""
    engine: Any = zlib.decompressobj()
    try:
        content = engine.decompress(base64.b64decode(text, validate=True), count + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise InputError(f"{path}: its labels are damaged; {OTHER_CLOUD}.") from error
    if len(content) != count:
        raise InputError(f"{path}: its labels are damaged; {OTHER_CLOUD}.")
    return np.frombuffer(content, np.uint8)
