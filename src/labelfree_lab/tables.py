"""The lab's worlds as data of the paper's tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from labelfree.cli.arguments import with_preset_colours
from labelfree.data.collection import open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.paper_tables.data import TableScenes
from labelfree.vocabulary import Vocabulary
from labelfree_lab.layouts.street_dataset import StreetSize, write_streets
from labelfree_lab.rooms.dataset import LabSize, write_lab
from labelfree_lab.rooms.room import CLASS_NAMES
from labelfree_lab.rooms.style import CLEAN, LIVED_IN

SizeT = TypeVar("SizeT", LabSize, StreetSize)


@dataclass(frozen=True)
class LabWorld(Generic[SizeT]):
    """One of the lab's worlds as table data; every seed has its own scenes."""

    folder: Path
    size: SizeT
    vocabulary: Vocabulary
    second_teachers: str | None = None
    """Name of the pair of teachers of even seeds, such as `rooms-b`; None if all seeds have the recipe's."""

    def teachers(self, seed: int) -> str | None:
        """Return the pair of teachers of a seed; odd seeds have the recipe's, None."""
        return None if seed % 2 else self.second_teachers

    @property
    def identity(self) -> str:
        """Return the number of scenes and images and their resolution, as text."""
        return str(self.size)


class LabRooms(LabWorld[LabSize]):
    """Rooms of the lab."""

    def open(self, seed: int) -> TableScenes:
        """Return the scenes of a seed; missing rooms are written first."""
        size = self.size
        name = f"{size.style}-{size.train_rooms}x{size.train_views}+{size.held_out_rooms}x{size.held_out_views}"
        folders = write_lab(self.folder / name / f"seed-{seed}", seed, size)
        return TableScenes(open_scenes(folders.train), open_scenes(folders.held_out), self.vocabulary)


class LabStreets(LabWorld[StreetSize]):
    """Streets of the lab, read as nuScenes and nuImages."""

    def open(self, seed: int) -> TableScenes:
        """Return the scenes of a seed: key frames for 3D, nuImages' images for 2D; missing drives are written."""
        size = self.size
        name = f"{size.train_drives}x{size.train_key_frames}+{size.held_out_drives}"
        folders = write_streets(self.folder / name / f"seed-{seed}", seed, size)
        train, held_out, pictures = (
            open_scenes(path, options=ReadOptions(split=split)).counted_by(self.vocabulary)
            for path, split in ((folders.nuscenes, "train"), (folders.nuscenes, "val"), (folders.nuimages, "val"))
        )
        return TableScenes(train, held_out, self.vocabulary, held_out.measured, pictures)


def open_world(
    world: str, folder: Path, scenes: int | None, held_out: int | None, views: int | None, second: str | None = None
) -> LabRooms | LabStreets | None:
    """Return the world that a recipe's name begins with, `rooms`, `clean` or `streets`; None for other recipes.

    `scenes` is the number of training rooms or drives, `held_out` that of held-out ones, and `views` that of images per
    room or key frames per training drive. None leaves a number at its default. `second` is the pair of teachers of even
    seeds, if not the recipe's.
    """
    if world.startswith("streets"):
        drives = {"train_drives": scenes, "train_key_frames": views, "held_out_drives": held_out}
        return LabStreets(folder, StreetSize(**_given(drives)), Vocabulary.parse("nuscenes16"), second)
    if world.startswith(("rooms", "clean")):
        rooms = {"train_rooms": scenes, "train_views": views, "held_out_rooms": held_out, "held_out_views": views}
        size = replace(LabSize(**_given(rooms)), style=(LIVED_IN if world.startswith("rooms") else CLEAN).name)
        names = with_preset_colours(Vocabulary.from_names(CLASS_NAMES))
        return LabRooms(folder, size, names, second)
    return None


def _given(sizes: Mapping[str, int | None]) -> dict[str, Any]:
    return {name: size for name, size in sizes.items() if size is not None}
