"""Procedural textures: the albedo of surface points from their position on a primitive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree_lab.shapes.primitives import PrimitiveTable, Texture

Floats = NDArray[np.float32]
Numbers = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Face:
    """The positions of points on the faces of their primitives, one row each."""

    u: Floats  # [M] metres along the face, from its centre
    v: Floats  # [M] metres up the face, from its centre
    half_u: Floats  # [M] half the face's extent along u
    half_v: Floats  # [M]
    front: NDArray[np.bool_]  # [M] on the face with the pattern: +y, or the top of hobs and basins


@dataclass(frozen=True)
class Surface(Face):
    """Points on faces, with their materials."""

    colours: Floats  # [M, 3, 3]
    params: Floats  # [M, 4]
    seed: NDArray[np.uint32]  # [M]


def hash_unit(
    x: NDArray[np.int32],  # [M]
    y: NDArray[np.int32],  # [M]
    seed: NDArray[np.uint32],  # [M]
) -> Floats:
    """Return a number in [0, 1) per integer cell, the same on every machine (a 32-bit mixing hash)."""
    h = x.astype(np.uint32) * np.uint32(0x85EBCA6B) ^ y.astype(np.uint32) * np.uint32(0xC2B2AE35) ^ seed
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x2C1B3C6D)
    h ^= h >> np.uint32(12)
    h *= np.uint32(0x297A2D39)
    h ^= h >> np.uint32(15)
    return (h >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def cell(values: Numbers) -> NDArray[np.int32]:
    """Return the integer cell of each coordinate."""
    return np.floor(values).astype(np.int32)


def value_noise(x: Numbers, y: Numbers, seed: NDArray[np.uint32]) -> Floats:
    """Return smooth noise in [0, 1): hashes of the integer lattice, interpolated with smoothstep weights."""
    left, low = cell(x), cell(y)
    fx, fy = x - left, y - low
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    bottom = hash_unit(left, low, seed) * (1 - fx) + hash_unit(left + 1, low, seed) * fx
    top = hash_unit(left, low + 1, seed) * (1 - fx) + hash_unit(left + 1, low + 1, seed) * fx
    noise: Floats = bottom * (1 - fy) + top * fy
    return noise


def mix(first: Floats, second: Floats, share: Floats) -> Floats:
    """Return two colours [M, 3] blended by a share [M] of the second."""
    blend: Floats = first + (second - first) * share[:, None]
    return blend


def plain(s: Surface) -> Floats:
    """Return the colours [M, 3] of one colour with faint stains."""
    return s.colours[:, 0] * (0.95 + 0.1 * value_noise(s.u * 7, s.v * 7, s.seed))[:, None]


def wood(s: Surface) -> Floats:
    """Return the colours [M, 3] of wood with grain along the longer side of the face."""
    along = np.where(s.half_u >= s.half_v, s.u, s.v)
    across = np.where(s.half_u >= s.half_v, s.v, s.u)
    grain = value_noise(along * 2.5, across * 32, s.seed)
    return mix(s.colours[:, 0], s.colours[:, 1], grain * grain * np.float32(0.9))


def planks(s: Surface) -> Floats:
    """Return the colours [M, 3] of boards, each with its own tone, with dark joints and light grain."""
    width, length = s.params[:, 0], s.params[:, 1]
    row = cell(s.v / width)
    shift = hash_unit(row, row * 0, s.seed)
    column = cell(s.u / length + shift)
    tone = hash_unit(row, column + 7, s.seed)
    joint = np.abs(s.v / width - row - 0.5) > 0.5 - 0.006 / width
    joint |= np.abs(s.u / length + shift - column - 0.5) > 0.5 - 0.006 / length
    grain = value_noise(s.u * 3, s.v * 40, s.seed)
    colour = mix(s.colours[:, 0], s.colours[:, 1], tone * np.float32(0.6) + grain * np.float32(0.25))
    return colour * np.where(joint, np.float32(0.55), np.float32(1.0))[:, None]


def tiles(s: Surface) -> Floats:
    """Return the colours [M, 3] of square tiles with grout lines."""
    size = s.params[:, 0]
    x, y = s.u / size, s.v / size
    column, row = cell(x), cell(y)
    gap = 0.5 - np.float32(0.008) / np.maximum(size, 0.1)
    grout = (np.abs(x - column - 0.5) > gap) | (np.abs(y - row - 0.5) > gap)
    tone = 0.92 + 0.16 * hash_unit(column, row, s.seed)
    return mix(s.colours[:, 0] * tone[:, None], s.colours[:, 1], grout.astype(np.float32))


def fabric(s: Surface) -> Floats:
    """Return the colours [M, 3] of a coarse weave."""
    weave = hash_unit(cell(s.u * 55), cell(s.v * 55), s.seed)
    soft = value_noise(s.u * 6, s.v * 6, s.seed)
    return s.colours[:, 0] * (0.82 + 0.2 * weave + 0.16 * soft)[:, None]


def stripes(s: Surface) -> Floats:
    """Return the colours [M, 3] of bands in two colours; the second parameter sets their direction."""
    band = np.where(s.params[:, 1] > 0.5, s.u, s.v) / s.params[:, 0]
    share = ((band - np.floor(band)) > 0.5).astype(np.float32)
    return mix(s.colours[:, 0], s.colours[:, 1], share) * (0.94 + 0.12 * value_noise(s.u * 9, s.v * 9, s.seed))[:, None]


def speckle(s: Surface) -> Floats:
    """Return the colours [M, 3] of stone or carpet: fine random grains."""
    grain = hash_unit(cell(s.u * 60), cell(s.v * 60), s.seed)
    soft = value_noise(s.u * 5, s.v * 5, s.seed)
    return mix(s.colours[:, 0], s.colours[:, 1], np.float32(0.7) * grain * grain + np.float32(0.2) * soft)


def dots(s: Surface) -> Floats:
    """Return the colours [M, 3] of round spots on a grid."""
    pitch = np.maximum(s.params[:, 0], np.float32(0.05))
    x, y = s.u / pitch, s.v / pitch
    fx, fy = x - np.floor(x) - 0.5, y - np.floor(y) - 0.5
    share = np.clip((np.float32(0.3) - np.sqrt(fx * fx + fy * fy)) * 12, 0, 1).astype(np.float32)
    return mix(s.colours[:, 0], s.colours[:, 1], share)


def books(s: Surface) -> Floats:
    """Return the colours [M, 3] of book spines of two hues and many tones, with dark gaps above shorter books."""
    width = s.params[:, 0]
    column = cell(s.u / width)
    tone = hash_unit(column, column * 0 + 1, s.seed)
    pick = hash_unit(column, column * 0 + 2, s.seed)
    free = np.stack([hash_unit(column, column * 0 + 3 + k, s.seed) for k in range(3)], 1) * np.float32(0.8) + 0.08
    colour = np.where((pick < 0.35)[:, None], s.colours[:, 1], s.colours[:, 2])
    colour = np.where((pick > 0.6)[:, None], free, colour) * (0.6 + 0.55 * tone)[:, None]
    place = s.u / width - column
    band = np.abs(s.v / s.half_v - 0.35) < 0.07 * (tone > 0.5)
    colour = colour * np.where(band, np.float32(1.5), np.float32(1.0))[:, None]
    height = hash_unit(column, column * 0 + 9, s.seed)
    gap = (np.abs(place - 0.5) > 0.42) | (s.v / s.half_v > 1.02 - 0.4 * height)
    return np.where((gap | ~s.front)[:, None], s.colours[:, 0] * np.float32(0.5), np.minimum(colour, 0.95))


def _knob(s: Surface, rows: Floats, columns: Floats, x: Numbers, y: Numbers) -> NDArray[np.bool_]:
    kind = s.params[:, 2]
    column = cell(x)
    inner = np.where(column * 2 < columns - 1, 0.86, 0.14)
    place = np.where(kind == 1, inner, np.where(kind == 4, 0.86, 0.5))
    level = np.where(kind == 3, 0.8, np.where(kind == 5, 5.0, 0.5))
    du = (x - column - place) * 2 * s.half_u / columns
    dv = (y - np.floor(y) - level) * 2 * s.half_v / rows
    bar = kind == 3
    hit: NDArray[np.bool_] = (np.abs(du) < np.where(bar, 0.09, 0.028)) & (np.abs(dv) < np.where(bar, 0.018, 0.028))
    return hit & (kind > 0)


def panels(s: Surface) -> Floats:
    """Return the colours [M, 3] of fronts in rows and columns with seams, bevels and knobs; other faces are plain."""
    rows, columns = s.params[:, 0], s.params[:, 1]
    x = (s.u / s.half_u + 1) / 2 * columns
    y = (s.v / s.half_v + 1) / 2 * rows
    # Metres to the nearest seam; the signs of fx and fy tell the lit bevels from the shaded ones.
    fx, fy = x - np.floor(x) - 0.5, y - np.floor(y) - 0.5
    to_side = (0.5 - np.abs(fx)) * 2 * s.half_u / columns
    to_level = (0.5 - np.abs(fy)) * 2 * s.half_v / rows
    edge = np.minimum(to_side, to_level)
    inset = s.params[:, 3] * np.minimum(s.half_u / columns, s.half_v / rows) * np.float32(0.7)
    bevel = (edge > inset) & (edge < inset + 0.02)
    light = np.where(np.where(to_level < to_side, fy < 0, fx > 0), np.float32(1.25), np.float32(0.65))
    tone = np.where(bevel, light, np.where(edge > inset, np.float32(0.92), np.float32(1.0)))
    tone = np.where(edge < 0.009, np.float32(0.4), tone)
    grain = value_noise(s.u * 24, s.v * 3, s.seed)
    colour = s.colours[:, 0] * (0.9 + 0.16 * grain)[:, None]
    front = np.where(_knob(s, rows, columns, x, y)[:, None], s.colours[:, 2], colour * tone[:, None])
    return np.where(s.front[:, None], front, colour)


def picture(s: Surface) -> Floats:
    """Return the colours [M, 3] of a framed picture: a mat, and inside a horizon with three blobs."""
    edge = np.minimum(s.half_u - np.abs(s.u), s.half_v - np.abs(s.v))
    x, y = s.u / s.half_u, s.v / s.half_v
    zero = np.zeros(len(x), np.int32)
    horizon = hash_unit(zero, zero + 20, s.seed) - np.float32(0.5)
    hills = value_noise(x * 3, x * 0, s.seed) * np.float32(0.5)
    ground = np.stack([hash_unit(zero + 1, zero + k, s.seed) for k in range(3)], 1) * np.float32(0.85)
    art = np.where(((y < horizon + hills - 0.2) & (s.params[:, 2] > 0.5))[:, None], ground, s.colours[:, 2])
    for blob in range(3):
        spot = [hash_unit(zero + 2 + blob, zero + k, s.seed) for k in range(6)]
        dx, dy = x - (spot[0] * 1.2 - 0.6), y - (spot[1] * 1.2 - 0.6)
        inside = dx * dx + dy * dy < (0.15 + 0.3 * spot[2]) ** 2
        art = np.where(inside[:, None], np.stack(spot[3:], 1) * np.float32(0.9), art)
    framed = np.where((edge < s.params[:, 0] + s.params[:, 1])[:, None], s.colours[:, 1], art)
    return np.where(((edge < s.params[:, 0]) | ~s.front)[:, None], s.colours[:, 0], framed)


def window(s: Surface) -> Floats:
    """Return the colours [M, 3] of a window: sky over hills behind mullions."""
    columns, rows = s.params[:, 0], s.params[:, 1]
    x: Numbers = (s.u / s.half_u + 1) / 2
    y: Numbers = (s.v / s.half_v + 1) / 2
    skyline = 0.5 + s.params[:, 2] * 0.5 + 0.3 * (value_noise(x * 4, x * 0, s.seed) - 0.5)
    sky = s.colours[:, 2] * (0.82 + 0.25 * y)[:, None]
    land = s.colours[:, 1] * (0.8 + 0.4 * value_noise(x * 9, y * 9, s.seed))[:, None]
    view = np.where((y < skyline)[:, None], land, sky) + np.float32(0.12)
    bar_x = np.abs(x * columns - np.round(x * columns)) * 2 * s.half_u / columns
    bar_y = np.abs(y * rows - np.round(y * rows)) * 2 * s.half_v / rows
    bar = np.minimum(bar_x, bar_y) < 0.025
    return np.where((bar | ~s.front)[:, None], s.colours[:, 0] * np.float32(0.8), view)


def folds(s: Surface) -> Floats:
    """Return the colours [M, 3] of a textile with horizontal bands; its folds are geometry."""
    band = s.v / s.params[:, 0]
    share = ((band - np.floor(band)) > 0.5).astype(np.float32)
    return mix(s.colours[:, 0], s.colours[:, 1], share) * (0.9 + 0.2 * value_noise(s.u * 30, s.v * 2, s.seed))[:, None]


def hob(s: Surface) -> Floats:
    """Return the colours [M, 3] of a hob: four rings on a dark plate."""
    x, y = np.abs(s.u) / s.half_u - 0.5, np.abs(s.v) / s.half_v - 0.5
    radius = np.sqrt(x * x + y * y)
    ring = np.where((radius < 0.36) & (radius > 0.2), s.colours[:, 2].T, s.colours[:, 0].T).T
    return np.where((radius < 0.2)[:, None], s.colours[:, 1], ring)


def basin(s: Surface) -> Floats:
    """Return the colours [M, 3] of a basin: a rim around a hollow that darkens inwards."""
    x, y = np.abs(s.u) / s.half_u, np.abs(s.v) / s.half_v
    radius = np.sqrt(x * x + y * y) * np.float32(0.6) + np.maximum(x, y) * np.float32(0.4)
    inside = s.colours[:, 1] * (0.6 + 0.6 * radius)[:, None]
    return np.where((radius < 0.72)[:, None] & s.front[:, None], inside, s.colours[:, 0])


def facade(s: Surface) -> Floats:
    """Return the colours [M, 3] of a wall with windows; parameters are bay width, storey height and window share."""
    bay, storey, share = s.params[:, 0], s.params[:, 1], s.params[:, 2]
    x, y = s.u / bay, (s.v + s.half_v) / storey
    column, row = cell(x), cell(y)
    glass = (np.abs(x - column - 0.5) < 0.5 * share) & (np.abs(y - row - 0.55) < 0.5 * share)
    tone = 0.7 + 0.6 * hash_unit(column, row, s.seed)
    wall = s.colours[:, 0] * (0.92 + 0.12 * value_noise(s.u * 1.5, s.v * 1.5, s.seed))[:, None]
    return np.where(glass[:, None], s.colours[:, 2] * tone[:, None], wall)


def foliage(s: Surface) -> Floats:
    """Return the colours [M, 3] of clumps of leaves in light and shadow."""
    clumps = value_noise(s.u * 4, s.v * 4, s.seed) * np.float32(0.6) + value_noise(s.u * 14, s.v * 14, s.seed) * 0.4
    return mix(s.colours[:, 1], s.colours[:, 0], clumps.astype(np.float32))


def ground(s: Surface) -> Floats:
    """Return the colours [M, 3] of asphalt, earth or lawn: stains, and grain of the size of the first parameter."""
    size = np.maximum(s.params[:, 0], np.float32(0.05))
    stains = value_noise(s.u * 0.6, s.v * 0.6, s.seed)
    grain = value_noise(s.u / size, s.v / size, s.seed)
    return mix(s.colours[:, 0], s.colours[:, 1], (0.5 * stains + 0.5 * grain).astype(np.float32))


PATTERNS: dict[int, Callable[[Surface], Floats]] = {
    Texture.PLAIN: plain,
    Texture.WOOD: wood,
    Texture.PLANKS: planks,
    Texture.TILES: tiles,
    Texture.FABRIC: fabric,
    Texture.STRIPES: stripes,
    Texture.SPECKLE: speckle,
    Texture.DOTS: dots,
    Texture.BOOKS: books,
    Texture.PANELS: panels,
    Texture.PICTURE: picture,
    Texture.WINDOW: window,
    Texture.FOLDS: folds,
    Texture.HOB: hob,
    Texture.BASIN: basin,
    Texture.FACADE: facade,
    Texture.FOLIAGE: foliage,
    Texture.GROUND: ground,
}
TOP_PATTERNS = (Texture.HOB, Texture.BASIN)
"""Patterns on the top face; all other patterns with a front are on +y."""


def albedo(
    table: PrimitiveTable,
    face: Face,
    primitive: NDArray[np.int64],  # [M]
    texture: NDArray[np.uint8],  # [M]
) -> Floats:
    """Return the colours [M, 3] of surface points."""
    colours: Floats = np.empty((len(texture), 3), np.float32)
    for kind in np.flatnonzero(np.bincount(texture)):
        rows = np.flatnonzero(texture == kind)
        owner = primitive[rows]
        surface = Surface(
            u=face.u[rows],
            v=face.v[rows],
            half_u=face.half_u[rows],
            half_v=face.half_v[rows],
            front=face.front[rows],
            colours=table.colours.take(owner, axis=0),
            params=table.params.take(owner, axis=0),
            seed=table.seed.take(owner),
        )
        colours[rows] = PATTERNS[int(kind)](surface)
    return colours
