"""Where the scenes of a table come from: lab rooms or streets built by seed, or somebody's captures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from labelfree.config.run_config import RunConfig
from labelfree.data.checking.check import check_collection, raise_problems
from labelfree.data.collection import SceneCollection
from labelfree.runtime.lab import shipped
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
