"""The primitives of the lab's worlds: boxes and elliptic cylinders with a material, a class and an instance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

CLASS_NAMES: tuple[str, ...] = (
    "wall",
    "floor",
    "cabinet",
    "bed",
    "chair",
    "sofa",
    "table",
    "door",
    "window",
    "bookshelf",
    "picture",
    "counter",
    "curtain",
    "refrigerator",
    "toilet",
    "bathtub",
)
IGNORE = 255
SHELL = 6
"""The first six primitives of every room are floor, ceiling and the four walls, seen from inside."""

Colour = tuple[float, float, float]
Point = tuple[float, float, float]
Range = tuple[float, float]


class Texture(IntEnum):
    """The procedural patterns of `textures.py`."""

    PLAIN = 0
    WOOD = 1
    PLANKS = 2
    TILES = 3
    FABRIC = 4
    STRIPES = 5
    SPECKLE = 6
    DOTS = 7
    BOOKS = 8
    PANELS = 9
    PICTURE = 10
    WINDOW = 11
    FOLDS = 12
    HOB = 13
    BASIN = 14
    FACADE = 15
    FOLIAGE = 16
    GROUND = 17


@dataclass(frozen=True)
class Material:
    """A texture with up to three colours, four free numbers and a noise seed."""

    texture: Texture
    colours: tuple[Colour, Colour, Colour]
    params: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    seed: int = 0


@dataclass(frozen=True)
class Part:
    """One solid of a piece in the piece's own frame: x along the wall, y out of the wall, z up, metres."""

    low: Point
    high: Point
    material: Material
    round: bool = False


@dataclass(frozen=True)
class Piece:
    """A piece of furniture: its class and its parts."""

    class_id: int
    parts: tuple[Part, ...]

    def bounds(self) -> tuple[Point, Point]:
        """Return the lowest and highest corner over all parts, in the piece's own frame, in metres."""
        low = tuple(min(part.low[axis] for part in self.parts) for axis in range(3))
        high = tuple(max(part.high[axis] for part in self.parts) for axis in range(3))
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    def reshaped(self, move: Callable[[float, float, float], Point]) -> Piece:
        """Return the piece with the corners of all parts moved; `move` keeps the order of coordinates on each axis."""
        return Piece(
            self.class_id, tuple(replace(part, low=move(*part.low), high=move(*part.high)) for part in self.parts)
        )


def box(x: Range, y: Range, z: Range, material: Material) -> Part:
    """Return a box that spans three ranges, in metres."""
    return Part((x[0], y[0], z[0]), (x[1], y[1], z[1]), material)


def tube(x: Range, y: Range, z: Range, material: Material) -> Part:
    """Return a vertical elliptic cylinder inscribed in three ranges, in metres."""
    return Part((x[0], y[0], z[0]), (x[1], y[1], z[1]), material, round=True)


def piece(name: str, parts: list[Part]) -> Piece:
    """Return a piece of a named class."""
    return Piece(CLASS_NAMES.index(name), tuple(parts))


@dataclass(frozen=True)
class Placement:
    """The pose of a piece's own frame in the room: a point of the floor plan and a yaw given by cosine and sine."""

    x: float
    y: float
    cos: float
    sin: float

    def apply(self, x: float, y: float) -> tuple[float, float]:
        """Return the position in the room's plan of a point of the piece's own plan."""
        return self.x + self.cos * x - self.sin * y, self.y + self.sin * x + self.cos * y


@dataclass(frozen=True)
class Primitive:
    """A yawed box or vertical elliptic cylinder in the room, with everything the renderer needs."""

    centre: Point
    half: Point
    cos: float
    sin: float
    round: bool
    class_id: int
    instance: int
    material: Material


@dataclass(frozen=True)
class PrimitiveTable:
    """All primitives of a room as arrays, one row each."""

    centre: NDArray[np.float32]  # [P, 3] metres
    half: NDArray[np.float32]  # [P, 3] metres
    cos: NDArray[np.float32]  # [P]
    sin: NDArray[np.float32]  # [P]
    round: NDArray[np.bool_]  # [P]
    class_id: NDArray[np.uint8]  # [P]
    instance: NDArray[np.uint16]  # [P]
    texture: NDArray[np.uint8]  # [P]
    colours: NDArray[np.float32]  # [P, 3, 3] albedo
    params: NDArray[np.float32]  # [P, 4]
    seed: NDArray[np.uint32]  # [P]

    def __len__(self) -> int:
        return len(self.cos)


def place(item: Piece, placement: Placement, instance: int) -> list[Primitive]:
    """Return the primitives of one piece, moved into the room."""
    primitives = []
    for part in item.parts:
        middle = [(low + high) / 2 for low, high in zip(part.low, part.high, strict=True)]
        half = [(high - low) / 2 for low, high in zip(part.low, part.high, strict=True)]
        x, y = placement.apply(middle[0], middle[1])
        primitives.append(
            Primitive(
                centre=(x, y, middle[2]),
                half=(half[0], half[1], half[2]),
                cos=placement.cos,
                sin=placement.sin,
                round=part.round,
                class_id=item.class_id,
                instance=instance,
                material=part.material,
            )
        )
    return primitives


def free_placement(x: float, y: float, yaw: float) -> Placement:
    """Return a placement at any yaw (radians, counter-clockwise seen from above)."""
    return Placement(x, y, math.cos(yaw), math.sin(yaw))


def tabulate(primitives: list[Primitive]) -> PrimitiveTable:
    """Return primitives as arrays, one row each."""
    return PrimitiveTable(
        centre=np.array([p.centre for p in primitives], np.float32),
        half=np.array([p.half for p in primitives], np.float32),
        cos=np.array([p.cos for p in primitives], np.float32),
        sin=np.array([p.sin for p in primitives], np.float32),
        round=np.array([p.round for p in primitives], np.bool_),
        class_id=np.array([p.class_id for p in primitives], np.uint8),
        instance=np.array([p.instance for p in primitives], np.uint16),
        texture=np.array([p.material.texture for p in primitives], np.uint8),
        colours=np.array([p.material.colours for p in primitives], np.float32),
        params=np.array([p.material.params for p in primitives], np.float32),
        seed=np.array([p.material.seed for p in primitives], np.uint32),
    )
