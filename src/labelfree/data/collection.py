"""Opening data: a dataset in a layout of its own, a description file, a scene's folder, or a folder of scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from labelfree.data.calibrations import doubt_notes
from labelfree.data.captures.posed_rgbd import CaptureSource
from labelfree.data.captures.recognised import recognised, recognised_images
from labelfree.data.description import Description, read_description
from labelfree.data.image_folder import ALONE, IMAGE_FOLDER, images_of
from labelfree.data.layout import Layout, OpenedDataset, ReadOptions, SceneSource, calibrations_of, faults_of
from labelfree.data.lidar_rig.kitti_object import KITTI_OBJECT
from labelfree.data.lidar_rig.reader import LIDAR
from labelfree.data.lidar_rig.semantic_kitti import SEMANTIC_KITTI
from labelfree.data.nerfstudio.layout import NERFSTUDIO
from labelfree.data.nuimages.layout import NUIMAGES
from labelfree.data.nuscenes.layout import NUSCENES
from labelfree.data.patterns import Pattern, natural_order
from labelfree.data.relabelling import id_table, relabelled
from labelfree.data.scannet.layout import SCANNET
from labelfree.errors import InputError
from labelfree.files.documents import reading
from labelfree.files.names import require_safe_name
from labelfree.scene import Scene
from labelfree.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class SceneCollection(Sequence[Scene]):
    """Scenes that are built when they are asked for; the last one built is kept."""

    sources: tuple[SceneSource, ...]
    classes: tuple[str, ...] | None = None
    """Class names that come with the data: from the dataset, the capture's description or `classes.txt`."""
    notes: tuple[str, ...] = ()
    """What a user should know about how the data was read, one sentence each."""
    new_ids: NDArray[np.uint8] | None = None
    """What the ids of the ground truth become; None leaves them."""
    measured: tuple[str, ...] | None = None
    """Classes of the vocabulary that the ground truth can have; None for all."""
    _last: dict[int, Scene] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Scene names in order."""
        return tuple(source.name for source in self.sources)

    def __len__(self) -> int:
        return len(self.sources)

    def counted_by(self, vocabulary: Vocabulary) -> SceneCollection:
        """Return the scenes with their ground truth in a vocabulary's ids, matched by name; unknown classes become 255.

        Without class names of its own the truth is taken to count as the vocabulary does.
        """
        if self.classes is None or self.classes == vocabulary.names:
            return self
        measured = tuple(name for name in self.classes if name in vocabulary.names)
        unknown = [name for name in self.classes if name not in measured]
        notes = self.notes
        if unknown:
            notes += (f"ground truth of classes that are not asked for is left out: {', '.join(unknown)}",)
        return replace(self, measured=measured, notes=notes, new_ids=id_table(self.classes, vocabulary), _last={})

    @overload
    def __getitem__(self, index: int) -> Scene: ...
    @overload
    def __getitem__(self, index: slice) -> SceneCollection: ...
    def __getitem__(self, index: int | slice) -> Scene | SceneCollection:
        if isinstance(index, slice):
            return replace(self, sources=self.sources[index], _last={})
        position = range(len(self.sources))[index]
        if position not in self._last:
            with reading(Path(self.sources[position].name)):
                scene = self.sources[position].build()
            if self.new_ids is not None:
                scene = relabelled(scene, self.new_ids)
            self._last.clear()
            self._last[position] = scene
        return self._last[position]


LAYOUTS: tuple[Layout, ...] = (
    *(SCANNET, NUSCENES, NUIMAGES, NERFSTUDIO, KITTI_OBJECT, SEMANTIC_KITTI, LIDAR),
    IMAGE_FOLDER,
)
"""Layouts that are recognised by their own files."""


def open_scenes(
    path: str | Path,
    root: str | Path | None = None,
    options: ReadOptions | None = None,
    layout: str | None = None,
) -> SceneCollection:
    """Open a dataset in its own layout, a description file, a scene folder or a folder of scenes.

    `root` is the folder that a description file speaks of; `layout` names one of `LAYOUTS` where the files do not tell.
    """
    path, root, options = Path(path), None if root is None else Path(root), options or ReadOptions()
    with reading(path):
        own = layout_of(path, layout)
        opened = _open_captures(path, root, options) if own is None else own.open(path, root, options)
        sources = tuple(opened.sources)
        notes = (*opened.notes, *doubt_notes(calibrations_of(sources)))
    if not sources:
        raise InputError(f"{path}: holds no scene; unpack its tables and files again, or give another folder.")
    for source in sources:
        require_safe_name(source.name, f"{path}: the name of a scene")
    if options.skip_broken:
        broken = {source.name: faults[0] for source in sources if (faults := faults_of(source))}
        sources = tuple(source for source in sources if source.name not in broken)
        notes += tuple(f"scene '{name}' is left out: {fault}" for name, fault in broken.items())
        if not sources:
            raise InputError(f"{path}: no scene is left after leaving out the broken ones; {notes[-1]}")
    return SceneCollection(sources, opened.classes, notes)


def layout_of(path: str | Path, name: str | None = None) -> Layout | None:
    """Return the layout that is named or recognised; None for captures in the posed RGB-D layout."""
    if name is None:
        return next((layout for layout in LAYOUTS if layout.recognises(Path(path))), None)
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    known = ", ".join(layout.name for layout in LAYOUTS) or "none yet"
    raise InputError(f"--layout is '{name}': use one of {known}, or leave it out for captures (docs/own-data.md).")


def _open_captures(path: Path, root: Path | None, options: ReadOptions) -> OpenedDataset:
    if options.split is not None:
        raise InputError(f"{path}: a capture has no splits; leave '{options.split}' out.")
    description, base = _resolve(path, root)
    description, said_of_images = recognised_images(description, base)
    folders = _scene_folders(base, description)
    if not folders:
        raise InputError(_nothing_found(base, description, path))
    single = folders == [base]
    sources, notes = list[CaptureSource](), list(said_of_images)
    for folder in folders:
        name = (description.name if single else None) or folder.resolve().name
        own, said = recognised(description, folder, base)
        every = options.stride(description.every)
        sources.append(CaptureSource(name, folder, base, own, every, options.limit, options.cache_dir))
        notes += said
    return OpenedDataset(sources, _classes(tuple(sources)), tuple(notes))


def _resolve(path: Path, root: Path | None) -> tuple[Description, Path]:
    if path.is_dir():
        if root is not None:
            raise InputError(f"--root {root} is for a description file, but {path} is itself a folder; leave it out.")
        return Description(), path
    if not path.exists():
        raise InputError(f"{path}: no such folder or description file.")
    if path.suffix.lower() not in {".yaml", ".yml", ".json"}:
        raise InputError(f"{path}: neither a capture's folder nor a description (.yaml); see docs/own-data.md.")
    description = read_description(path)
    base = root or (path.parent / description.root if description.root else path.parent)
    if not base.is_dir():
        raise InputError(f"{base}: the capture's folder does not exist; give it with --root DIR.")
    return description, base


def _scene_folders(base: Path, description: Description) -> list[Path]:
    images = Pattern(description.images)
    if images.matches_in(base):
        return [base]
    children = {path.name: path for path in base.iterdir() if path.is_dir() and not path.name.startswith(".")}
    return [children[name] for name in natural_order(children) if images.matches_in(children[name])]


def _nothing_found(base: Path, description: Description, path: Path) -> str:
    looked = f"{base}: no scene here: neither it nor a folder in it has pictures '{description.images}'"
    if path.is_dir():
        sweeps = "LiDAR sweeps need one with layout: lidar (docs/datasets.md)"
        hint = f"; {sweeps}" if any(base.glob("*.bin")) else f"; {ALONE}" if images_of(base) is not None else ""
        return f"{looked}; lay the files out as docs/own-data.md shows, or describe them in a YAML file{hint}."
    return f"{looked}; give the capture's folder with --root DIR, or mend key 'images' of {path}."


def _classes(sources: tuple[CaptureSource, ...]) -> tuple[str, ...] | None:
    stated = sources[0].description.classes
    if stated is None or isinstance(stated, tuple):
        return stated
    found: dict[tuple[str, ...], Path] = {}
    for source in sources:
        file = source.near(stated)
        if file.is_file():
            found.setdefault(Vocabulary.from_file(file).names, file)
    if len(found) > 1:
        first, second = list(found.values())[:2]
        raise InputError(f"{second}: its classes differ from those of {first}; scenes opened together must share them.")
    if not found and "classes" in sources[0].description.stated:
        raise InputError(f"{sources[0].near(stated)}: no such file of class names; mend key 'classes'.")
    return next(iter(found), None)
