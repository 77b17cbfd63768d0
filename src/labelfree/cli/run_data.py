"""The data and the corrections of a run folder: what it was trained on, and what a person corrected."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelfree.cli.arguments import tell
from labelfree.corrections.store import FOLDER, find_corrections
from labelfree.corrections.value import CorrectionSet
from labelfree.errors import InputError
from labelfree.files.atomic import write_text
from labelfree.files.documents import read_json
from labelfree.files.presence import is_there
from labelfree.vocabulary import Vocabulary

DATA_FILE = "data.json"
"""File of a run folder that names its data, so that 'labelfree view' finds it."""
_GIVE = "give the data with --data"


@dataclass(frozen=True)
class RunData:
    """The data of a run, as it was given on the command line."""

    data: Path
    root: Path | None = None
    layout: str | None = None
    split: str | None = None
    every: int | None = None
    limit: int | None = None


def add_corrections(parser: argparse.ArgumentParser) -> None:
    """Add --corrections."""
    parser.add_argument(
        "--corrections",
        type=Path,
        default=None,
        metavar="RUN",
        help="run folder whose corrections, made with 'labelfree view', are fixed labels (default: --out)",
    )


def given_corrections(options: argparse.Namespace, scenes: Collection[str], names: Vocabulary) -> CorrectionSet:
    """Return the corrections of --corrections, by default those of the run folder; tell how many there are.

    Raises an `InputError` if --corrections holds none, or if a file is damaged or belongs elsewhere.
    """
    source = options.corrections or options.out
    if options.corrections is not None and not (source / FOLDER).is_dir():
        raise InputError(f"{source}: holds no folder '{FOLDER}'; correct a scene with 'labelfree view {source}' first.")
    found, others = find_corrections(source, scenes, names)
    if others:
        tell([f"{source}: the corrections of {', '.join(others)} are not used, as the data has no such scene"])
    if found.by_scene:
        tell([f"{found.sentence()}; training takes their labels as fixed"])
    return found


def write_run_data(folder: Path, data: RunData) -> None:
    """Write which data a run was trained on into its folder."""
    content = {name: None if value is None else _plain(value) for name, value in vars(data).items()}
    write_text(folder / DATA_FILE, json.dumps(content, indent=1) + "\n")


def given_run_data(options: argparse.Namespace) -> RunData:
    """Return the data of a command."""
    return RunData(options.data, options.root, options.layout, options.split, options.every, options.limit)


def read_run_data(folder: Path) -> RunData | None:
    """Return the data of a run; None if its folder does not name it. Raises an `InputError` if the file is damaged."""
    path = folder / DATA_FILE
    if not is_there(path):
        return None
    content = read_json(path, fix=_GIVE)
    if not isinstance(content, dict) or not isinstance(content.get("data"), str):
        raise InputError(f"{path}: 'data' is missing or damaged; {_GIVE}.")
    kinds: dict[str, type] = {"root": str, "layout": str, "split": str, "every": int, "limit": int}
    for name, kind in kinds.items():
        if not isinstance(content.get(name), (kind, type(None))):
            raise InputError(f"{path}: '{name}' is damaged; {_GIVE}.")
    root = content.get("root")
    return RunData(
        Path(content["data"]),
        None if root is None else Path(root),
        content.get("layout"),
        content.get("split"),
        content.get("every"),
        content.get("limit"),
    )


def _plain(value: Any) -> Any:
    return str(value.absolute()) if isinstance(value, Path) else value
