"""A street from a seed: ground, buildings, vegetation, parked and moving road users.

The street runs along x; ground and objects lie in the street's frame: x along it, y to the left, z up, metres.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from labelfree_lab.shapes.materials import Rng, shade
from labelfree_lab.shapes.primitives import (
    Colour,
    Material,
    Piece,
    Placement,
    Primitive,
    PrimitiveTable,
    Texture,
    free_placement,
    place,
    tabulate,
)
from labelfree_lab.streets import objects

START_M, END_M = -60.0, 120.0
"""Ends of the street along x, in metres."""
GROUND_M = 0.3
"""Thickness of the ground's slabs in metres."""
KERB_M = 0.14

Box = tuple[float, float, float, float]  # x0, x1, y0, y1


@dataclass(frozen=True)
class Mover:
    """A road user with constant speed."""

    piece: Piece
    start: tuple[float, float]
    yaw: float
    speed_m_s: float
    instance: int

    def at(self, seconds: float) -> list[Primitive]:
        """Return its primitives at a time in seconds."""
        way = self.speed_m_s * seconds
        placement = free_placement(
            self.start[0] + way * math.cos(self.yaw), self.start[1] + way * math.sin(self.yaw), self.yaw
        )
        return place(self.piece, placement, self.instance)


@dataclass(frozen=True, eq=False)
class Street:
    """A street: its fixed primitives as arrays, its moving road users and the light."""

    seed: int
    still: PrimitiveTable
    movers: tuple[Mover, ...]
    lane_y: float
    """Middle of the lane that the vehicle with the sensors drives in."""
    sun: tuple[float, float, float]
    """Unit vector towards the sun."""
    sun_strength: float
    ambient: float
    sky: Colour

    def at(self, seconds: float) -> PrimitiveTable:
        """Return all primitives at a time in seconds."""
        moving = [primitive for mover in self.movers for primitive in mover.at(seconds)]
        if not moving:
            return self.still
        other = tabulate(moving)
        joined = {f.name: np.concatenate([getattr(self.still, f.name), getattr(other, f.name)]) for f in fields(other)}
        return PrimitiveTable(**joined)


class _Builder:
    """A street under construction: places pieces on free ground, each as its own instance."""

    def __init__(self, rng: Rng) -> None:
        self.rng = rng
        self.primitives: list[Primitive] = []
        self.taken: list[Box] = []
        self.instance = 0

    def slab(self, name: str, area: Box, top: float, material: Material) -> None:
        """Add a slab of ground whose top is at a height in metres."""
        x0, x1, y0, y1 = area
        self.instance += 1
        self.primitives.append(
            Primitive(
                ((x0 + x1) / 2, (y0 + y1) / 2, top - GROUND_M / 2),
                ((x1 - x0) / 2, (y1 - y0) / 2, GROUND_M / 2),
                1.0,
                0.0,
                False,
                objects.CLASS_NAMES.index(name),
                self.instance,
                material,
            )
        )

    def free(self, piece: Piece, x: float, y: float, yaw: float) -> bool:
        """Return whether a piece has room at a position, and reserve it if so."""
        low, high = piece.bounds()
        reach = [
            Placement(x, y, math.cos(yaw), math.sin(yaw)).apply(u, v)
            for u in (low[0], high[0])
            for v in (low[1], high[1])
        ]
        own = (min(p[0] for p in reach), max(p[0] for p in reach), min(p[1] for p in reach), max(p[1] for p in reach))
        if any(own[0] < b[1] and b[0] < own[1] and own[2] < b[3] and b[2] < own[3] for b in self.taken):
            return False
        self.taken.append(own)
        return True

    def stand(self, piece: Piece, x: float, y: float, yaw: float = 0.0, z: float = 0.0) -> bool:
        """Place a piece if there is room; return whether it was placed."""
        if not self.free(piece, x, y, yaw):
            return False
        self.instance += 1
        for solid in place(piece, free_placement(x, y, yaw), self.instance):
            centre = (solid.centre[0], solid.centre[1], solid.centre[2] + z)
            self.primitives.append(Primitive(centre, *_rest(solid)))
        return True


def _rest(solid: Primitive) -> tuple[tuple[float, float, float], float, float, bool, int, int, Material]:
    return solid.half, solid.cos, solid.sin, solid.round, solid.class_id, solid.instance, solid.material


