"""Open data: a dataset in its own layout, or captures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from labelfree.data.calibrations import doubt_notes
from labelfree.data.captures.layout import CAPTURES
from labelfree.data.colmap.layout import COLMAP
from labelfree.data.image_folder import IMAGE_FOLDER
from labelfree.data.layout import Layout, ReadOptions, SceneSource
from labelfree.data.lidar_rig.kitti_object import KITTI_OBJECT
from labelfree.data.lidar_rig.reader import LIDAR
from labelfree.data.lidar_rig.semantic_kitti import SEMANTIC_KITTI
from labelfree.data.nerfstudio.layout import NERFSTUDIO
from labelfree.data.nuimages.layout import NUIMAGES
from labelfree.data.nuscenes.layout import NUSCENES
from labelfree.data.relabelling import id_table, relabelled
from labelfree.data.scannet.layout import SCANNET
from labelfree.data.sources import calibrations_of, leave_out_broken
from labelfree.errors import InputError
from labelfree.files.documents import reading
from labelfree.scene import Scene
from labelfree.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class SceneCollection(Sequence[Scene]):
    """A sequence of scenes that are built on access; the last one built is kept in memory."""

    sources: tuple[SceneSource, ...]
    classes: tuple[str, ...] | None = None
    """Class names of the data: from the dataset, the capture's description or `classes.txt`."""
    notes: tuple[str, ...] = ()
    """Notes for the user on how the data was read, one sentence each."""
    new_ids: NDArray[np.uint8] | None = None
    """[256] new id of each ground truth id; None keeps the ids."""
    measured: tuple[str, ...] | None = None
    """Classes of the vocabulary that the ground truth can contain; None for all."""
    _last: dict[int, Scene] = field(default_factory=dict, repr=False)
    _frames: dict[int, int] = field(default_factory=dict, repr=False)
    """Number of frames of each scene that was built so far."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the scene names in order."""
        return tuple(source.name for source in self.sources)

    def __len__(self) -> int:
        return len(self.sources)

    def frame_count(self) -> int:
        """Return the number of frames of all scenes; a scene that was built before is not built again."""
        return sum(self._frames[i] if i in self._frames else len(self[i].frames) for i in range(len(self)))

    def counted_by(self, vocabulary: Vocabulary) -> SceneCollection:
        """Return the scenes with ground truth in the ids of a vocabulary, matched by name; unknown classes become 255.

        Ground truth without class names is assumed to use the vocabulary's ids already.
        """
        if self.classes is None or self.classes == vocabulary.names:
            return self
        measured = tuple(name for name in self.classes if name in vocabulary.names)
        unknown = [name for name in self.classes if name not in measured]
        notes = self.notes
        if unknown:
            notes += (f"ground truth of classes outside the vocabulary is ignored: {', '.join(unknown)}",)
        return replace(self, measured=measured, notes=notes, new_ids=id_table(self.classes, vocabulary), _last={})

    @overload
    def __getitem__(self, index: int) -> Scene: ...
    @overload
    def __getitem__(self, index: slice) -> SceneCollection: ...
    def __getitem__(self, index: int | slice) -> Scene | SceneCollection:
        if isinstance(index, slice):
            return replace(self, sources=self.sources[index], _last={}, _frames={})
        position = range(len(self.sources))[index]
        if position not in self._last:
            with reading(Path(self.sources[position].name)):
                scene = self.sources[position].build()
            if self.new_ids is not None:
                scene = relabelled(scene, self.new_ids)
            self._last.clear()
            self._last[position] = scene
            self._frames[position] = len(scene.frames)
        return self._last[position]


def count_frames(scenes: Sequence[Scene]) -> int:
    """Return the number of frames of scenes."""
    return scenes.frame_count() if isinstance(scenes, SceneCollection) else sum(len(scene.frames) for scene in scenes)


LAYOUTS: tuple[Layout, ...] = (
    *(SCANNET, NUSCENES, NUIMAGES, NERFSTUDIO, COLMAP, KITTI_OBJECT, SEMANTIC_KITTI, LIDAR),
    IMAGE_FOLDER,
    CAPTURES,
)
"""All layouts, in the order in which they are tried; the first one that recognises the files is used."""


def open_scenes(
    path: str | Path,
    root: str | Path | None = None,
    options: ReadOptions | None = None,
    layout: str | None = None,
) -> SceneCollection:
    """Open a dataset in its own layout, a description file, a scene folder or a folder of scenes.

    `root` is the folder that a description file refers to. `layout` names one of `LAYOUTS` instead of recognising it.
    Raises an `InputError` if the path is missing or the data cannot be opened.
    """
    path, root, options = Path(path), None if root is None else Path(root), options or ReadOptions()
    with reading(path):
        opened = layout_of(path, layout).open(path, root, options)
        notes = (*opened.notes, *doubt_notes(calibrations_of(opened.sources)))
    opened = leave_out_broken(path, replace(opened, notes=notes), options)
    return SceneCollection(tuple(opened.sources), opened.classes, opened.notes)


def layout_of(path: str | Path, name: str | None = None) -> Layout:
    """Return the layout of that name, or the one that recognises the path; captures are the fallback."""
    if name is None:
        return next(layout for layout in LAYOUTS if layout.recognises(Path(path)))
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    known = ", ".join(layout.name for layout in LAYOUTS)
    raise InputError(f"--layout is '{name}': use one of {known}.")
