"""Fixtures of walls, kitchens and bathrooms: one function per class, in the same frame as `furniture.py`."""

from __future__ import annotations

import colorsys

from labelfree_lab.shapes.materials import SMOOTH, SOFT, WOODY, Rng, colour, darker, finish, panels, shade, smooth
from labelfree_lab.shapes.primitives import Material, Piece, Range, Texture, box, piece, tube


def door(rng: Rng) -> Piece:
    """Return a door: a panelled leaf with a knob in a casing."""
    width = rng.uniform(0.78, 1.0)
    height = rng.uniform(1.95, 2.15)
    base = colour(rng, WOODY)
    casing = finish(rng, Texture.PLAIN, colour(rng, SMOOTH) if rng.random() < 0.6 else shade(base, 0.75))
    rows, columns = ((2, 1), (3, 1), (2, 2), (3, 2), (1, 1))[int(rng.integers(5))]
    leaf = finish(rng, Texture.PANELS, base, (float(rows), float(columns), 5.0, rng.uniform(0.25, 0.4)))
    x = (-width / 2, width / 2)
    parts = [
        box(x, (0, 0.03), (0, height), leaf),
        box((x[0] - 0.09, x[0]), (0, 0.06), (0, height + 0.09), casing),
        box((x[1], x[1] + 0.09), (0, 0.06), (0, height + 0.09), casing),
        box((x[0], x[1]), (0, 0.06), (height, height + 0.09), casing),
        box((x[1] - 0.17, x[1] - 0.05), (0.03, 0.09), (0.98, 1.03), finish(rng, Texture.PLAIN, leaf.colours[2])),
    ]
    return piece("door", parts)


def window(rng: Rng) -> Piece:
    """Return a window: panes with an outdoor gradient behind mullions, in a frame with a sill."""
    width = rng.uniform(0.7, 1.4)
    low = rng.uniform(0.85, 1.1)
    high = low + rng.uniform(0.75, 1.1)
    base = colour(rng, SMOOTH)
    frame = finish(rng, Texture.PLAIN, base)
    bright = rng.uniform(0.75, 1.0)
    sky = (bright * rng.uniform(0.55, 0.95), bright * rng.uniform(0.75, 0.97), bright)
    ground = colorsys.hsv_to_rgb(rng.uniform(0, 0.45), rng.uniform(0.1, 0.5), rng.uniform(0.35, 0.8))
    params = (float(rng.integers(1, 4)), float(rng.integers(2, 4)), rng.uniform(-0.6, 0.3), 0.0)
    panes = Material(Texture.WINDOW, (base, ground, sky), params, int(rng.integers(1 << 31)))
    x = (-width / 2, width / 2)
    parts = [
        box(x, (0, 0.015), (low, high), panes),
        box((x[0] - 0.06, x[0]), (0, 0.07), (low, high), frame),
        box((x[1], x[1] + 0.06), (0, 0.07), (low, high), frame),
        box((x[0] - 0.06, x[1] + 0.06), (0, 0.07), (high, high + 0.07), frame),
        box((x[0] - 0.1, x[1] + 0.1), (0, 0.11), (low - 0.05, low), frame),
    ]
    return piece("window", parts)


def curtain(rng: Rng, material: Material, width: float, z: Range) -> Piece:
    """Return one hanging panel of folds; pairs of panels beside a window share a material."""
    depth = 0.09
    fold = rng.uniform(0.08, 0.14)
    count = max(3, round(width / fold))
    step = width / count
    parts = [box((-width / 2, width / 2), (0.02, 0.02 + depth / 2), z, material)]
    for index in range(count):
        left = -width / 2 + index * step
        parts.append(tube((left, left + step), (0.02, 0.02 + depth), z, material))
    return piece("curtain", parts)


def curtain_material(rng: Rng) -> Material:
    """Return the material of a curtain: a plain or banded textile."""
    base = colour(rng, SOFT)
    second = colour(rng, SOFT) if rng.random() < 0.4 else shade(base, 0.85)
    return Material(Texture.FOLDS, (base, second, second), (rng.uniform(0.15, 0.4), 0.0, 0.0, 0.0), 0)


