"""World `streets` on disk: drives in nuScenes' layout, and images in nuImages' layout for the evaluation in 2D."""

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
"""First index of an experiment's held-out streets; those of nuImages start at twice this, so that none overlap."""


@dataclass(frozen=True)
class StreetSize:
    """The number of drives of world `streets` and what their sensors record."""

    train_drives: int = 48
    """Training drives; networks are trained on them without labels."""
    train_key_frames: int = 2
    """Key frames of each training drive: one turn of the LiDAR and six images."""
    held_out_drives: int = 24
    """Drives of one key frame for evaluation in 3D; as many other streets give nuImages' images, six each."""
    image_size: tuple[int, int] = (96, 176)
    """(height, width) of the images."""
    seconds_apart: float = 2.0
    """Between two key frames of a drive; after half a second, as in nuScenes, they would show the same objects."""
    azimuths: int = 360
    """Directions of one turn of the LiDAR; each has 32 beams."""
    sweeps_between: int = 2
    """Turns of the LiDAR between two key frames of a training drive, without images or labels; only rows with
    `train.sweeps` read them."""

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
    """The folders of the two datasets of world `streets`; each has a val split."""

    nuscenes: Path
    nuimages: Path


def write_streets(folder: Path, seed: int, size: StreetSize) -> StreetFolders:
    """Write the datasets of an experiment seed that are missing and return their folders.

    Raises an `InputError` if the folder holds another lab.
    """
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
    return street_drive(seed, index, DriveSize(key_frames, size.image_size, size.azimuths, size.sweeps_between, apart))
