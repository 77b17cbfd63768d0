"""The data of a table: scenes for each seed, such as captures on disk or the lab's worlds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

from labelfree.config.run_config import RunConfig
from labelfree.data.checking.check import check_collection, raise_problems
from labelfree.data.collection import SceneCollection
from labelfree.runtime.lab import MODEL, lab_folder
from labelfree.scene import Scene
from labelfree.vocabulary import Vocabulary


@dataclass(frozen=True)
class TableScenes:
    """The training scenes, held-out scenes and classes of one seed."""

    train: Sequence[Scene]
    held_out: Sequence[Scene]
    vocabulary: Vocabulary
    measured: tuple[str, ...] | None = None
    """Classes that the held-out scenes' ground truth can contain, if not all."""
    pictures: SceneCollection | None = None
    """Images for the evaluation in 2D, if not those of the held-out scenes, with their own measured classes."""


class TableData(Protocol):
    """The scenes of a table for each seed."""

    @property
    def identity(self) -> str:
        """Return a name of the data, which is part of each run's key."""

    def open(self, seed: int) -> TableScenes:
        """Return the scenes of a seed; missing ones are built."""

    def teachers(self, seed: int) -> str | None:
        """Return the lab's pair of teachers of a seed, such as `rooms-b`; None for those of the recipe."""


@dataclass(frozen=True)
class Captures:
    """Scenes on disk, the same for every seed."""

    train: SceneCollection
    held_out: SceneCollection
    vocabulary: Vocabulary
    identity: str

    def open(self, seed: int) -> TableScenes:
        """Return the scenes, checked on the first call. Raises an `InputError` if the check fails."""
        return self._checked

    def teachers(self, seed: int) -> str | None:
        """Return None: the recipe names the teachers."""
        return None

    @cached_property
    def _checked(self) -> TableScenes:
        for scenes in (self.train, self.held_out):
            raise_problems(check_collection(scenes))
        return TableScenes(self.train, self.held_out, self.vocabulary, self.held_out.measured)


def weights_digest(config: RunConfig) -> str:
    """Return a digest of the lab's weights that a run uses, empty without any; settings name all other weights.

    Missing weights do not count; `cli.table` refuses them before a run begins.
    """
    teachers, networks = config.teachers, config.networks
    starts = ((networks.backbone_weights, "backbone"), (networks.backbone_weights_3d, "backbone-3d"))
    used = ((teachers.clip, "clip"), (teachers.sam, "sam"), *starts)
    folders = [folder for source, part in used if (folder := lab_folder(source, part)) is not None]
    files = [file for folder in folders if (file := folder / MODEL).is_file()]
    return _joint_digest(tuple((file, file.stat().st_mtime_ns) for file in files)) if folders else ""


@lru_cache
def _joint_digest(files: tuple[tuple[Path, int], ...]) -> str:
    """Return a digest of the content of files, each given with the time of its last change."""
    digest = hashlib.sha256()
    for file, _ in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
