"""Objects of streets: pieces of boxes and upright cylinders, x forward, y left, z up, metres.

Paint, cloth and foliage have colours from palettes that classes share, so that no colour identifies a class.
"""

from __future__ import annotations

from collections.abc import Callable

from labelfree.data.nuscenes.lidarseg import MERGED
from labelfree_lab.shapes.materials import SMOOTH, SOFT, Rng, colour, finish, shade
from labelfree_lab.shapes.primitives import Colour, Material, Part, Piece, Range, Texture, box, tube

CLASS_NAMES: tuple[str, ...] = tuple(MERGED)
"""nuScenes' 16 classes in the benchmark's order."""
GLASS: Colour = (0.16, 0.19, 0.22)
RUBBER: Colour = (0.07, 0.07, 0.08)


def piece(name: str, parts: list[Part]) -> Piece:
    """Return a piece of a named class."""
    return Piece(CLASS_NAMES.index(name), tuple(parts))


def paint(rng: Rng) -> Material:
    """Return an enamelled surface."""
    return finish(rng, Texture.PLAIN, colour(rng, SMOOTH))


def _plain(rng: Rng, base: Colour) -> Material:
    return finish(rng, Texture.PLAIN, base)


def _across(width: float) -> Range:
    return (-width / 2, width / 2)


def _wheels(rng: Rng, places: list[float], width: float, size: float, thick: float = 0.22) -> list[Part]:
    rubber = _plain(rng, RUBBER)
    sides = ((-width / 2 - 0.01, -width / 2 + thick), (width / 2 - thick, width / 2 + 0.01))
    return [box((x - size / 2, x + size / 2), side, (0.0, size), rubber) for x in places for side in sides]


def car(rng: Rng) -> Piece:
    """Return a car: body, glazed cabin with a roof, four wheels, lamps."""
    length, width = rng.uniform(3.6, 4.9), rng.uniform(1.65, 1.9)
    waist, roof = rng.uniform(0.8, 1.0), rng.uniform(1.4, 1.75)
    body, start, end = paint(rng), rng.uniform(-0.5, -0.3) * length, rng.uniform(0.12, 0.25) * length
    lamps = _plain(rng, (0.85, 0.83, 0.75))
    parts = [
        box((-length / 2, length / 2), _across(width), (0.25, waist), body),
        box((start, end), _across(width - 0.16), (waist, roof - 0.08), _plain(rng, GLASS)),
        box((start + 0.1, end - 0.25), _across(width - 0.2), (roof - 0.08, roof), body),
        box((length / 2 - 0.05, length / 2 + 0.01), _across(width - 0.2), (waist - 0.3, waist - 0.15), lamps),
    ]
    return piece("car", parts + _wheels(rng, [-0.31 * length, 0.31 * length], width, rng.uniform(0.58, 0.7)))


def truck(rng: Rng) -> Piece:
    """Return a truck: a cab in front of a box or an open bed."""
    length, width, height = rng.uniform(5.5, 8.5), rng.uniform(2.1, 2.5), rng.uniform(2.5, 3.5)
    front, body = length / 2, paint(rng)
    cab = rng.uniform(1.7, 2.2)
    load = paint(rng) if rng.random() < 0.6 else body
    top = height if rng.random() < 0.7 else 1.5
    parts = [
        box((front - cab, front), _across(width), (0.5, height * 0.55), body),
        box(
            (front - cab + 0.15, front - 0.1), _across(width - 0.1), (height * 0.55, height * 0.78), _plain(rng, GLASS)
        ),
        box((front - cab + 0.1, front - 0.3), _across(width - 0.05), (height * 0.78, height * 0.82), body),
        box((-front, front - cab - 0.15), _across(width), (0.85, top), load),
        box((-front, front), _across(width * 0.6), (0.5, 0.85), _plain(rng, RUBBER)),
    ]
    return piece("truck", parts + _wheels(rng, [-0.3 * length, -0.16 * length, 0.33 * length], width, 0.95, 0.35))


