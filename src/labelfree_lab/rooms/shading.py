"""Shading of surfaces: albedo, two point lights, ambient light and darkening where surfaces meet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelfree_lab.rooms.room import FLOOR_INSTANCE, Room
from labelfree_lab.shapes.primitives import PrimitiveTable, Texture
from labelfree_lab.shapes.textures import TOP_PATTERNS, Face, albedo, value_noise

Floats = NDArray[np.float32]
_TOPS = np.isin(np.arange(len(Texture)), TOP_PATTERNS)


def shade(
    room: Room,
    points: Floats,  # [3, M]
    primitive: NDArray[np.int64],  # [M]
    face: Face,
    normals: Floats,  # [3, M]
) -> Floats:
    """Return the light [M, 3] that reaches the camera from points on primitives."""
    texture = room.primitives.texture[primitive]
    colour = albedo(room.primitives, face, primitive, texture)
    dark = _corners(room, points, normals) * _contact(room, points, primitive)
    light = _lights(room, points, normals) * dark * _blotches(room, points)
    glowing = (texture == Texture.WINDOW) & face.front
    lit: Floats = colour * np.where(glowing, np.float32(1.15), light).T
    return lit


def locate(
    table: PrimitiveTable,
    points: Floats,  # [3, M]
    primitive: NDArray[np.int64],  # [M]
) -> tuple[Face, Floats]:
    """Return surface coordinates and outward normals [3, M] of points on primitives."""
    # Points in the primitives' frames
    centre, half = table.centre.T.take(primitive, axis=1), table.half.T.take(primitive, axis=1)
    cos, sin = table.cos[primitive], table.sin[primitive]
    dx, dy, z = points[0] - centre[0], points[1] - centre[1], points[2] - centre[2]
    x, y = cos * dx + sin * dy, cos * dy - sin * dx
    # Face of each point: the one that it exceeds most, in metres
    over_x, over_y, over_z = np.abs(x) - half[0], np.abs(y) - half[1], np.abs(z) - half[2]
    level = (over_z > over_x) & (over_z > over_y)
    broad = ~level & (over_y >= over_x)
    normal_x = np.where(level | broad, np.float32(0), np.sign(x))
    normal_y = np.where(broad, np.sign(y), np.float32(0))
    u = np.where(level | broad, x, y)
    # Curved sides of cylinders
    rows = np.flatnonzero(table.round[primitive])
    if len(rows):
        side, bent_x, bent_y, around = _bent(x[rows], y[rows], half[:, rows], over_z[rows])
        level[rows], broad[rows] = ~side, False
        normal_x[rows], normal_y[rows] = bent_x, bent_y
        u[rows] = np.where(side, around, x[rows])
    # Coordinates and normals
    normal_z = np.where(level, np.sign(z), np.float32(0))
    tops = _TOPS[table.texture[primitive]]
    face = Face(
        u=u,
        v=np.where(level, y, z),
        half_u=np.where(level | broad, half[0], half[1]),
        half_v=np.where(level, half[1], half[2]),
        front=(tops & level & (z > 0)) | (~tops & broad & (y > 0)),
    )
    return face, np.stack([cos * normal_x - sin * normal_y, sin * normal_x + cos * normal_y, normal_z])


def _bent(x: Floats, y: Floats, half: Floats, over_z: Floats) -> tuple[NDArray[np.bool_], Floats, Floats, Floats]:
    """Return for points on cylinders whether they are on the side, the side's normal (x, y) and metres around it."""
    sx, sy = x / half[0], y / half[1]
    radius = np.sqrt(sx * sx + sy * sy)
    side = (radius - 1) * np.minimum(half[0], half[1]) > over_z
    nx, ny = sx / half[0], sy / half[1]
    length = np.maximum(np.sqrt(nx * nx + ny * ny), np.float32(1e-6))
    return side, np.where(side, nx / length, 0), np.where(side, ny / length, 0), np.arctan2(sy, sx) * half[0]


def _lights(room: Room, points: Floats, normals: Floats) -> Floats:
    """Return ambient light, stronger from above, plus two Lambertian point lights that fade with distance: [3, M]."""
    up = np.float32(room.ambient) * (1 + np.float32(0.2) * normals[2] + np.float32(0.06) * normals[0])
    total = np.stack([up, up, up])
    for position, colour in zip(room.lights.astype(np.float32), room.light_colours.astype(np.float32), strict=True):
        x, y, z = position[:, None] - points
        square = x * x + y * y + z * z
        facing = x * normals[0] + y * normals[1] + z * normals[2]
        strength = np.maximum(facing / np.sqrt(square), 0) / (np.float32(0.6) + np.float32(0.2) * square)
        for channel in range(3):
            total[channel] += strength * colour[channel]
    return total


def _corners(room: Room, points: Floats, normals: Floats) -> Floats:
    """Return the darkening [M] of surfaces near other walls, the floor or the ceiling."""
    dark = np.ones(points.shape[1], np.float32)
    for axis in range(3):
        tilt = np.float32(0.3) * (1 - np.abs(normals[axis]))
        nearest = np.minimum(points[axis], np.float32(room.size[axis]) - points[axis])
        dark *= 1 - tilt * np.exp(nearest * np.float32(-5))
    return dark


def _blotches(room: Room, points: Floats) -> Floats:
    """Return bright and dark patches [M] on all surfaces, as of shadows, dirt and reflections."""
    amplitude = np.float32(room.style.uneven)
    if amplitude == 0:
        return np.ones(points.shape[1], np.float32)
    seed = np.full(points.shape[1], room.seed % (1 << 31), np.uint32)
    x, y, z = points * np.float32(2.2)
    coarse = value_noise(x + z * np.float32(0.7), y + z * np.float32(0.6), seed)
    fine = value_noise(x * 4 + z, y * 4 - z, seed + np.uint32(1))
    blotches: Floats = 1 + amplitude * (np.float32(1.4) * coarse + np.float32(0.6) * fine - np.float32(1))
    return blotches.astype(np.float32)


def _contact(room: Room, points: Floats, primitive: NDArray[np.int64]) -> Floats:
    """Return the darkening [M] of the floor under and around the pieces that stand on it."""
    dark = np.ones(points.shape[1], np.float32)
    rows = np.flatnonzero(room.primitives.instance[primitive] == FLOOR_INSTANCE)
    standing = np.flatnonzero((room.instance_low[:, 2] < 0.2) & (np.arange(len(room.instance_low)) >= 3))
    if len(rows) == 0 or len(standing) == 0:
        return dark
    x, y = points[0, rows][:, None], points[1, rows][:, None]
    low, high = room.instance_low[standing].astype(np.float32), room.instance_high[standing].astype(np.float32)
    away_x = np.maximum(np.maximum(low[:, 0] - x, x - high[:, 0]), 0)
    away_y = np.maximum(np.maximum(low[:, 1] - y, y - high[:, 1]), 0)
    nearest = (away_x * away_x + away_y * away_y).min(1)
    dark[rows] = 1 - np.float32(0.4) * np.exp(np.sqrt(nearest) * np.float32(-9))
    return dark
