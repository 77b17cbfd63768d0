"""Placement of pieces in a rectangular room without overlaps, by rejection sampling on axis-aligned bounds."""

from __future__ import annotations

import math

from labelfree_lab.shapes.materials import Rng
from labelfree_lab.shapes.primitives import Piece, Placement, Primitive, free_placement, place

Bounds = tuple[tuple[float, float, float], tuple[float, float, float]]
QUARTERS = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))
TRIES = 40


class FloorPlan:
    """The pieces placed so far, and the space that they occupy."""

    def __init__(self, length: float, width: float, first_instance: int) -> None:
        self.length = length
        self.width = width
        self.primitives: list[Primitive] = []
        self.classes: list[int] = []
        self.bounds: list[Bounds] = []
        self.last = Placement(0.0, 0.0, 1.0, 0.0)
        self.pieces: list[tuple[Piece, Placement]] = []
        self._first_instance = first_instance
        self._reserved: list[Bounds] = []

    def stand_at_wall(
        self,
        piece: Piece,
        rng: Rng,
        front: float = 0.0,
        beside: list[tuple[float, Piece]] | None = None,
        turn: float = 0.0,
    ) -> bool:
        """Place a piece with its back to a random wall; return whether there is room.

        Pieces `beside` are placed at offsets along the wall, and `front` metres in front of the piece stay free. A
        piece that is turned, in radians, touches the wall with a corner.
        """
        group = [(0.0, piece), *(beside or [])]
        left = min(offset + each.bounds()[0][0] for offset, each in group)
        right = max(offset + each.bounds()[1][0] for offset, each in group)
        for _ in range(TRIES):
            wall = int(rng.integers(4))
            free = (self.length if wall % 2 == 0 else self.width) - (right - left)
            if free <= 0:
                continue
            # Half of the pieces go into corners, which leaves room for the others.
            along = float(rng.choice([0.0, free])) if rng.random() < 0.5 else rng.uniform(0, free)
            along -= left
            spots = [(self._on_wall(wall, along + offset), each) for offset, each in group]
            if turn:
                spots = [(self._turned(piece, spots[0][0], turn), piece)]
            if all(self._fits(_bounds(each, spot)) for spot, each in spots):
                for spot, each in reversed(spots):
                    self._add(each, spot)
                self._reserve(piece, spots[0][0], front)
                return True
        return False

    def stand_above_last(self, piece: Piece) -> bool:
        """Place a piece above the one placed last; return whether there is room."""
        return self._try(piece, self.last)

    def stand_anywhere(self, piece: Piece, rng: Rng) -> bool:
        """Place a piece at a random position and yaw on the free floor; return whether there is room."""
        for _ in range(TRIES):
            yaw = rng.uniform(-math.pi, math.pi)
            if self._try(piece, free_placement(rng.uniform(0, self.length), rng.uniform(0, self.width), yaw)):
                return True
        return False

    def stand_near(
        self,
        base: Placement,
        piece: Piece,
        spot: tuple[float, float],
        quarter: int,
        turn: float,
        beneath: int | None = None,
    ) -> bool:
        """Place a piece at a spot of another piece's frame, turned by quarters and `turn` radians, if there is room.

        It may overlap the piece number `beneath`, as a chair that is pushed under a table.
        """
        x, y = base.apply(*spot)
        yaw = math.atan2(base.sin, base.cos) + quarter * math.pi / 2 + turn
        return self._try(piece, free_placement(x, y, yaw), beneath)

    def lay(self, piece: Piece, placement: Placement) -> bool:
        """Place a piece that may overlap others, such as a rug, if it is inside the room; nothing keeps off it."""
        if not self._inside(_bounds(piece, placement)):
            return False
        self._add(piece, placement)
        return True

    def _turned(self, piece: Piece, placement: Placement, turn: float) -> Placement:
        """Return a placement turned about the piece's own origin and moved back into the room."""
        yaw = math.atan2(placement.sin, placement.cos) + turn
        turned = free_placement(placement.x, placement.y, yaw)
        low, high = _bounds(piece, turned)
        x = turned.x - min(low[0], 0.0) - max(high[0] - self.length, 0.0)
        y = turned.y - min(low[1], 0.0) - max(high[1] - self.width, 0.0)
        return free_placement(x, y, yaw)

    def _on_wall(self, wall: int, along: float) -> Placement:
        cos, sin = QUARTERS[wall]
        corner = ((0.0, 0.0), (self.length, 0.0), (self.length, self.width), (0.0, self.width))[wall]
        return Placement(corner[0] + cos * along, corner[1] + sin * along, cos, sin)

    def _try(self, piece: Piece, placement: Placement, beneath: int | None = None) -> bool:
        if not self._fits(_bounds(piece, placement), beneath):
            return False
        self._add(piece, placement)
        return True

    def _add(self, piece: Piece, placement: Placement) -> None:
        self.primitives += place(piece, placement, self._first_instance + len(self.classes))
        self.classes.append(piece.class_id)
        self.bounds.append(_bounds(piece, placement))
        self.pieces.append((piece, placement))
        self.last = placement

    def _reserve(self, piece: Piece, placement: Placement, front: float) -> None:
        if front > 0:
            low, high = piece.bounds()
            corners = [placement.apply(x, y) for x in (low[0], high[0]) for y in (low[1], high[1] + front)]
            xs, ys = [x for x, _ in corners], [y for _, y in corners]
            self._reserved.append(((min(xs), min(ys), low[2]), (max(xs), max(ys), high[2])))

    def _inside(self, bounds: Bounds) -> bool:
        low, high = bounds
        slack = 1e-6
        return not (min(low[0], low[1]) < -slack or high[0] > self.length + slack or high[1] > self.width + slack)

    def _fits(self, bounds: Bounds, beneath: int | None = None) -> bool:
        others = [other for index, other in enumerate(self.bounds) if index != beneath]
        return self._inside(bounds) and not any(_overlap(bounds, other) for other in (*others, *self._reserved))


def _bounds(piece: Piece, placement: Placement) -> Bounds:
    low, high = piece.bounds()
    corners = [placement.apply(x, y) for x in (low[0], high[0]) for y in (low[1], high[1])]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return (min(xs), min(ys), low[2]), (max(xs), max(ys), high[2])


def _overlap(first: Bounds, second: Bounds, gap: float = 0.01) -> bool:
    return all(first[0][k] < second[1][k] + gap and second[0][k] < first[1][k] + gap for k in range(3))
