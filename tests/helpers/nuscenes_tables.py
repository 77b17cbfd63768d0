"""Tables of a nuScenes tree, to read and to change."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labelfree_lab.layouts.nuscenes import VERSION


def table(tree: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((tree / VERSION / f"{name}.json").read_text())
    return rows


def rewrite(tree: Path, name: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
    rows = table(tree, name)
    change(rows)
    (tree / VERSION / f"{name}.json").write_text(json.dumps(rows))