def build_street(seed: int) -> Street:
    """Return the street of a seed."""
    # Layout in metres
    rng = np.random.Generator(np.random.PCG64(seed))
    builder = _Builder(rng)
    half = rng.uniform(5.0, 7.5)
    lane = half - 2.2 - 1.6  # beside the cars at the kerb
    walk = rng.uniform(1.8, 3.5)
    crossing = rng.uniform(25.0, 70.0)
    # Ground and objects
    _lay_ground(builder, half, walk, crossing)
    _works(builder, half)
    for side in (-1.0, 1.0):
        _line(builder, side, half, walk, crossing)
        _park(builder, side, half, crossing)
        _walkers(builder, side, half, walk)
    movers = _traffic(builder, lane)
    # Light
    angle, height = rng.uniform(0, 2 * math.pi), rng.uniform(0.35, 0.85)
    flat = math.sqrt(1 - height * height)
    grey = rng.uniform(0.6, 0.95)
    return Street(
        seed,
        tabulate(builder.primitives),
        movers,
        -lane,
        (flat * math.cos(angle), flat * math.sin(angle), height),
        float(rng.uniform(0.25, 0.8)),
        float(rng.uniform(0.4, 0.65)),
        (grey * rng.uniform(0.75, 1.0), grey * rng.uniform(0.85, 1.0), grey),
    )


def _surface(rng: Rng, base: Colour, texture: Texture, size: float) -> Material:
    return Material(
        texture, (base, shade(base, rng.uniform(0.7, 0.9)), base), (size, 0.0, 0.0, 0.0), int(rng.integers(1 << 31))
    )


def _grey(rng: Rng, low: float, high: float) -> Colour:
    level = rng.uniform(low, high)
    warm = rng.uniform(-0.03, 0.05)
    return (level + warm, level, level - warm)


def _lay_ground(builder: _Builder, half: float, walk: float, crossing: float) -> None:
    """Add road, crossing road, pavements and the ground behind them: earth, grass or paving."""
    # Road
    rng = builder.rng
    asphalt = _surface(rng, _grey(rng, 0.2, 0.42), Texture.GROUND, 0.25)
    builder.slab("driveable surface", (START_M, END_M, -half, half), 0.0, asphalt)
    # Crossing road, pavements and the ground behind
    wide = rng.uniform(3.0, 4.5)
    for side in (-1.0, 1.0):
        near, far = sorted((side * half, side * 60.0))
        builder.slab("driveable surface", (crossing - wide, crossing + wide, near, far), 0.0, asphalt)
        slabs = _surface(rng, _grey(rng, 0.35, 0.65), Texture.TILES, rng.uniform(0.4, 0.9))
        green = rng.uniform(0, 1) < 0.6
        tone: Colour = (rng.uniform(0.2, 0.5), rng.uniform(0.3, 0.5), rng.uniform(0.1, 0.3))
        behind = _surface(rng, tone if green else _grey(rng, 0.3, 0.5), Texture.GROUND, 0.12)
        for x0, x1 in ((START_M, crossing - wide), (crossing + wide, END_M)):
            near, far = sorted((side * half, side * (half + walk)))
            builder.slab("sidewalk", (x0, x1, near, far), KERB_M, slabs)
            near, far = sorted((side * (half + walk), side * 60.0))
            builder.slab("terrain", (x0, x1, near, far), KERB_M - 0.02, behind)
    # Lane markings
    bright = _surface(rng, (0.85, 0.85, 0.82), Texture.PLAIN, 1.0)
    for x in np.arange(START_M, END_M, 9.0):
        if abs(x - crossing) > wide + 4:
            builder.slab("driveable surface", (x, x + 3.0, -0.08, 0.08), 0.005, bright)
    # Traffic island
    if rng.random() < 0.55:
        x = crossing + rng.choice([-1.0, 1.0]) * rng.uniform(wide + 2, wide + 6)
        paved = _surface(rng, _grey(rng, 0.35, 0.6), Texture.TILES, 0.3)
        long, broad = rng.uniform(6.0, 14.0), rng.uniform(0.6, 1.0)
        builder.slab("other_flat", (x - long / 2, x + long / 2, -broad, broad), KERB_M + 0.02, paved)
        builder.taken.append((x - long / 2, x + long / 2, -broad, broad))
    # The crossing road stays free
    builder.taken.append((crossing - wide, crossing + wide, half, 60.0))
    builder.taken.append((crossing - wide, crossing + wide, -60.0, -half))


