"""Loose objects without a class: boxes, bags, bins, plants, lamps, screens, piles, rugs, mirrors and shelves.

Scans of real rooms are full of things that no class list names. They hide furniture and touch it, and teachers give
them one of the classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from labelfree_lab.rooms.plan import FloorPlan
from labelfree_lab.rooms.style import Workshop
from labelfree_lab.shapes.materials import SMOOTH, SOFT, WOODY, Rng, cloth, colour, finish, smooth, woody
from labelfree_lab.shapes.primitives import (
    IGNORE,
    Material,
    Part,
    Piece,
    Placement,
    Texture,
    box,
    free_placement,
    tube,
)

LOWEST_TOP, HIGHEST_TOP = 0.25, 1.7
"""Heights in metres of surfaces on which objects are put."""
PLAIN_SIDES = (Texture.PLAIN, Texture.FABRIC, Texture.STRIPES, Texture.SPECKLE)


def _surface(rng: Rng) -> Material:
    kind = PLAIN_SIDES[int(rng.integers(len(PLAIN_SIDES)))]
    chances = (WOODY, SOFT, SMOOTH)[int(rng.integers(3))]
    return finish(rng, kind, colour(rng, chances), (rng.uniform(0.05, 0.15), 0.0, 0.0, 0.0))


def carton(rng: Rng) -> list[Part]:
    """Return a pile of one to three boxes."""
    parts, low = [], 0.0
    side = rng.uniform(0.2, 0.5, 2)
    for _ in range(int(rng.integers(1, 4))):
        side = side * rng.uniform(0.7, 1.0, 2)
        left, front = rng.uniform(-0.06, 0.06, 2)
        high = low + rng.uniform(0.08, 0.35)
        parts.append(
            box((left - side[0] / 2, left + side[0] / 2), (front, front + side[1]), (low, high), _surface(rng))
        )
        low = high
    return parts


def bag(rng: Rng) -> list[Part]:
    """Return a bag or a cushion: two round bodies."""
    width, depth, height = rng.uniform(0.2, 0.45), rng.uniform(0.15, 0.35), rng.uniform(0.2, 0.5)
    stuff = cloth(rng)
    return [
        tube((-width / 2, width / 2), (0, depth), (0, height * 0.7), stuff),
        tube((-width / 3, width / 3), (depth * 0.15, depth * 0.85), (height * 0.7, height), stuff),
    ]


def bin_(rng: Rng) -> list[Part]:
    """Return a bin, a stool or a basket."""
    width, height = rng.uniform(0.2, 0.45), rng.uniform(0.25, 0.6)
    return [tube((-width / 2, width / 2), (0, width), (0, height), _surface(rng))]


def plant(rng: Rng) -> list[Part]:
    """Return a plant in a pot."""
    pot, height, crown = rng.uniform(0.18, 0.35), rng.uniform(0.5, 1.5), rng.uniform(0.3, 0.7)
    hue = (rng.uniform(0.1, 0.3), rng.uniform(0.3, 0.55), rng.uniform(0.1, 0.25))
    leaves = finish(rng, Texture.FOLIAGE, hue, (0.1, 0.0, 0.0, 0.0))
    middle = crown / 2
    parts = [tube((-pot / 2, pot / 2), (middle - pot / 2, middle + pot / 2), (0, pot), _surface(rng))]
    for _ in range(3):
        x, y, low = (
            rng.uniform(-0.12, 0.12),
            rng.uniform(-0.12, 0.12) + middle,
            rng.uniform(pot, max(pot, height - 0.3)),
        )
        wide = crown * rng.uniform(0.5, 0.9)
        parts.append(tube((x - wide / 2, x + wide / 2), (y - wide / 2, y + wide / 2), (low, low + wide * 0.7), leaves))
    return parts


def lamp(rng: Rng) -> list[Part]:
    """Return a lamp, a fan or a coat stand: a foot, a pole and a shade."""
    height, wide = rng.uniform(0.4, 1.7), rng.uniform(0.2, 0.42)
    middle, metal = wide / 2, smooth(rng)
    return [
        tube((-wide / 2.5, wide / 2.5), (middle - wide / 2.5, middle + wide / 2.5), (0, 0.03), metal),
        tube((-0.02, 0.02), (middle - 0.02, middle + 0.02), (0.03, height - 0.2), metal),
        tube((-wide / 2, wide / 2), (0, wide), (height - 0.25, height), cloth(rng)),
    ]


def screen(rng: Rng) -> list[Part]:
    """Return a screen on a foot, or a small device."""
    width, height = rng.uniform(0.3, 0.9), rng.uniform(0.25, 0.55)
    dark = finish(rng, Texture.PLAIN, (0.08, 0.08, 0.1) if rng.random() < 0.6 else colour(rng, SMOOTH))
    return [
        box((-width / 6, width / 6), (0, 0.16), (0, 0.03), dark),
        box((-width / 2, width / 2), (0.05, 0.1), (0.05, height), dark),
    ]


def pile(rng: Rng) -> list[Part]:
    """Return a pile of clothes or papers: flat boxes on each other."""
    parts, low = [], 0.0
    for _ in range(int(rng.integers(2, 5))):
        width, depth, thick = rng.uniform(0.15, 0.5), rng.uniform(0.15, 0.4), rng.uniform(0.03, 0.1)
        left, front = rng.uniform(-0.08, 0.08), rng.uniform(0, 0.08)
        stuff = cloth(rng) if rng.random() < 0.6 else woody(rng)
        parts.append(box((left - width / 2, left + width / 2), (front, front + depth), (low, low + thick), stuff))
        low += thick
    return parts


def rug(rng: Rng) -> list[Part]:
    """Return a rug, a mat or a towel on the floor."""
    width, depth = rng.uniform(0.6, 1.8), rng.uniform(0.5, 1.3)
    return [box((-width / 2, width / 2), (0, depth), (0, rng.uniform(0.008, 0.02)), cloth(rng))]


def hanging(rng: Rng) -> list[Part]:
    """Return something on a wall: a mirror, a shelf, a coat, a notice board or a radiator."""
    width, height = rng.uniform(0.25, 1.1), rng.uniform(0.15, 0.9)
    low, depth = rng.uniform(0.1, 1.7), rng.uniform(0.02, 0.25)
    return [box((-width / 2, width / 2), (0, depth), (low, min(low + height, 2.3)), _surface(rng))]


ON_FLOOR: tuple[Callable[[Rng], list[Part]], ...] = (carton, bag, bin_, plant, lamp, pile)
ON_TOP: tuple[Callable[[Rng], list[Part]], ...] = (carton, bag, bin_, lamp, screen, screen, pile, pile)


def draw(rng: Rng, makers: tuple[Callable[[Rng], list[Part]], ...]) -> Piece:
    """Return a random object."""
    return Piece(IGNORE, tuple(makers[int(rng.integers(len(makers)))](rng)))


def scatter(plan: FloorPlan, workshop: Workshop) -> None:
    """Place loose objects on the floor, on furniture, on walls and under furniture."""
    few, many = workshop.style.clutter
    if many == 0:
        return
    rng, furniture = workshop.rng, list(plan.pieces)
    for _ in range(int(rng.integers(few, many + 1))):
        place = rng.random()
        if place < 0.5 and furniture:
            base, placement = furniture[int(rng.integers(len(furniture)))]
            _put_on(plan, rng, base, placement)
        elif place < 0.75:
            item = draw(rng, ON_FLOOR)
            plan.stand_at_wall(item, rng) if rng.random() < 0.5 else plan.stand_anywhere(item, rng)
        elif place < 0.9:
            plan.stand_at_wall(draw(rng, (hanging,)), rng)
        else:
            x, y, yaw = rng.uniform(0, plan.length), rng.uniform(0, plan.width), rng.uniform(-math.pi, math.pi)
            plan.lay(draw(rng, (rug,)), free_placement(x, y, yaw))


def _put_on(plan: FloorPlan, rng: Rng, base: Piece, placement: Placement) -> None:
    """Put an object on the highest surface at a random spot of a piece, if that is at a usual height."""
    low, high = base.bounds()
    spot = rng.uniform(low[0], high[0]), rng.uniform(low[1], high[1])
    under = [part.high[2] for part in base.parts if _covers(part, spot)]
    if not under or not LOWEST_TOP <= max(under) <= HIGHEST_TOP:
        return
    yaw = math.atan2(placement.sin, placement.cos) + rng.uniform(-0.6, 0.6)
    top = max(under)
    item = draw(rng, ON_TOP).reshaped(lambda x, y, z: (x, y, z + top))
    plan.lay(item, free_placement(*placement.apply(*spot), yaw))


def _covers(part: Part, spot: tuple[float, float]) -> bool:
    return part.low[0] <= spot[0] <= part.high[0] and part.low[1] <= spot[1] <= part.high[1]
