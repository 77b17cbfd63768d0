"""Map ground truth with class ids of its own to the ids of a vocabulary, by class name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.raster import Raster
from labelfree.scene import Scene
from labelfree.vocabulary import IGNORE_LABEL, Vocabulary


@dataclass(frozen=True)
class RelabelledRaster:
    """A label map whose ids are replaced when it is loaded."""

    labels: Raster
    table: NDArray[np.uint8] = field(repr=False, compare=False)  # [256]

    def load(self) -> NDArray[Any]:
        """Return the labels [H, W] in the new ids.

        A map that is no label map is returned unchanged: `Frame` raises the error that names it.
        """
        labels = self.labels.load()
        if labels.ndim != 2 or labels.min() < 0 or labels.max() > IGNORE_LABEL:
            return labels
        return self.table[labels]

    def digest(self) -> str:
        """Return a digest of the stored content."""
        return self.labels.digest()

    def describe(self) -> str:
        """Return the name of the stored labels for messages."""
        return self.labels.describe()


def id_table(classes: Sequence[str], vocabulary: Vocabulary) -> NDArray[np.uint8]:  # [256]
    """Return the table from class ids to the ids of a vocabulary, by name; 255 for a class it does not contain."""
    table = np.full(256, IGNORE_LABEL, np.uint8)
    for number, name in enumerate(classes):
        if name in vocabulary.names:
            table[number] = vocabulary.names.index(name)
    return table


def relabelled(scene: Scene, table: NDArray[np.uint8]) -> Scene:
    """Return a scene with the ids of its ground truth replaced by those of a table."""
    frames = tuple(
        frame if frame.labels is None else replace(frame, labels=RelabelledRaster(frame.labels, table))
        for frame in scene.frames
    )
    return replace(scene, frames=frames, labels=None if scene.labels is None else table[scene.labels])
