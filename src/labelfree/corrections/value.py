"""`Corrections` of one scene and `CorrectionSet` of a run: fixed labels of points."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labelfree.data.digests import points_digest
from labelfree.errors import InputError
from labelfree.scene import Scene
from labelfree.vocabulary import IGNORE_LABEL, Vocabulary

DIGEST_LENGTH = 16
OTHER_CLOUD = "correct the scene again in 'labelfree view', or delete the file"


@dataclass(frozen=True, eq=False)
class Corrections:
    """The corrected labels of one scene's points; raises an `InputError` if a label is no class."""

    scene: str
    """Name of the scene."""
    labels: NDArray[np.uint8]
    """[N] class of each corrected point, 255 = not corrected."""
    classes: tuple[str, ...]
    """Class names in label order."""
    cloud: str
    """Digest of the scene's points."""
    source: str = ""
    """File that holds them, for messages."""

    def __post_init__(self) -> None:
        wrong = (self.labels >= len(self.classes)) & (self.labels != IGNORE_LABEL)
        if wrong.any():
            raise InputError(
                f"{self.source or self.scene}: label {int(self.labels[wrong][0])} is not one of the "
                f"{len(self.classes)} classes; {OTHER_CLOUD}."
            )

    def __len__(self) -> int:
        """Return the number of corrected points."""
        return int((self.labels != IGNORE_LABEL).sum())

    def digest(self) -> str:
        """Return a digest of everything that determines the fixed labels."""
        text = json.dumps([self.scene, self.classes, self.cloud])
        return hashlib.sha256(text.encode() + self.labels.tobytes()).hexdigest()[:DIGEST_LENGTH]

    def of_classes(self, vocabulary: Vocabulary) -> Corrections:
        """Return the corrections with the label ids of a vocabulary; classes are matched by name.

        Raises an `InputError` if a corrected point has a class that the vocabulary lacks.
        """
        if self.classes == vocabulary.names:
            return self
        table = np.full(256, IGNORE_LABEL, np.uint8)
        for label in np.unique(self.labels[self.labels != IGNORE_LABEL]).tolist():
            name = self.classes[label]
            if name not in vocabulary.names:
                raise InputError(
                    f"{self.source}: corrects points to '{name}', which is not one of the classes "
                    f"({', '.join(vocabulary.names)}); add it to --classes, or delete the file."
                )
            table[label] = vocabulary.index(name)
        return Corrections(self.scene, table[self.labels], vocabulary.names, self.cloud, self.source)

    def require_fits(self, scene: Scene) -> None:
        """Raise an `InputError` if the corrections are those of another scene or of other points."""
        where = self.source or f"The corrections of '{self.scene}'"
        if self.scene != scene.name:
            raise InputError(f"{where}: corrects scene '{self.scene}', not '{scene.name}'; move the file back.")
        if len(self.labels) != len(scene) or self.cloud != points_digest(scene.points_world):
            raise InputError(
                f"{where}: corrects a cloud of {len(self.labels):,} points that is not the cloud of scene "
                f"'{scene.name}' ({len(scene):,} points); {OTHER_CLOUD}."
            )


def no_corrections(scene: Scene, vocabulary: Vocabulary) -> Corrections:
    """Return corrections of a scene without any corrected point."""
    labels = np.full(len(scene), IGNORE_LABEL, np.uint8)
    return Corrections(scene.name, labels, vocabulary.names, points_digest(scene.points_world))


@dataclass(frozen=True)
class CorrectionSet:
    """The corrections of the scenes of a run, by scene name; empty without any."""

    by_scene: Mapping[str, Corrections] = field(default_factory=dict)

    def labels(self, scene: Scene) -> NDArray[np.uint8] | None:  # [N], 255 = not corrected
        """Return the corrected labels of a scene, or None if it has none; raises an `InputError` if they do not fit."""
        found = self.by_scene.get(scene.name)
        if found is None:
            return None
        found.require_fits(scene)
        return found.labels

    def identity(self) -> dict[str, str]:
        """Return the entries of a run's identity: a digest per scene with corrections."""
        return {f"corrections of scene '{name}'": found.digest() for name, found in sorted(self.by_scene.items())}

    def sentence(self) -> str:
        """Return how many points of how many scenes are corrected; empty if there are none."""
        if not self.by_scene:
            return ""
        points = sum(map(len, self.by_scene.values()))
        return f"{points:,} points of {len(self.by_scene)} scene(s) were corrected by hand"