def picture(rng: Rng) -> Piece:
    """Return a picture: a frame, a mat and a few blobs or a landscape."""
    width = rng.uniform(0.5, 1.15)
    height = rng.uniform(0.45, 0.85)
    middle = rng.uniform(1.5, 1.72)
    colours = (colour(rng, WOODY), colour(rng, SMOOTH), colour(rng, SOFT))
    params = (rng.uniform(0.03, 0.06), rng.uniform(0.03, 0.1), float(rng.integers(2)), 0.0)
    art = Material(Texture.PICTURE, colours, params, int(rng.integers(1 << 31)))
    return piece("picture", [box((-width / 2, width / 2), (0, 0.035), (middle - height / 2, middle + height / 2), art)])


def counter(rng: Rng) -> Piece:
    """Return a counter: a row of fronts under an overhanging slab, with backsplash, hob and sink."""
    width = rng.uniform(1.3, 2.0)
    depth = rng.uniform(0.5, 0.65)
    height = rng.uniform(0.8, 0.95)
    x = (-width / 2, width / 2)
    front = panels(rng, int(rng.integers(1, 3)), max(2, round(width / 0.5)), 3, colour(rng, WOODY))
    slab = finish(rng, Texture.SPECKLE if rng.random() < 0.6 else Texture.WOOD, colour(rng, SMOOTH))
    splash = finish(rng, Texture.TILES, colour(rng, SMOOTH), (rng.uniform(0.08, 0.16), 0.0, 0.0, 0.0))
    parts = [
        box(x, (0, depth - 0.08), (0, 0.1), darker(darker(front))),
        box(x, (0, depth - 0.03), (0.1, height - 0.05), front),
        box((x[0] - 0.02, x[1] + 0.02), (0, depth + 0.03), (height - 0.05, height), slab),
        box(x, (0, 0.02), (height, height + rng.uniform(0.25, 0.45)), splash),
    ]
    sides = [x[0] + 0.12, x[1] - 0.12 - 0.55]
    if rng.random() < 0.5:
        sides.reverse()
    hob = Material(Texture.HOB, ((0.08, 0.08, 0.09), (0.4, 0.2, 0.15), (0.6, 0.6, 0.6)))
    steel = Material(Texture.BASIN, ((0.72, 0.73, 0.75), (0.35, 0.36, 0.38), (0.8, 0.8, 0.8)))
    parts.append(box((sides[0], sides[0] + 0.5), (0.1, depth - 0.08), (height, height + 0.012), hob))
    parts.append(box((sides[1], sides[1] + 0.5), (0.1, depth - 0.08), (height, height + 0.008), steel))
    tap = sides[1] + 0.25
    parts.append(
        tube(
            (tap - 0.02, tap + 0.02),
            (0.05, 0.09),
            (height, height + 0.25),
            finish(rng, Texture.PLAIN, steel.colours[0]),
        )
    )
    parts.append(
        box(
            (tap - 0.015, tap + 0.015),
            (0.07, 0.24),
            (height + 0.23, height + 0.26),
            finish(rng, Texture.PLAIN, steel.colours[0]),
        )
    )
    return piece("counter", parts)


def refrigerator(rng: Rng) -> Piece:
    """Return a refrigerator: a tall box with two doors, a seam between them and bar handles."""
    width = rng.uniform(0.55, 0.85)
    depth = rng.uniform(0.55, 0.75)
    height = rng.uniform(1.4, 1.95)
    body = smooth(rng)
    dark = finish(rng, Texture.PLAIN, (0.1, 0.1, 0.1))
    handle = finish(rng, Texture.PLAIN, body.colours[2])
    seam = height * (rng.uniform(0.3, 0.42) if rng.random() < 0.4 else rng.uniform(0.6, 0.72))
    x = (-width / 2, width / 2)
    side = x[0] + 0.06 if rng.random() < 0.5 else x[1] - 0.09
    parts = [
        box((x[0] + 0.01, x[1] - 0.01), (0, depth - 0.06), (0, 0.06), dark),
        box(x, (0, depth - 0.06), (0.06, height), body),
        box((x[0] + 0.01, x[1] - 0.01), (depth - 0.06, depth - 0.05), (0.06, height), dark),
        box(x, (depth - 0.05, depth), (0.06, seam - 0.012), body),
        box(x, (depth - 0.05, depth), (seam + 0.012, height), body),
        box((side, side + 0.035), (depth, depth + 0.05), (seam - 0.45, seam - 0.06), handle),
        box((side, side + 0.035), (depth, depth + 0.05), (seam + 0.06, min(seam + 0.4, height - 0.05)), handle),
    ]
    return piece("refrigerator", parts)


