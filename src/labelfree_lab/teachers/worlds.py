"""The lab's two worlds, as far as the commands that train their teachers have to tell them apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labelfree.runtime.lab import weights_folder
from labelfree_lab.rooms import room as rooms
from labelfree_lab.streets import objects, route
from labelfree_lab.teachers import captions


@dataclass(frozen=True)
class World:
    """Rooms or streets."""

    name: str
    """As `--world` takes it, and what settings call its teachers."""
    class_names: tuple[str, ...]
    wording: captions.Wording
    picture_size: tuple[int, int]
    """(height, width) of the corpus' pictures."""
    teacher_seeds: int
    """The first seed of what teachers are trained on."""
    tuning_seeds: int
    """The first seed of what they are measured on while they are trained."""

    def weights(self, part: str) -> Path:
        """Return where one of its teachers is kept."""
        return weights_folder(self.name, part)


ROOMS = World(
    "rooms",
    rooms.CLASS_NAMES,
    captions.ROOMS,
    (96, 128),
    rooms.TEACHER_ROOMS,
    rooms.TUNING_ROOMS,
)
STREETS = World(
    "streets",
    objects.CLASS_NAMES,
    captions.STREETS,
    (96, 176),
    route.TEACHER_STREETS,
    route.TUNING_STREETS,
)
WORLDS = {world.name: world for world in (ROOMS, STREETS)}
