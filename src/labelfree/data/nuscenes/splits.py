"""Select the scenes of nuScenes' splits by the published lists or the user's own."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

import yaml

from labelfree.errors import InputError
from labelfree.files.documents import read_text

REMAINDERS = {"parametrizing": ("train", "verifying")}
"""Splits defined as a difference: SLidR's 600 training scenes are `train` without its 100 for verification."""


@cache
def _numbers() -> dict[str, frozenset[int]]:
    text = resources.files("labelfree.data.nuscenes").joinpath("splits.yaml").read_text(encoding="utf-8")
    listed = {name: frozenset(_expand(str(ranges))) for name, ranges in yaml.safe_load(text).items()}
    return listed | {name: listed[whole] - listed[part] for name, (whole, part) in REMAINDERS.items()}


def _expand(ranges: str) -> list[int]:
    found: list[int] = []
    for part in ranges.split():
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def split_names() -> tuple[str, ...]:
    """Return the names of the known splits."""
    return tuple(_numbers())


def split_scenes(root: Path, split: str) -> frozenset[str]:
    """Return the scenes of a split: those in `ROOT/splits/SPLIT.txt` (one per line) if it exists, else the published.

    Raises an `InputError` if the split is unknown or its file empty.
    """
    own = root / "splits" / f"{split}.txt"
    if own.is_file():
        names = frozenset(read_text(own, strict=False).split())
        if not names:
            raise InputError(f"{own}: the split is empty; write one scene name per line.")
        return names
    if split not in _numbers():
        raise InputError(
            f"--split is '{split}': nuScenes has {', '.join(split_names())}; a split of your own goes into {own}."
        )
    return frozenset(f"scene-{number:04d}" for number in _numbers()[split])