def bus(rng: Rng) -> Piece:
    """Return a bus: a long box with a band of windows."""
    length, width, height = rng.uniform(9.0, 12.0), 2.5, rng.uniform(2.8, 3.2)
    body = colour(rng, SMOOTH)
    sides = Material(
        Texture.FACADE, (body, shade(body, 0.8), GLASS), (1.4, height, 0.55, 0.0), int(rng.integers(1 << 31))
    )
    parts = [
        box((-length / 2, length / 2), _across(width), (0.35, height), sides),
        box((length / 2, length / 2 + 0.03), _across(width - 0.2), (1.1, height - 0.4), _plain(rng, GLASS)),
    ]
    return piece("bus", parts + _wheels(rng, [-0.28 * length, 0.32 * length], width, 0.95, 0.3))


def trailer(rng: Rng) -> Piece:
    """Return a trailer: a box or a platform on wheels with a drawbar, without a cab."""
    length, width = rng.uniform(3.0, 7.5), rng.uniform(1.9, 2.5)
    top = rng.uniform(2.2, 3.4) if rng.random() < 0.6 else rng.uniform(1.0, 1.3)
    parts = [
        box((-length / 2, length / 2), _across(width), (0.7, top), paint(rng)),
        box((length / 2, length / 2 + 1.3), _across(0.18), (0.5, 0.65), _plain(rng, RUBBER)),
    ]
    return piece("trailer", parts + _wheels(rng, [-0.25 * length, -0.05 * length], width, 0.75, 0.3))


def construction_vehicle(rng: Rng) -> Piece:
    """Return an excavator: tracks, a body with a cab, a boom that rises and falls in steps, a bucket."""
    body, dark = paint(rng), _plain(rng, RUBBER)
    length = rng.uniform(2.6, 3.6)
    parts = [box((-length / 2, length / 2), side, (0.0, 0.8), dark) for side in ((-1.35, -0.75), (0.75, 1.35))]
    parts += [
        box((-length / 2, length * 0.3), _across(2.3), (0.8, 1.7), body),
        box((-0.2, 1.0), (0.2, 1.1), (1.7, 2.7), _plain(rng, GLASS)),
        box((-0.2, 1.0), (0.2, 1.1), (2.7, 2.8), body),
    ]
    x, z = 0.6, 1.6
    for step in range(6):
        rise = 0.38 if step < 3 else -0.35
        parts.append(box((x, x + 0.75), (-0.5, -0.15), (z, z + 0.42), body))
        x, z = x + 0.65, z + rise
    parts.append(box((x, x + 0.8), (-0.85, 0.2), (max(z - 0.9, 0.1), max(z - 0.9, 0.1) + 0.7), dark))
    return piece("construction vehicle", parts)


def _rider(rng: Rng, seat: float) -> list[Part]:
    return [
        tube((-0.25, 0.1), (-0.2, 0.2), (seat, seat + 0.6), finish(rng, Texture.FABRIC, colour(rng, SOFT))),
        tube((-0.15, 0.08), (-0.11, 0.11), (seat + 0.63, seat + 0.88), paint(rng)),
    ]


def bicycle(rng: Rng) -> Piece:
    """Return a bicycle: two thin wheels, a frame, saddle and handlebar, sometimes a rider."""
    dark, frame = _plain(rng, RUBBER), paint(rng)
    parts = [box((x - 0.33, x + 0.33), _across(0.05), (0.0, 0.66), dark) for x in (-0.52, 0.52)]
    parts += [
        box((-0.5, 0.5), _across(0.06), (0.52, 0.6), frame),
        box((-0.25, -0.18), _across(0.05), (0.5, 0.92), frame),
        box((-0.35, -0.08), _across(0.16), (0.92, 0.98), dark),
        box((0.4, 0.48), _across(0.55), (0.98, 1.03), frame),
    ]
    return piece("bicycle", parts + (_rider(rng, 0.98) if rng.random() < 0.4 else []))


