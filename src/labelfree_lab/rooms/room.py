"""Furnished rooms from seeds; a seed gives the same room on every machine.

Each purpose has its own range of room seeds: the teachers' corpus starts at 1_000_000, rooms for tuning at 2_000_000.
All other millions are for experiments, a thousand rooms per experiment seed (see `experiment_room_seed`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError
from labelfree_lab.rooms import fixtures, furniture
from labelfree_lab.rooms.clutter import scatter
from labelfree_lab.rooms.plan import FloorPlan
from labelfree_lab.rooms.style import CLEAN, RoomStyle, Workshop
from labelfree_lab.shapes import materials
from labelfree_lab.shapes.materials import Rng
from labelfree_lab.shapes.primitives import (
    CLASS_NAMES,
    IGNORE,
    SHELL,
    Material,
    Piece,
    Point,
    Primitive,
    PrimitiveTable,
    Texture,
    tabulate,
)

__all__ = ["CLASS_NAMES", "IGNORE", "Primitive", "Room", "build_room", "experiment_room_seed"]

TEACHER_ROOMS = 1_000_000
TUNING_ROOMS = 2_000_000
ROOMS_PER_EXPERIMENT = 1000
WALL_INSTANCE, FLOOR_INSTANCE, CEILING_INSTANCE = 1, 2, 3

KINDS: dict[str, tuple[str, ...]] = {
    "bedroom": ("bed", "cabinet", "bookshelf", "table", "chair", "curtain", "bathtub", "toilet"),
    "living room": ("sofa", "bookshelf", "table", "chair", "cabinet", "curtain", "refrigerator"),
    "kitchen": ("counter", "refrigerator", "cabinet", "table", "chair", "curtain", "toilet"),
    "bathroom": ("bathtub", "toilet", "toilet", "counter", "cabinet", "curtain", "chair"),
    "study": ("table", "chair", "bookshelf", "sofa", "cabinet", "toilet"),
    "dining room": ("table", "chair", "refrigerator", "cabinet", "sofa", "curtain", "bookshelf"),
    "studio": ("bed", "counter", "refrigerator", "toilet", "bathtub", "table", "chair"),
}
"""Furniture of each kind of room; every room also has a door, windows and pictures."""
EXTRAS = ("bed", "sofa", "counter", "refrigerator", "toilet", "toilet", "bathtub", "curtain", "bookshelf", "cabinet")
"""Additional furniture: each room gets a few of these pieces, so that every class is frequent."""
BUILDERS: dict[str, Callable[[Rng], Piece]] = {
    "cabinet": furniture.cabinet,
    "bed": furniture.bed,
    "sofa": furniture.sofa,
    "bookshelf": furniture.bookshelf,
    "counter": fixtures.counter,
    "refrigerator": fixtures.refrigerator,
    "toilet": fixtures.toilet,
    "bathtub": fixtures.bathtub,
}
"""Pieces along the walls, by class name."""
LONG = {"counter": 0, "bathtub": 0, "sofa": 1, "bed": 1}
"""Order of placement by needed wall length; all other pieces follow in random order."""


@dataclass(frozen=True)
class Room:
    """A furnished room: its primitives as arrays, its lights and one row per instance."""

    seed: int
    kind: str
    size: Point
    """Length along x, width along y and height, metres; one corner of the floor is the origin, z is up."""
    primitives: PrimitiveTable
    lights: NDArray[np.float64]  # [2, 3] positions
    light_colours: NDArray[np.float64]  # [2, 3]
    ambient: float
    instance_class: NDArray[np.uint8]  # [I] row i is instance i + 1
    instance_low: NDArray[np.float64]  # [I, 3] bounds
    instance_high: NDArray[np.float64]  # [I, 3]
    part: NDArray[np.uint16]  # [P] the part of each primitive, from 1; see `parts_of`
    style: RoomStyle


def experiment_room_seed(seed: int, index: int) -> int:
    """Return the room seed of the index-th of 1000 rooms of an experiment; ranges of other purposes are skipped.

    Raises an `InputError` if the seed is negative or the index is out of range.
    """
    if seed < 0 or not 0 <= index < ROOMS_PER_EXPERIMENT:
        raise InputError(
            f"Experiment seed {seed} must be 0 or more, room index {index} in 0..{ROOMS_PER_EXPERIMENT - 1}."
        )
    first = seed * ROOMS_PER_EXPERIMENT
    return first + index + (0 if first < TEACHER_ROOMS else 2 * TEACHER_ROOMS)


def build_room(seed: int, style: RoomStyle = CLEAN) -> Room:
    """Return the room of a seed in a style; styles share kind and size of the room, not its furniture."""
    # Kind and furniture
    rng = np.random.Generator(np.random.PCG64(seed))
    kind = list(KINDS)[int(rng.integers(len(KINDS)))]
    length, width, height = rng.uniform(3.1, 4.8), rng.uniform(2.8, 4.0), rng.uniform(2.4, 2.75)
    plan = FloorPlan(length, width, first_instance=CEILING_INSTANCE + 1)
    workshop = Workshop(style, np.random.Generator(np.random.PCG64([seed, 3])))
    _furnish(plan, rng, kind, workshop)
    scatter(plan, workshop)
    primitives = _shell(rng, length, width, height) + plan.primitives
    bounds = np.array([[[0, 0, 0], [length, width, height]]] * CEILING_INSTANCE + plan.bounds, np.float64)
    table = tabulate(primitives)
    # Lights
    lights = np.stack(
        [rng.uniform(0.2, 0.8, 2) * length, rng.uniform(0.2, 0.8, 2) * width, height - rng.uniform(0.15, 0.6, 2)], 1
    )
    tint = 1 + rng.uniform(-0.08, 0.08, (2, 3))
    return Room(
        seed=seed,
        kind=kind,
        size=(length, width, height),
        primitives=table,
        lights=lights,
        light_colours=tint * rng.uniform(0.45, 0.9, (2, 1)),
        ambient=float(rng.uniform(0.3, 0.5)),
        instance_class=np.array([0, 1, IGNORE, *plan.classes], np.uint8),
        instance_low=bounds[:, 0],
        instance_high=bounds[:, 1],
        part=parts_of(table),
        style=style,
    )


def parts_of(table: PrimitiveTable) -> NDArray[np.uint16]:  # [P]
    """Return a number from 1 for each primitive: those of one material in one instance are one part.

    Each wall is a part of its own.
    """
    shell = np.minimum(np.arange(len(table)), SHELL)
    looks = np.column_stack([table.texture, table.colours.reshape(len(table), -1), table.params])
    keys = np.column_stack([shell, table.instance, looks])
    _, part = np.unique(keys, axis=0, return_inverse=True)
    return (part.ravel() + 1).astype(np.uint16)


def _furnish(plan: FloorPlan, rng: Rng, kind: str, workshop: Workshop) -> None:
    """Place the furniture of a kind of room, long pieces first."""
    # Wanted pieces
    extras = rng.choice(len(EXTRAS), size=int(rng.integers(3, 5)), replace=False)
    wanted = [*KINDS[kind], *(EXTRAS[i] for i in extras)]
    curtains = "curtain" in wanted
    # Door and first window
    plan.stand_at_wall(workshop.varied(fixtures.door(rng)), rng, front=0.3)
    _hang_window(plan, rng, curtains, workshop)
    # Pieces along the walls; after the long pieces there is rarely enough wall left
    hung = ("curtain", "chair")
    standing = sorted({name for name in wanted if name not in hung}) + ["toilet"] * (wanted.count("toilet") > 1)
    order = [standing[index] for index in rng.permutation(len(standing))]
    for name in sorted(order, key=lambda name: LONG.get(name, 2)):
        _stand(plan, rng, name, wanted, workshop)
    # Second window, chairs and pictures
    _hang_window(plan, rng, curtains, workshop)
    for _ in range(2 * wanted.count("chair") - 1):
        plan.stand_anywhere(workshop.varied(furniture.chair(rng)), rng)
    for _ in range(int(rng.integers(3, 6))):
        plan.stand_at_wall(workshop.varied(fixtures.picture(rng)), rng)


def _stand(plan: FloorPlan, rng: Rng, name: str, wanted: list[str], workshop: Workshop) -> None:
    if name == "table":
        _set_table(plan, rng, workshop)
        return
    plan.stand_at_wall(workshop.varied(BUILDERS[name](rng)), rng, turn=workshop.turn())
    if name == "counter" and "cabinet" in wanted and rng.random() < 0.6:
        plan.stand_above_last(workshop.varied(furniture.wall_cabinet(rng)))


def _hang_window(plan: FloorPlan, rng: Rng, curtains: bool, workshop: Workshop) -> None:
    """Place a window, with a long or short curtain on each side if there is room for all three."""
    pane = workshop.varied(fixtures.window(rng))
    low, high = pane.bounds()
    material = fixtures.curtain_material(rng)
    for bottom in (rng.uniform(0.04, 0.6), rng.uniform(0.75, max(0.75, low[2]))) if curtains else ():
        width = rng.uniform(0.26, 0.5)
        hanging = [fixtures.curtain(rng, material, width, (bottom, high[2] + 0.1)) for _ in range(2)]
        away = high[0] + width / 2 - 0.06
        if plan.stand_at_wall(pane, rng, beside=[(-away, hanging[0]), (away, hanging[1])]):
            return
    plan.stand_at_wall(pane, rng)


def _set_table(plan: FloorPlan, rng: Rng, workshop: Workshop) -> None:
    """Place a table in the middle or at a wall, with chairs on its free sides."""
    piece = workshop.varied(furniture.table(rng))
    placed = plan.stand_anywhere(piece, rng) if rng.random() < 0.6 else plan.stand_at_wall(piece, rng)
    if not placed and not plan.stand_at_wall(piece, rng):
        return
    low, high = piece.bounds()
    table, number = plan.last, len(plan.pieces) - 1
    for side in rng.permutation(4)[: int(rng.integers(1, 4))]:
        seat = workshop.varied(furniture.chair(rng))
        gap = rng.uniform(0.0, 0.2) - workshop.tuck() + seat.bounds()[1][1]
        middle = (low[1] + high[1]) / 2
        spot = ((0.0, high[1] + gap), (high[0] + gap, middle), (0.0, low[1] - gap), (low[0] - gap, middle))[side]
        turn = rng.uniform(-0.25, 0.25)
        plan.stand_near(table, seat, spot, (2, 1, 0, 3)[side], turn, beneath=number if workshop.style.tuck else None)


def _shell(rng: Rng, length: float, width: float, height: float) -> list[Primitive]:
    """Return floor, ceiling and four walls as slabs outside the room, and sometimes a skirting board."""
    # Materials
    wall = _wall_material(rng)
    accent = _wall_material(rng) if rng.random() < 0.3 else wall
    ceiling = materials.finish(rng, Texture.PLAIN, (0.85, 0.85, 0.83))
    floor = _floor_material(rng)
    # Floor, ceiling and walls
    x, y, z, t = length / 2, width / 2, height / 2, 0.05
    slabs = [
        ((x, y, -t), (x + 2 * t, y + 2 * t, t), 1, FLOOR_INSTANCE, floor),
        ((x, y, height + t), (x + 2 * t, y + 2 * t, t), IGNORE, CEILING_INSTANCE, ceiling),
        ((x, -t, z), (x, t, z), 0, WALL_INSTANCE, wall),
        ((length + t, y, z), (t, y, z), 0, WALL_INSTANCE, wall),
        ((x, width + t, z), (x, t, z), 0, WALL_INSTANCE, accent),
        ((-t, y, z), (t, y, z), 0, WALL_INSTANCE, wall),
    ]
    # Skirting board
    if rng.random() < 0.7:
        board = materials.finish(rng, Texture.PLAIN, materials.colour(rng, materials.SMOOTH))
        tall, thick = rng.uniform(0.03, 0.05), 0.006
        for middle, half in (
            ((x, thick, tall), (x, thick, tall)),
            ((length - thick, y, tall), (thick, y, tall)),
            ((x, width - thick, tall), (x, thick, tall)),
            ((thick, y, tall), (thick, y, tall)),
        ):
            slabs.append((middle, half, 0, WALL_INSTANCE, board))
    return [Primitive(c, h, 1.0, 0.0, False, label, instance, m) for c, h, label, instance, m in slabs]


def _wall_material(rng: Rng) -> Material:
    texture = (Texture.PLAIN, Texture.PLAIN, Texture.SPECKLE, Texture.STRIPES, Texture.DOTS, Texture.TILES)[
        int(rng.integers(6))
    ]
    base = materials.colour(rng, materials.SMOOTH)
    second = materials.shade(base, rng.uniform(0.75, 0.92))
    size = rng.uniform(0.15, 0.3)
    return Material(texture, (base, second, base), (size, 1.0, 0.0, 0.0), int(rng.integers(1 << 31)))


def _floor_material(rng: Rng) -> Material:
    texture = (Texture.PLANKS, Texture.PLANKS, Texture.TILES, Texture.SPECKLE, Texture.FABRIC)[int(rng.integers(5))]
    base = materials.colour(rng, (0.45, 0.3, 0.25))
    second = materials.shade(base, rng.uniform(0.5, 0.8))
    params = (rng.uniform(0.09, 0.18), rng.uniform(0.7, 1.3), 0.0, 0.0)
    if texture is Texture.TILES:
        params = (rng.uniform(0.25, 0.45), 0.0, 0.0, 0.0)
    return Material(texture, (base, second, base), params, int(rng.integers(1 << 31)))
