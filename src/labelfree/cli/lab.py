"""`labelfree lab --out DIR`: write rooms of the offline lab in the posed RGB-D layout."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from labelfree.lab.dataset import LabSize, write_lab


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where, which and how many."""
    parser.add_argument("--out", type=Path, required=True, help="folder for train/ and held-out/")
    parser.add_argument("--seed", type=int, default=0, help="experiment seed; the same rooms on every machine")
    parser.add_argument("--rooms", type=int, default=LabSize.train_rooms, help="training rooms")
    parser.add_argument("--held-out", type=int, default=LabSize.held_out_rooms, help="held-out rooms")
    parser.add_argument("--views", type=int, default=LabSize.train_views, help="images of each training room")


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Write the rooms that are not there yet."""
    size = replace(
        LabSize(),
        train_rooms=options.rooms,
        held_out_rooms=options.held_out,
        train_views=options.views,
    )
    folders = write_lab(options.out, options.seed, size)
    print(f"rooms are in {folders.train} and {folders.held_out}")
    return 0