def motorcycle(rng: Rng) -> Piece:
    """Return a motorcycle: two wide wheels, a tank, an engine, a seat, sometimes a rider."""
    dark, body = _plain(rng, RUBBER), paint(rng)
    parts = [box((x - 0.32, x + 0.32), _across(0.16), (0.0, 0.64), dark) for x in (-0.7, 0.7)]
    parts += [
        box((-0.45, 0.45), _across(0.32), (0.3, 0.7), _plain(rng, (0.35, 0.35, 0.36))),
        box((0.0, 0.5), _across(0.36), (0.7, 0.98), body),
        box((-0.85, 0.0), _across(0.3), (0.7, 0.85), dark),
        box((0.48, 0.6), _across(0.7), (1.0, 1.08), dark),
    ]
    return piece("motorcycle", parts + (_rider(rng, 0.85) if rng.random() < 0.4 else []))


def pedestrian(rng: Rng) -> Piece:
    """Return a pedestrian: legs, a trunk with arms, a head."""
    height = rng.uniform(1.45, 1.9)
    hip, neck = 0.48 * height, 0.82 * height
    legs, coat = finish(rng, Texture.FABRIC, colour(rng, SOFT)), finish(rng, Texture.FABRIC, colour(rng, SOFT))
    stride = rng.uniform(0.0, 0.2)
    parts = [
        box((stride - 0.08, stride + 0.08), (0.02, 0.17), (0.0, hip), legs),
        box((-stride - 0.08, -stride + 0.08), (-0.17, -0.02), (0.0, hip), legs),
        tube((-0.14, 0.14), (-0.22, 0.22), (hip, neck), coat),
        box((-0.06, 0.06), (-0.29, 0.29), (hip, neck - 0.05), coat),
        tube((-0.1, 0.1), (-0.09, 0.09), (neck + 0.03, height), paint(rng)),
    ]
    return piece("pedestrian", parts)


def traffic_cone(rng: Rng) -> Piece:
    """Return a traffic cone: rings that narrow upwards on a square foot, one of them bright."""
    height, foot = rng.uniform(0.55, 1.0), rng.uniform(0.18, 0.26)
    body, bright = paint(rng), _plain(rng, (0.9, 0.9, 0.88))
    parts = [box((-foot, foot), (-foot, foot), (0.0, 0.05), body)]
    for step in range(5):
        radius = foot * (0.85 - 0.16 * step)
        low, high = 0.05 + step * (height - 0.05) / 5, 0.05 + (step + 1) * (height - 0.05) / 5
        parts.append(tube((-radius, radius), (-radius, radius), (low, high), bright if step == 2 else body))
    return piece("traffic_cone", parts)


def barrier(rng: Rng) -> Piece:
    """Return a barrier: a concrete or plastic block with a wide foot, or boards between posts."""
    length, height = rng.uniform(1.6, 2.6), rng.uniform(0.8, 1.1)
    body = paint(rng)
    x = (-length / 2, length / 2)
    if rng.random() < 0.5:
        parts = [box(x, _across(0.6), (0.0, 0.25), body), box(x, _across(0.25), (0.25, height), body)]
    else:
        base = colour(rng, SMOOTH)
        striped = Material(
            Texture.STRIPES, (base, (0.9, 0.9, 0.88), base), (0.4, 1.0, 0.0, 0.0), int(rng.integers(1 << 31))
        )
        parts = [box(x, _across(0.06), (low, low + 0.25), striped) for low in (0.3, height - 0.25)]
        parts += [box((end - 0.05, end + 0.05), _across(0.5), (0.0, height), body) for end in x]
    return piece("barrier", parts)


def _leaves(rng: Rng) -> Material:
    green = (rng.uniform(0.12, 0.45), rng.uniform(0.28, 0.5), rng.uniform(0.08, 0.25))
    return Material(
        Texture.FOLIAGE, (green, shade(green, 0.45), green), (0.0, 0.0, 0.0, 0.0), int(rng.integers(1 << 31))
    )


