"""`labelfree lab write --out DIR`: the lab's data as captures or in the layout of a dataset."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from labelfree.errors import InputError
from labelfree_lab.layouts.nuimages import write_nuimages
from labelfree_lab.layouts.nuscenes import write_nuscenes
from labelfree_lab.layouts.scannet import write_scannet
from labelfree_lab.rooms.dataset import LabSize, write_lab
from labelfree_lab.rooms.style import LIVED_IN, STYLES

CAPTURES, SCANNET, NUSCENES, NUIMAGES = "posed-rgbd", "scannet", "nuscenes", "nuimages"
LAYOUTS = (CAPTURES, SCANNET, NUSCENES, NUIMAGES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments: output folder, layout, seed and sizes."""
    parser.add_argument("action", nargs="?", choices=("write",), default="write", help="write the files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the dataset")
    parser.add_argument("--layout", choices=LAYOUTS, default=CAPTURES, help="how the files are laid out")
    parser.add_argument("--seed", type=int, default=0, help="experiment seed; the same rooms and streets everywhere")
    parser.add_argument("--scenes", type=int, default=4, help="scenes of a dataset's layout, a quarter held out")
    parser.add_argument("--rooms", type=int, default=LabSize.train_rooms, help="training rooms, as captures")
    parser.add_argument("--held-out", type=int, default=LabSize.held_out_rooms, help="held-out rooms, as captures")
    parser.add_argument(
        "--style", choices=tuple(STYLES), default=LIVED_IN.name, help="rooms and scans as real ones, or tidy and exact"
    )
    parser.add_argument("--views", type=int, default=LabSize.train_views, help="images of each room")


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Write the scenes that are missing; raise an `InputError` for a negative seed."""
    if options.seed < 0:
        raise InputError(f"--seed is {options.seed}: give 0 or more.")
    if options.layout == CAPTURES:
        size = LabSize(train_rooms=options.rooms, held_out_rooms=options.held_out, train_views=options.views)
        size = replace(size, style=options.style)
        folders = write_lab(options.out, options.seed, size)
        print(f"rooms are in {folders.train} and {folders.held_out}")
        _recommend(folders.train)
        return 0
    if options.layout == SCANNET:
        write_scannet(options.out, options.seed, options.scenes, options.views, STYLES[options.style])
    elif options.layout == NUIMAGES:
        write_nuimages(options.out, options.seed, options.scenes)
    else:
        write_nuscenes(options.out, options.seed, options.scenes)
    _recommend(options.out, *(("--split", "val") if options.layout == NUIMAGES else ()))
    return 0


def _recommend(folder: Path, *words: str) -> None:
    print(f"written; next: {shlex.join(['labelfree', 'prepare', str(folder), *words])}")