def _line(builder: _Builder, side: float, half: float, walk: float, crossing: float) -> None:
    """Add buildings, trees, bushes and poles along one side."""
    rng = builder.rng
    setback = half + walk + rng.uniform(0.5, 7.0)
    x = START_M
    while x < END_M:
        length, depth = rng.uniform(8.0, 20.0), rng.uniform(8.0, 14.0)
        if rng.random() < 0.8:
            block = objects.building(rng, length, depth)
            builder.stand(block, x + length / 2, side * (setback + depth / 2), z=KERB_M - 0.02)
        x += length + rng.uniform(0.0, 5.0)
    for x in np.arange(START_M, END_M, rng.uniform(7.0, 14.0)):
        plant = objects.tree(rng) if rng.random() < 0.7 else objects.bush(rng)
        if rng.random() < 0.65:
            y = side * (half + walk + rng.uniform(0.3, max(0.4, setback - half - walk)))
            builder.stand(plant, x + rng.uniform(-2, 2), y, rng.uniform(0, 6.0), KERB_M)
    for x in np.arange(START_M, END_M, rng.uniform(12.0, 22.0)):
        builder.stand(objects.pole(rng), x + rng.uniform(-3, 3), side * (half + 0.4), -side * math.pi / 2, KERB_M)


def _draw(rng: Rng, chances: tuple[tuple[Callable[[Rng], Piece], float], ...]) -> Piece:
    return chances[int(rng.choice(len(chances), p=[chance for _, chance in chances]))][0](rng)


def _park(builder: _Builder, side: float, half: float, crossing: float) -> None:
    """Add vehicles parked at the kerb."""
    rng, x = builder.rng, START_M + 5.0
    crowd = rng.uniform(0.3, 0.8)
    while x < END_M - 8:
        x += rng.uniform(4.5, 8.0)
        if rng.random() < crowd and abs(x - crossing) > 9:
            vehicle = _draw(rng, objects.PARKED)
            yaw = (0.0 if side < 0 else math.pi) + rng.uniform(-0.05, 0.05)
            builder.stand(vehicle, x, side * (half - 1.25), yaw)


def _walkers(builder: _Builder, side: float, half: float, walk: float) -> None:
    """Add people and parked cycles on the pavement."""
    rng = builder.rng
    for _ in range(int(rng.integers(9, 18))):
        x, y = rng.uniform(START_M + 40, END_M - 40), side * (half + rng.uniform(0.8, walk - 0.3))
        kind = (objects.pedestrian, objects.pedestrian, objects.bicycle, objects.bicycle, objects.motorcycle)[
            int(rng.integers(5))
        ]
        builder.stand(kind(rng), x, y, rng.uniform(0, 6.2), KERB_M)


def _works(builder: _Builder, half: float) -> None:
    """Add road works: cones and barriers around a machine in the lane at the kerb."""
    rng = builder.rng
    for _ in range(int(rng.integers(2, 4))):
        side = float(rng.choice([-1.0, 1.0]))
        x, y = rng.uniform(-5.0, 50.0), side * (half - 1.3)
        if rng.random() < 0.85:
            machine = objects.construction_vehicle(rng) if rng.random() < 0.75 else objects.trailer(rng)
            builder.stand(machine, x, side * (half + 0.3), rng.uniform(-0.3, 0.3))
        kinds = (objects.traffic_cone, objects.barrier)
        for offset in np.arange(-9.0, 9.0, rng.uniform(1.9, 3.0)):
            fence = kinds[int(rng.integers(2))](rng)
            builder.stand(fence, x + offset, y - side * rng.uniform(0.9, 1.1), rng.uniform(-0.15, 0.15))


def _traffic(builder: _Builder, lane: float) -> tuple[Mover, ...]:
    """Return the moving vehicles: one ahead in the same lane, the others oncoming."""
    rng, movers = builder.rng, []
    builder.instance += 1
    ahead = _draw(rng, objects.DRIVING)
    movers.append(Mover(ahead, (rng.uniform(14.0, 26.0), -lane), 0.0, rng.uniform(6.0, 9.0), builder.instance))
    x = rng.uniform(10.0, 30.0)
    while x < END_M + 40:
        builder.instance += 1
        movers.append(Mover(_draw(rng, objects.DRIVING), (x, lane), math.pi, rng.uniform(7.0, 8.0), builder.instance))
        x += rng.uniform(18.0, 40.0)
    return tuple(movers)