def toilet(rng: Rng) -> Piece:
    """Return a toilet: a pedestal, an elliptic bowl with a seat ring, a tank and a lid."""
    width = rng.uniform(0.42, 0.56)
    length = rng.uniform(0.5, 0.64)
    tank = rng.uniform(0.18, 0.24)
    seat = rng.uniform(0.4, 0.5)
    china = smooth(rng)
    ring = finish(rng, Texture.PLAIN, colour(rng, SMOOTH))
    basin = Material(Texture.BASIN, (ring.colours[0], shade(china.colours[0], 0.45), china.colours[2]))
    y = (tank - 0.03, tank + length)
    middle = (y[0] + y[1]) / 2
    wide = rng.uniform(0.42, 0.55)
    top = seat + rng.uniform(0.32, 0.45)
    parts = [
        tube((-width * 0.28, width * 0.28), (y[0] + 0.05, middle + 0.14), (0, seat - 0.2), china),
        tube((-width * 0.4, width * 0.4), (y[0] + 0.02, y[1] - 0.07), (seat - 0.2, seat - 0.1), china),
        tube((-width / 2, width / 2), y, (seat - 0.1, seat - 0.03), china),
        tube((-width / 2 - 0.01, width / 2 + 0.01), (y[0], y[1] + 0.01), (seat - 0.025, seat), basin),
        box((-wide / 2, wide / 2), (0, tank), (seat - 0.05, top), china),
        box((-wide / 2 - 0.015, wide / 2 + 0.015), (0, tank + 0.015), (top, top + 0.04), china),
    ]
    if rng.random() < 0.6:
        parts.append(box((-width / 2 + 0.02, width / 2 - 0.02), (tank, tank + 0.04), (seat, seat + 0.36), ring))
    return piece("toilet", parts)


def bathtub(rng: Rng) -> Piece:
    """Return a bathtub: four walls with a broad rim, a bottom or water inside, and a tap."""
    width = rng.uniform(1.3, 1.75)
    depth = rng.uniform(0.65, 0.85)
    height = rng.uniform(0.48, 0.65)
    rim = rng.uniform(0.06, 0.1)
    shell = smooth(rng)
    apron = shell if rng.random() < 0.6 else finish(rng, Texture.TILES, colour(rng, SMOOTH), (0.12, 0.0, 0.0, 0.0))
    inside = finish(rng, Texture.PLAIN, shade(colour(rng, SMOOTH), 0.85))
    metal = finish(rng, Texture.PLAIN, (0.75, 0.75, 0.77))
    x = (-width / 2, width / 2)
    lip = (height - 0.045, height)
    parts = [
        box(x, (depth - rim, depth), (0, lip[0]), apron),
        box(x, (0, rim), (0, lip[0]), shell),
        box((x[0], x[0] + rim), (rim, depth - rim), (0, lip[0]), apron),
        box((x[1] - rim, x[1]), (rim, depth - rim), (0, lip[0]), apron),
        box((x[0] + rim, x[1] - rim), (rim, depth - rim), (0, height * rng.uniform(0.3, 0.6)), inside),
        box((x[0] - 0.02, x[1] + 0.02), (depth - rim - 0.02, depth + 0.02), lip, shell),
        box((x[0] - 0.02, x[1] + 0.02), (0, rim + 0.02), lip, shell),
        box((x[0] - 0.02, x[0] + rim + 0.02), (rim + 0.02, depth - rim - 0.02), lip, shell),
        box((x[1] - rim - 0.02, x[1] + 0.02), (rim + 0.02, depth - rim - 0.02), lip, shell),
        tube((x[0] + 0.03, x[0] + 0.07), (depth / 2 - 0.02, depth / 2 + 0.02), (height, height + 0.2), metal),
        box((x[0] + 0.04, x[0] + 0.22), (depth / 2 - 0.02, depth / 2 + 0.02), (height + 0.17, height + 0.2), metal),
    ]
    return piece("bathtub", parts)