def tree(rng: Rng) -> Piece:
    """Return a tree: a trunk and a crown of overlapping cylinders."""
    trunk, height = rng.uniform(0.12, 0.3), rng.uniform(4.5, 9.0)
    bare, leaves = rng.uniform(1.8, 2.8), _leaves(rng)
    bark = finish(rng, Texture.WOOD, (rng.uniform(0.25, 0.4), rng.uniform(0.2, 0.32), rng.uniform(0.15, 0.25)))
    parts = [tube((-trunk, trunk), (-trunk, trunk), (0.0, bare + 0.5), bark)]
    for low, high, share in ((0.0, 0.35, 0.75), (0.2, 0.8, 1.0), (0.65, 1.0, 0.6)):
        radius, span = share * rng.uniform(1.2, 2.2), height - bare
        shift = rng.uniform(-0.4, 0.4, 2)
        parts.append(
            tube(
                (shift[0] - radius, shift[0] + radius),
                (shift[1] - radius, shift[1] + radius),
                (bare + low * span, bare + high * span),
                leaves,
            )
        )
    return piece("vegetation", parts)


def bush(rng: Rng) -> Piece:
    """Return a bush: low clumps of leaves."""
    leaves = _leaves(rng)
    parts = []
    for _ in range(int(rng.integers(2, 4))):
        x, y, radius = rng.uniform(-0.7, 0.7), rng.uniform(-0.4, 0.4), rng.uniform(0.4, 0.8)
        parts.append(tube((x - radius, x + radius), (y - radius, y + radius), (0.0, rng.uniform(0.6, 1.4)), leaves))
    return piece("vegetation", parts)


def pole(rng: Rng) -> Piece:
    """Return a lamp post or a traffic sign."""
    metal = finish(rng, Texture.PLAIN, (0.45, 0.46, 0.47))
    if rng.random() < 0.5:
        height = rng.uniform(5.0, 7.5)
        parts = [
            tube((-0.08, 0.08), (-0.08, 0.08), (0.0, height), metal),
            box((-0.1, 1.5), _across(0.15), (height - 0.1, height), metal),
        ]
    else:
        height = rng.uniform(2.2, 3.0)
        parts = [
            tube((-0.04, 0.04), (-0.04, 0.04), (0.0, height), metal),
            box((-0.03, 0.03), _across(rng.uniform(0.6, 0.9)), (height - 0.8, height), paint(rng)),
        ]
    return piece("manmade", parts)


def building(rng: Rng, length: float, depth: float) -> Piece:
    """Return a building: a block with a grid of windows and a base of another colour."""
    height = rng.uniform(5.0, 18.0)
    wall = colour(rng, (0.45, 0.1, 0.45))
    glass = GLASS if rng.random() < 0.7 else (0.5, 0.55, 0.6)
    front = Material(
        Texture.FACADE,
        (wall, shade(wall, 0.8), glass),
        (rng.uniform(1.8, 3.5), rng.uniform(2.8, 3.6), rng.uniform(0.35, 0.65), 0.0),
        int(rng.integers(1 << 31)),
    )
    x, y = _across(length), _across(depth)
    base = finish(rng, Texture.TILES, shade(wall, 0.8), (0.5, 0.0, 0.0, 0.0))
    return piece("manmade", [box(x, y, (0.0, 0.9), base), box(x, y, (0.9, height), front)])


PARKED: tuple[tuple[Callable[[Rng], Piece], float], ...] = (
    (car, 0.6),
    (truck, 0.14),
    (trailer, 0.08),
    (bus, 0.06),
    (motorcycle, 0.07),
    (bicycle, 0.05),
)
"""Vehicles at the kerb, with their probabilities."""
DRIVING: tuple[tuple[Callable[[Rng], Piece], float], ...] = ((car, 0.6), (bus, 0.14), (truck, 0.16), (motorcycle, 0.1))
"""Vehicles that drive, with their probabilities."""
