"""Where the scenes of a table come from: lab rooms built by seed, or somebody's captures."""

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
from labelfree.lab.dataset import LabSize, write_lab
from labelfree.pipeline import LAB, LAB_WEIGHTS
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
    files = [LAB_WEIGHTS / f"tiny-{name}" / "model.safetensors" for source, name in used if source == LAB]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16] if files else ""
