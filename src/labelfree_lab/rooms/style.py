"""How far rooms and their scans depart from a showroom: `CLEAN`, and `LIVED_IN`, calibrated to real scans."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from labelfree_lab.shapes.materials import Rng, shade
from labelfree_lab.shapes.primitives import Colour, Material, Part, Piece, Point

TALLEST_M = 2.3
"""Pieces are not stretched beyond this height."""


@dataclass(frozen=True)
class DepthErrors:
    """Errors of a depth camera."""

    noise: float = 0.0
    """Standard deviation of each pixel in metres, per squared metre of depth."""
    waviness: float = 0.0
    """The same for an error that is equal in patches of about eight pixels."""
    shift: float = 0.0
    """Probability that a pixel has the depth of one of its neighbours, as at borders of objects."""
    holes: float = 0.0
    """Share of pixels without depth, in patches."""
    grazing: float = 0.0
    """Surfaces have no depth if the cosine between ray and normal is smaller."""
    range_m: float = math.inf
    """Largest measured depth."""


@dataclass(frozen=True)
class ImageErrors:
    """Errors of a colour camera."""

    blur: float = 0.0
    """Largest length of motion blur in pixels."""
    bleeding: int = 1
    """Side of the squares in pixels that share one colour tone, as in compressed video."""
    noise: float = 1.0
    """Factor of the sensor noise."""


@dataclass(frozen=True)
class RoomStyle:
    """How far a room and its scan depart from a showroom. The defaults are the clean rooms."""

    name: str = "clean"
    stretch: float = 0.0
    """Largest change of each dimension of a piece, as a logarithm."""
    turn: float = 0.0
    """Largest angle in radians between a standing piece and its wall."""
    tuck: float = 0.0
    """Share of chairs that are pushed under their table."""
    clutter: tuple[int, int] = (0, 0)
    """Fewest and most groups of loose objects; they have no class."""
    alike: float = 0.0
    """Share of pieces whose main colour is close to one that the room has already."""
    patches: float = 0.0
    """Share of parts that have another colour than their piece."""
    uneven: float = 0.0
    """Amplitude of bright and dark patches on all surfaces."""
    pose_m: float = 0.0
    """Standard deviation of the error of a camera's position in metres, per axis."""
    pose_degrees: float = 0.0
    """Standard deviation of the error of a camera's rotation, per axis."""
    depth: DepthErrors = field(default_factory=DepthErrors)
    image: ImageErrors = field(default_factory=ImageErrors)


CLEAN = RoomStyle()
LIVED_IN = RoomStyle(
    name="lived-in",
    stretch=0.3,
    turn=0.35,
    tuck=0.5,
    clutter=(15, 28),
    alike=0.6,
    patches=0.25,
    uneven=0.4,
    pose_m=0.008,
    pose_degrees=0.25,
    depth=DepthErrors(noise=0.0015, waviness=0.0026, shift=0.35, holes=0.06, grazing=0.15, range_m=4.5),
    image=ImageErrors(blur=2.5, bleeding=4, noise=1.5),
)

STYLES = {style.name: style for style in (CLEAN, LIVED_IN)}


@dataclass
class Workshop:
    """Varies pieces in a style; a style without variation draws nothing and changes nothing."""

    style: RoomStyle
    rng: Rng
    colours: list[Colour] = field(default_factory=list)
    """Main colours of the pieces so far."""

    def varied(self, piece: Piece) -> Piece:
        """Return a piece with other proportions and colours."""
        if self.style.stretch == self.style.alike == self.style.patches == 0:
            return piece
        factor = np.exp(self.rng.uniform(-self.style.stretch, self.style.stretch, 3))
        tallest = TALLEST_M / piece.bounds()[1][2]
        proportions = (float(factor[0]), float(factor[1]), min(float(factor[2]), max(tallest, 1.0)))
        return recoloured(stretched(piece, proportions), self.style, self.rng, self.colours)

    def turn(self) -> float:
        """Return the angle between a piece and its wall, 0 for about half of the pieces."""
        if self.style.turn == 0 or self.rng.random() < 0.5:
            return 0.0
        return float(self.rng.uniform(-self.style.turn, self.style.turn))

    def tuck(self) -> float:
        """Return how far a chair is pushed under its table, in metres."""
        if self.style.tuck == 0 or self.rng.random() >= self.style.tuck:
            return 0.0
        return float(self.rng.uniform(0.1, 0.4))


def stretched(piece: Piece, factor: Point) -> Piece:
    """Return a piece with each dimension multiplied by its factor; the origin stays."""
    return piece.reshaped(lambda x, y, z: (x * factor[0], y * factor[1], z * factor[2]))


def recoloured(piece: Piece, style: RoomStyle, rng: Rng, colours: list[Colour]) -> Piece:
    """Return a piece in a colour that the room has already, or with a few parts of other colours, or unchanged."""
    own = piece.parts[0].material.colours[0]
    target = colours[int(rng.integers(len(colours)))] if colours and rng.random() < style.alike else own
    colours.append(target)
    towards = rng.uniform(0.6, 1.0)
    parts = []
    for part in piece.parts:
        moved = _towards(part.material, target, towards) if target is not own else part.material
        if rng.random() < style.patches:
            moved = _towards(moved, shade(target, rng.uniform(0.5, 1.5)), 0.7)
        parts.append(Part(part.low, part.high, moved, part.round))
    return Piece(piece.class_id, tuple(parts))


def _towards(material: Material, target: Colour, share: float) -> Material:
    """Return a material with its first colour moved towards a target, its second half as far, its accent unchanged."""
    first, second, accent = material.colours
    halfway = _mean(second, _blend(second, target, share))
    return Material(material.texture, (_blend(first, target, share), halfway, accent), material.params, material.seed)


def _blend(own: Colour, target: Colour, share: float) -> Colour:
    red, green, blue = (a + share * (b - a) for a, b in zip(own, target, strict=True))
    return red, green, blue


def _mean(one: Colour, other: Colour) -> Colour:
    red, green, blue = ((a + b) / 2 for a, b in zip(one, other, strict=True))
    return red, green, blue
