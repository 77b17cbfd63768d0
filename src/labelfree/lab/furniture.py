"""The furniture of the lab: one function per class, each drawing sizes, colours and details from a generator.

A piece stands in its own frame: its back on the wall at y = 0, its front towards +y, the floor at z = 0.
Colours come from three palettes every class shares, so that no colour and no size names a class alone.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np

from labelfree.lab.primitives import CLASS_NAMES, Colour, Material, Part, Piece, Texture

Rng = np.random.Generator
Range = tuple[float, float]

WOODY = (0.55, 0.30, 0.15)
SOFT = (0.10, 0.30, 0.60)
SMOOTH = (0.10, 0.65, 0.25)
"""Chances of the palettes wood, paint and cloth."""


def colour(rng: Rng, chances: tuple[float, float, float]) -> Colour:
    """A colour from the shared palettes of wood, paint and cloth."""
    palette = int(rng.choice(3, p=chances))
    if palette == 0:
        hsv = rng.uniform(0.04, 0.12), rng.uniform(0.25, 0.7), rng.uniform(0.2, 0.8)
    elif palette == 1:
        hsv = rng.uniform(0, 1), rng.uniform(0, 0.25), rng.uniform(0.55, 0.95)
    else:
        hsv = rng.uniform(0, 1), rng.uniform(0.1, 0.75), rng.uniform(0.2, 0.85)
    return colorsys.hsv_to_rgb(*hsv)


def shade(base: Colour, factor: float) -> Colour:
    """A darker or lighter version of a colour."""
    return min(1.0, base[0] * factor), min(1.0, base[1] * factor), min(1.0, base[2] * factor)


def finish(
    rng: Rng, texture: Texture, base: Colour, params: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
) -> Material:
    """A material whose second colour is a near shade of the first and whose third is a fitting or accent."""
    second = shade(base, rng.uniform(0.55, 0.8))
    accent = shade(base, 0.25) if sum(base) > 1.2 else (0.85, 0.83, 0.8)
    return Material(texture, (base, second, accent), params, int(rng.integers(1 << 31)))


def woody(rng: Rng) -> Material:
    """A plain or grained hard surface."""
    texture = Texture.WOOD if rng.random() < 0.6 else Texture.PLAIN
    return finish(rng, texture, colour(rng, WOODY))


def smooth(rng: Rng) -> Material:
    """An enamelled or painted surface."""
    return finish(rng, Texture.PLAIN, colour(rng, SMOOTH))


def cloth(rng: Rng) -> Material:
    """A textile: woven, striped, dotted or plain."""
    texture = (Texture.FABRIC, Texture.FABRIC, Texture.STRIPES, Texture.DOTS)[int(rng.integers(4))]
    params = (rng.uniform(0.05, 0.18), float(rng.integers(2)), 0.0, 0.0)
    base = colour(rng, SOFT)
    material = finish(rng, texture, base, params)
    if texture is Texture.FABRIC or rng.random() < 0.5:
        return material
    return Material(texture, (base, colour(rng, SOFT), material.colours[2]), params, material.seed)


def panels(rng: Rng, rows: int, columns: int, knob: int, base: Colour) -> Material:
    """Door or drawer fronts; `knob` is 0 none, 1 beside the middle seam, 2 centred, 3 vertical bar, 4 at the right."""
    return finish(rng, Texture.PANELS, base, (float(rows), float(columns), float(knob), rng.uniform(0.12, 0.3)))


def box(x: Range, y: Range, z: Range, material: Material) -> Part:
    """A box spanning three ranges."""
    return Part((x[0], y[0], z[0]), (x[1], y[1], z[1]), material)


def tube(x: Range, y: Range, z: Range, material: Material) -> Part:
    """A vertical elliptic cylinder inscribed in three ranges."""
    return Part((x[0], y[0], z[0]), (x[1], y[1], z[1]), material, round=True)


def _legs(width: float, y: Range, height: float, thickness: float, material: Material) -> list[Part]:
    return [
        box((x, x + thickness), (front, front + thickness), (0, height), material)
        for x in (-width / 2, width / 2 - thickness)
        for front in (y[0], y[1] - thickness)
    ]


def _clutter(rng: Rng, x: Range, y: Range, z: float) -> list[Part]:
    """Zero to two small objects lying on a top; they carry the label of what they lie on."""
    parts = []
    for _ in range(int(rng.integers(3))):
        size = rng.uniform(0.08, 0.2)
        left = rng.uniform(x[0], max(x[0], x[1] - size))
        front = rng.uniform(y[0], max(y[0], y[1] - size))
        make = tube if rng.random() < 0.5 else box
        height = rng.uniform(0.04, 0.22)
        parts.append(make((left, left + size), (front, front + size), (z, z + height), woody(rng)))
    return parts


def _piece(name: str, parts: list[Part]) -> Piece:
    return Piece(CLASS_NAMES.index(name), tuple(parts))


def cabinet(rng: Rng) -> Piece:
    """A box on a plinth with several door or drawer fronts: chest, sideboard or wardrobe."""
    height = rng.uniform(0.65, 1.95)
    width = rng.uniform(0.7, 1.3)
    depth = rng.uniform(0.35, 0.6)
    base = colour(rng, WOODY)
    columns = 2 if height > 1.2 else int(rng.integers(1, 4))
    rows = int(rng.integers(2, 4)) if height > 1.2 else int(rng.integers(2, 5))
    front = panels(rng, rows, columns, 2 if columns != 2 else 1, base)
    top = finish(rng, Texture.WOOD, shade(base, rng.uniform(0.8, 1.25)))
    x = (-width / 2, width / 2)
    parts = [
        box((x[0] + 0.03, x[1] - 0.03), (0, depth - 0.05), (0, 0.07), finish(rng, Texture.PLAIN, shade(base, 0.4))),
        box(x, (0, depth), (0.07, height), front),
        box((x[0] - 0.02, x[1] + 0.02), (0, depth + 0.02), (height, height + 0.03), top),
    ]
    return _piece("cabinet", parts + (_clutter(rng, x, (0.05, depth), height + 0.03) if height < 1.3 else []))


def wall_cabinet(rng: Rng) -> Piece:
    """A row of cupboards hung on the wall, above a counter or alone."""
    width = rng.uniform(0.8, 1.8)
    low = rng.uniform(1.4, 1.5)
    front = panels(rng, 1, max(2, round(width / 0.45)), 4, colour(rng, WOODY))
    return _piece(
        "cabinet", [box((-width / 2, width / 2), (0, rng.uniform(0.3, 0.4)), (low, low + rng.uniform(0.5, 0.7)), front)]
    )


def bed(rng: Rng) -> Piece:
    """Frame, mattress, blanket, pillows and headboard."""
    width = rng.uniform(0.95, 1.55)
    length = rng.uniform(1.7, 2.0)
    frame = woody(rng)
    sheet = finish(rng, Texture.PLAIN, colour(rng, SOFT))
    x = (-width / 2, width / 2)
    top = rng.uniform(0.42, 0.6)
    head = rng.uniform(0.75, 1.05)
    fold = rng.uniform(0.5, 0.85)
    parts = [
        box(x, (0, 0.07), (0, head), frame),
        box(x, (0.07, length), (0.12, top - 0.16), frame),
        box((x[0] + 0.02, x[1] - 0.02), (0.07, length - 0.02), (top - 0.16, top), sheet),
        box((x[0] - 0.01, x[1] + 0.01), (fold, length + 0.01), (top - 0.2, top + 0.05), cloth(rng)),
    ]
    parts += _legs(width, (0.0, length), 0.12, 0.07, frame)
    pillow = cloth(rng)
    count = 2 if width > 1.25 else 1
    step = width / count
    for index in range(count):
        left = x[0] + index * step + 0.07
        parts.append(box((left, left + step - 0.14), (0.1, fold - 0.08), (top, top + 0.12), pillow))
    return _piece("bed", parts)


def chair(rng: Rng) -> Piece:
    """Four legs or a pedestal, a seat and a back (slatted or full)."""
    width = rng.uniform(0.4, 0.58)
    depth = rng.uniform(0.4, 0.55)
    seat = rng.uniform(0.4, 0.52)
    back = seat + rng.uniform(0.38, 0.6)
    frame = woody(rng)
    pad = cloth(rng) if rng.random() < 0.5 else frame
    x = (-width / 2, width / 2)
    parts = [box(x, (0, depth), (seat - 0.06, seat), pad)]
    if rng.random() < 0.75:
        parts += _legs(width, (0.0, depth), seat - 0.06, rng.uniform(0.035, 0.06), frame)
    else:
        parts.append(tube((-0.04, 0.04), (depth / 2 - 0.04, depth / 2 + 0.04), (0.06, seat - 0.06), frame))
        parts.append(tube((x[0], x[1]), (0, depth), (0, 0.06), frame))
    if rng.random() < 0.4:
        posts = [box((left, left + 0.05), (0, 0.05), (seat, back), frame) for left in (x[0], x[1] - 0.05)]
        slats = [box(x, (0.01, 0.04), (low, low + 0.09), frame) for low in (back - 0.1, (seat + back) / 2 - 0.05)]
        return _piece("chair", parts + posts + slats)
    return _piece("chair", [*parts, box(x, (0, 0.06), (seat + 0.03, back), pad)])


def sofa(rng: Rng) -> Piece:
    """Base, back, two arms, seat cushions and now and then a throw pillow."""
    width = rng.uniform(1.2, 1.9)
    depth = rng.uniform(0.7, 0.92)
    arm = rng.uniform(0.12, 0.22)
    seat = rng.uniform(0.36, 0.48)
    back = seat + rng.uniform(0.3, 0.48)
    cover = cloth(rng)
    cushion = Material(cover.texture, (shade(cover.colours[0], 1.12), *cover.colours[1:]), cover.params, cover.seed)
    x = (-width / 2, width / 2)
    parts = [
        box(x, (0, depth - 0.04), (0.06, seat - 0.13), cover),
        box((x[0] + arm, x[1] - arm), (0, 0.22), (seat - 0.13, back), cover),
        box((x[0], x[0] + arm), (0, depth), (0.04, seat + 0.17), cover),
        box((x[1] - arm, x[1]), (0, depth), (0.04, seat + 0.17), cover),
    ]
    count = 3 if width > 1.6 else 2
    step = (width - 2 * arm) / count
    for index in range(count):
        left = x[0] + arm + index * step
        parts.append(box((left + 0.01, left + step - 0.01), (0.2, depth), (seat - 0.13, seat), cushion))
        parts.append(box((left + 0.02, left + step - 0.02), (0.2, 0.34), (seat, back - 0.05), cushion))
    if rng.random() < 0.5:
        left = rng.uniform(x[0] + arm, x[1] - arm - 0.4)
        parts.append(box((left, left + 0.38), (0.34, 0.48), (seat, seat + 0.32), cloth(rng)))
    return _piece("sofa", parts)


def table(rng: Rng) -> Piece:
    """A top on four legs or a pedestal, round or square, low or dining height."""
    width = rng.uniform(0.75, 1.3)
    depth = rng.uniform(0.6, 0.85)
    low = rng.random() < 0.2
    height = rng.uniform(0.42, 0.55) if low else rng.uniform(0.66, 0.8)
    wood = woody(rng)
    if rng.random() < 0.3:
        width = depth = rng.uniform(0.75, 1.0)
        middle = depth / 2
        parts = [
            tube((-width / 2, width / 2), (0, depth), (height - 0.05, height), wood),
            tube((-0.06, 0.06), (middle - 0.06, middle + 0.06), (0.04, height - 0.05), wood),
            tube((-width / 4, width / 4), (depth / 4, depth * 3 / 4), (0, 0.04), wood),
        ]
    else:
        x = (-width / 2, width / 2)
        parts = [box(x, (0, depth), (height - 0.05, height), wood)]
        parts.append(
            box((x[0] + 0.05, x[1] - 0.05), (0.05, depth - 0.05), (height - 0.13, height - 0.05), _darker(wood))
        )
        parts += _legs(width, (0.0, depth), height - 0.05, rng.uniform(0.05, 0.09), wood)
    return _piece("table", parts + _clutter(rng, (-width / 4, width / 4), (depth / 4, depth * 3 / 4), height))


def _darker(material: Material) -> Material:
    first, second, third = material.colours
    return Material(material.texture, (shade(first, 0.7), shade(second, 0.7), third), material.params, material.seed)


def door(rng: Rng) -> Piece:
    """A panelled leaf with a knob in a casing."""
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
    return _piece("door", parts)


def window(rng: Rng) -> Piece:
    """Panes with an outdoor gradient behind mullions, in a frame with a sill."""
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
    return _piece("window", parts)


def curtain(rng: Rng, material: Material, width: float, z: Range) -> Piece:
    """One hanging panel of folds; pairs of panels beside a window share a material."""
    depth = 0.09
    fold = rng.uniform(0.08, 0.14)
    count = max(3, round(width / fold))
    step = width / count
    parts = [box((-width / 2, width / 2), (0.02, 0.02 + depth / 2), z, material)]
    for index in range(count):
        left = -width / 2 + index * step
        parts.append(tube((left, left + step), (0.02, 0.02 + depth), z, material))
    return _piece("curtain", parts)


def curtain_material(rng: Rng) -> Material:
    """Folds over a plain or banded textile."""
    base = colour(rng, SOFT)
    second = colour(rng, SOFT) if rng.random() < 0.4 else shade(base, 0.85)
    return Material(Texture.FOLDS, (base, second, second), (rng.uniform(0.15, 0.4), 0.0, 0.0, 0.0), 0)


def bookshelf(rng: Rng) -> Piece:
    """Sides and boards with rows of coloured spines between them."""
    width = rng.uniform(0.7, 1.25)
    depth = rng.uniform(0.24, 0.36)
    height = rng.uniform(1.2, 2.05)
    wood = woody(rng)
    back = _darker(_darker(wood))
    x = (-width / 2, width / 2)
    rows = max(3, round(height / rng.uniform(0.3, 0.42)))
    step = (height - 0.05) / rows
    parts = [
        box((x[0], x[0] + 0.035), (0, depth), (0, height), wood),
        box((x[1] - 0.035, x[1]), (0, depth), (0, height), wood),
        box((x[0] + 0.035, x[1] - 0.035), (0, 0.02), (0.05, height), back),
    ]
    for row in range(rows + 1):
        low = row * step
        parts.append(box((x[0] + 0.035, x[1] - 0.035), (0.0, depth), (low, low + 0.05), wood))
    for row in range(rows):
        low = row * step + 0.05
        fill = rng.uniform(0.55, 1.0) * (width - 0.09)
        left = x[0] + 0.04 if rng.random() < 0.5 else x[1] - 0.04 - fill
        spines = Material(
            Texture.BOOKS,
            (back.colours[0], colour(rng, SOFT), colour(rng, SOFT)),
            (rng.uniform(0.025, 0.06), 0.0, 0.0, 0.0),
            int(rng.integers(1 << 31)),
        )
        top = low + (step - 0.05) * rng.uniform(0.75, 0.95)
        parts.append(box((left, left + fill), (0.02, depth - 0.04), (low, top), spines))
    return _piece("bookshelf", parts)


def picture(rng: Rng) -> Piece:
    """A frame, a mat and a few blobs or a landscape."""
    width = rng.uniform(0.5, 1.15)
    height = rng.uniform(0.45, 0.85)
    middle = rng.uniform(1.5, 1.72)
    colours = (colour(rng, WOODY), colour(rng, SMOOTH), colour(rng, SOFT))
    params = (rng.uniform(0.03, 0.06), rng.uniform(0.03, 0.1), float(rng.integers(2)), 0.0)
    art = Material(Texture.PICTURE, colours, params, int(rng.integers(1 << 31)))
    return _piece(
        "picture", [box((-width / 2, width / 2), (0, 0.035), (middle - height / 2, middle + height / 2), art)]
    )


def counter(rng: Rng) -> Piece:
    """A long run of fronts under an overhanging slab, with backsplash, hob and sink."""
    width = rng.uniform(1.3, 2.0)
    depth = rng.uniform(0.5, 0.65)
    height = rng.uniform(0.8, 0.95)
    x = (-width / 2, width / 2)
    front = panels(rng, int(rng.integers(1, 3)), max(2, round(width / 0.5)), 3, colour(rng, WOODY))
    slab = finish(rng, Texture.SPECKLE if rng.random() < 0.6 else Texture.WOOD, colour(rng, SMOOTH))
    splash = finish(rng, Texture.TILES, colour(rng, SMOOTH), (rng.uniform(0.08, 0.16), 0.0, 0.0, 0.0))
    parts = [
        box(x, (0, depth - 0.08), (0, 0.1), _darker(_darker(front))),
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
    return _piece("counter", parts)


def refrigerator(rng: Rng) -> Piece:
    """A tall box with a freezer and a fridge door, a seam between them and bar handles."""
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
    return _piece("refrigerator", parts)


def toilet(rng: Rng) -> Piece:
    """A pedestal, an elliptic bowl with a seat ring, a tank and a lid."""
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
    return _piece("toilet", parts)


def bathtub(rng: Rng) -> Piece:
    """A hollow box: four walls with a broad rim, a bottom or water inside, and a tap."""
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
    return _piece("bathtub", parts)


BUILDERS: dict[str, Callable[[Rng], Piece]] = {
    "cabinet": cabinet,
    "bed": bed,
    "chair": chair,
    "sofa": sofa,
    "table": table,
    "door": door,
    "window": window,
    "bookshelf": bookshelf,
    "picture": picture,
    "counter": counter,
    "refrigerator": refrigerator,
    "toilet": toilet,
    "bathtub": bathtub,
}
"""Everything that is placed by name; curtains are hung beside windows, wall cabinets above counters."""
