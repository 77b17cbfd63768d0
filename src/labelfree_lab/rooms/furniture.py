"""Furniture: one function per class, which draws sizes, colours and details from a generator.

A piece has its own frame in metres: its back is at y = 0, its front towards +y, the floor at z = 0. Sizes and colours
overlap between classes, so that neither identifies a class.
"""

from __future__ import annotations

from labelfree_lab.shapes.materials import SOFT, WOODY, Rng, cloth, colour, darker, finish, panels, shade, woody
from labelfree_lab.shapes.primitives import Material, Part, Piece, Range, Texture, box, piece, tube


def _legs(width: float, y: Range, height: float, thickness: float, material: Material) -> list[Part]:
    return [
        box((x, x + thickness), (front, front + thickness), (0, height), material)
        for x in (-width / 2, width / 2 - thickness)
        for front in (y[0], y[1] - thickness)
    ]


def _clutter(rng: Rng, x: Range, y: Range, z: float) -> list[Part]:
    """Return zero to two small objects on a top; they have the label of the piece below."""
    parts = []
    for _ in range(int(rng.integers(3))):
        size = rng.uniform(0.08, 0.2)
        left = rng.uniform(x[0], max(x[0], x[1] - size))
        front = rng.uniform(y[0], max(y[0], y[1] - size))
        make = tube if rng.random() < 0.5 else box
        height = rng.uniform(0.04, 0.22)
        parts.append(make((left, left + size), (front, front + size), (z, z + height), woody(rng)))
    return parts


def cabinet(rng: Rng) -> Piece:
    """Return a cabinet: a box on a plinth with door or drawer fronts, such as a chest, sideboard or wardrobe."""
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
    return piece("cabinet", parts + (_clutter(rng, x, (0.05, depth), height + 0.03) if height < 1.3 else []))


def wall_cabinet(rng: Rng) -> Piece:
    """Return a row of cupboards on the wall, above a counter or alone."""
    width = rng.uniform(0.8, 1.8)
    low = rng.uniform(1.4, 1.5)
    front = panels(rng, 1, max(2, round(width / 0.45)), 4, colour(rng, WOODY))
    return piece(
        "cabinet", [box((-width / 2, width / 2), (0, rng.uniform(0.3, 0.4)), (low, low + rng.uniform(0.5, 0.7)), front)]
    )


def bed(rng: Rng) -> Piece:
    """Return a bed: frame, mattress, blanket, pillows and headboard."""
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
    return piece("bed", parts)


def chair(rng: Rng) -> Piece:
    """Return a chair: four legs or a pedestal, a seat and a back (slatted or full)."""
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
        return piece("chair", parts + posts + slats)
    return piece("chair", [*parts, box(x, (0, 0.06), (seat + 0.03, back), pad)])


def sofa(rng: Rng) -> Piece:
    """Return a sofa: base, back, two arms, seat cushions and sometimes a throw pillow."""
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
    return piece("sofa", parts)


def table(rng: Rng) -> Piece:
    """Return a table: a round or square top on four legs or a pedestal, low or at dining height."""
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
            box((x[0] + 0.05, x[1] - 0.05), (0.05, depth - 0.05), (height - 0.13, height - 0.05), darker(wood))
        )
        parts += _legs(width, (0.0, depth), height - 0.05, rng.uniform(0.05, 0.09), wood)
    return piece("table", parts + _clutter(rng, (-width / 4, width / 4), (depth / 4, depth * 3 / 4), height))


def bookshelf(rng: Rng) -> Piece:
    """Return a bookshelf: sides and boards with rows of coloured spines between them."""
    width = rng.uniform(0.7, 1.25)
    depth = rng.uniform(0.24, 0.36)
    height = rng.uniform(1.2, 2.05)
    wood = woody(rng)
    back = darker(darker(wood))
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
    return piece("bookshelf", parts)
