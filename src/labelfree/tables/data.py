"""Where the scenes of a table come from: lab rooms or streets built by seed, or somebody's captures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from labelfree.config import RunConfig
from labelfree.data.check import check_collection, raise_problems
from labelfree.data.collection import SceneCollection, open_scenes
from labelfree.data.source import ReadOptions
from labelfree.lab.dataset import LabSize, write_lab
from labelfree.lab.street.dataset import StreetSize, write_streets
from labelfree.lab.teacher_weights import shipped
from labelfree.scene import Scene
from labelfree.vocabulary import Vocabulary


@dataclass(frozen=True)
class TableScenes:
    """What the rows of one seed train on, what they are measured on, and the classes."""

    train: Sequence[Scene]
    held_out: Sequence[Scene]
    vocabulary: Vocabulary
    measured: tuple[str, ...] | None = None
    """Classes that the held-out scenes' truth can have, where these are not all."""
    pictures: SceneCollection | None = None
    """What the 2D side is measured on, where that is not the held-out scenes; says which classes its truth can have."""


class TableData(Protocol):
    """Scenes for each seed."""

    @property
    def identity(self) -> str:
        """Names the data, so that runs on other data are not mistaken for these."""

    def open(self, seed: int) -> TableScenes:
        """Return the scenes of a seed, built if they are not there yet."""


@dataclass(frozen=True)
class LabRooms:
    """Rooms of the offline lab: other ones for every seed."""

    folder: Path
    size: LabSize
    vocabulary: Vocabulary

    @property
    def identity(self) -> str:
        """The numbers of rooms and views, and their resolution."""
        return str(self.size)

    def open(self, seed: int) -> TableScenes:
        """Build the rooms of a seed that are not there yet."""
        size = self.size
        name = f"{size.train_rooms}x{size.train_views}+{size.held_out_rooms}x{size.held_out_views}"
        folders = write_lab(self.folder / name / f"seed-{seed}", seed, size)
        return TableScenes(open_scenes(folders.train), open_scenes(folders.held_out), self.vocabulary)


@dataclass(frozen=True)
class LabStreets:
    """Streets of the offline lab, read as nuScenes and nuImages are: other ones for every seed."""

    folder: Path
    size: StreetSize
    vocabulary: Vocabulary

    @property
    def identity(self) -> str:
        """The numbers of drives and key frames, and their resolution."""
        return str(self.size)

    def open(self, seed: int) -> TableScenes:
        """Write the drives of a seed that are not there yet; 3D is measured on key frames, 2D on nuImages' pictures."""
        size = self.size
        name = f"{size.train_drives}x{size.train_key_frames}+{size.held_out_drives}"
        folders = write_streets(self.folder / name / f"seed-{seed}", seed, size)
        train, held_out, pictures = (
            open_scenes(path, options=ReadOptions(split=split)).counted_by(self.vocabulary)
            for path, split in ((folders.nuscenes, "train"), (folders.nuscenes, "val"), (folders.nuimages, "val"))
        )
        return TableScenes(train, held_out, self.vocabulary, held_out.measured, pictures)


@dataclass(frozen=True)
class Captures:
    """Scenes on disk, the same ones for every seed."""

    train: SceneCollection
    held_out: SceneCollection
    vocabulary: Vocabulary
    identity: str

    def open(self, seed: int) -> TableScenes:
        """Return the scenes, checked before the first long work on them."""
        return self._checked

    @cached_property
    def _checked(self) -> TableScenes:
        for scenes in (self.train, self.held_out):
            raise_problems(check_collection(scenes))
        return TableScenes(self.train, self.held_out, self.vocabulary, self.held_out.measured)


def weights_digest(config: RunConfig) -> str:
    """Return a digest of the lab's weights that a run uses; those of other teachers are named by the settings."""
    teachers, networks = config.teachers, config.networks
    starts = ((networks.backbone_weights, "backbone"), (networks.backbone_weights_3d, "backbone-3d"))
    used = ((teachers.clip, "clip"), (teachers.sam, "sam"), *starts)
    folders = [folder for source, part in used if (folder := shipped(source, part)) is not None]
    weights = b"".join((folder / "model.safetensors").read_bytes() for folder in folders)
    return hashlib.sha256(weights).hexdigest()[:16] if folders else ""
