"""The outdoor lab on disk: drives in nuScenes' layout to train and measure on, pictures in nuImages' for the 2D."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from labelfree.errors import InputError
from labelfree.runtime.progress import Progress
from labelfree_lab.layouts.nuimages import FIRST_STREET, VAL, write_splits
from labelfree_lab.layouts.nuscenes import write_drives
from labelfree_lab.rooms.dataset import claim
from labelfree_lab.streets.drive import Drive
from labelfree_lab.streets.route import DriveSize, street_drive

HELD_OUT_OFFSET = FIRST_STREET // 2
"""Held-out streets of an experiment are numbered from here, nuImages' from twice as many: none serves two purposes."""


@dataclass(frozen=True)
class StreetSize:
    """How many drives an outdoor lab has and what is seen on them."""

    train_drives: int = 48
    """Drives that networks are trained on, without labels."""
    train_key_frames: int = 2
    """Key frames of each of them: a turn of the LiDAR with six pictures."""
    held_out_drives: int = 24
    """Drives of one key frame for evaluation in 3D; as many other streets give nuImages' pictures, six each."""
    image_size: tuple[int, int] = (96, 176)
    """(height, width) of the pictures."""
    seconds_apart: float = 2.0
    """Between two key frames of a drive: half a second, as in nuScenes, shows the same things twice."""
    azimuths: int = 360
    """Directions of one turn of the LiDAR; each has 32 beams."""

    def __post_init__(self) -> None:
        if not 1 <= self.train_drives <= HELD_OUT_OFFSET or not 1 <= self.held_out_drives <= HELD_OUT_OFFSET:
            raise InputError(
                f"An outdoor lab has 1 to {HELD_OUT_OFFSET} drives of each kind, not {self.train_drives} and "
                f"{self.held_out_drives}."
            )
        if self.train_key_frames < 1:
            raise InputError(f"A drive has {self.train_key_frames} key frames: give 1 or more.")


@dataclass(frozen=True)
class StreetFolders:
    """Where the two trees of an outdoor lab are; each has a val split."""

    nuscenes: Path
    nuimages: Path


def write_streets(folder: Path, seed: int, size: StreetSize) -> StreetFolders:
    """Write the trees of an experiment seed that are not there yet; a folder with another lab is refused."""
    claim(folder / "lab.json", json.dumps({"seed": seed, **asdict(size)}))
    folders = StreetFolders(folder / "nuscenes", folder / "nuimages")
    count = size.held_out_drives
    if not folders.nuscenes.is_dir():
        drives = [_drive(seed, index, size, size.train_key_frames) for index in range(size.train_drives)]
        drives += [_drive(seed, HELD_OUT_OFFSET + index, size) for index in range(count)]
        with Progress("drive", len(drives)) as progress:
            write_drives(folders.nuscenes, drives, count, progress)
    if not folders.nuimages.is_dir():
        pictures = [_drive(seed, FIRST_STREET + index, size) for index in range(count)]
        with Progress("street", count) as progress:
            write_splits(folders.nuimages, {VAL: pictures}, progress)
    return folders


def _drive(seed: int, index: int, size: StreetSize, key_frames: int = 1) -> Drive:
    apart = round(size.seconds_apart * 1e6)
    return street_drive(seed, index, DriveSize(key_frames, size.image_size, size.azimuths, 0, apart))
