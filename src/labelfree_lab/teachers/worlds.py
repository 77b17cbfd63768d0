"""The lab's two worlds, as the commands that train their teachers need them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from labelfree.runtime.lab import weights_folder
from labelfree_lab.rooms import room as rooms
from labelfree_lab.rooms.style import CLEAN, LIVED_IN
from labelfree_lab.streets import objects, route
from labelfree_lab.teachers import captions


@dataclass(frozen=True)
class World:
    """A world of the lab: rooms or streets."""

    name: str
    """Name in `--world` and in the settings of its teachers."""
    class_names: tuple[str, ...]
    wording: captions.Wording
    picture_size: tuple[int, int]
    """(height, width) of the corpus' images."""
    teacher_seeds: int
    """First seed of the teachers' training data."""
    tuning_seeds: int
    """First seed of the data on which teachers are measured during training."""
    style: str = CLEAN.name
    """Style of the rooms."""

    def weights(self, part: str) -> Path:
        """Return the folder of one of its shipped teachers or backbones."""
        return weights_folder(self.name, part)


ROOMS = World(
    "rooms",
    rooms.CLASS_NAMES,
    captions.ROOMS,
    (96, 128),
    rooms.TEACHER_ROOMS,
    rooms.TUNING_ROOMS,
    LIVED_IN.name,
)
CLEAN_ROOMS = replace(ROOMS, name="clean", style=CLEAN.name)
STREETS = World(
    "streets",
    objects.CLASS_NAMES,
    captions.STREETS,
    (96, 176),
    route.TEACHER_STREETS,
    route.TUNING_STREETS,
)
WORLDS = {world.name: world for world in (ROOMS, CLEAN_ROOMS, STREETS)}
