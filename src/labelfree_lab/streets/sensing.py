"""Simulated sensors in a street: images with class and object of each pixel, and turns of the LiDAR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelfree_lab.rooms.cameras import Camera
from labelfree_lab.rooms.render import box_hits, cast_solids, expose, pixel_rays, tube_hits
from labelfree_lab.rooms.shading import locate
from labelfree_lab.shapes.primitives import IGNORE, PrimitiveTable, Texture
from labelfree_lab.shapes.textures import albedo
from labelfree_lab.streets.street import Street

Floats = NDArray[np.float32]
RANGE_M = 70.0
"""Range of the LiDAR in metres."""
NOISE_M = 0.02
"""Standard deviation of its ranges in metres."""
LOST = 0.03
"""Share of returns that are lost."""
HAZE_M = 140.0
"""Scale of the haze in metres: its strength grows as 1 - exp(-distance / HAZE_M)."""
NEAREST_M = 0.8
"""Nearer returns, those of the vehicle itself, are left out; in metres."""


@dataclass(frozen=True, eq=False)
class Sight:
    """One image with the class and object of each pixel."""

    image: NDArray[np.uint8]  # [H, W, 3]
    classes: NDArray[np.uint8]  # [H, W], 255 for the sky
    instances: NDArray[np.int32]  # [H, W], 0 for the sky


@dataclass(frozen=True, eq=False)
class Returns:
    """One turn of the LiDAR, in the street's frame."""

    points: Floats  # [N, 3]
    intensity: Floats  # [N] 0..255
    classes: NDArray[np.uint8]  # [N]
    ray: NDArray[np.int64]  # [N] index of the ray of each return


def see(street: Street, camera: Camera, seconds: float, rng: np.random.Generator) -> Sight:
    """Return the image of a camera at a time in seconds."""
    table = street.at(seconds)
    height, width = camera.size
    eye, rays = pixel_rays(camera)
    depth, primitive = np.full(len(rays), np.inf, np.float32), np.full(len(rays), -1, np.int64)
    cast_solids(table, camera, eye, depth, primitive)
    hit = primitive >= 0
    light = _sky(street, rays)
    light[hit] = _lit(street, table, eye, rays[hit], depth[hit], primitive[hit])
    classes, instances = np.full(len(rays), IGNORE, np.uint8), np.zeros(len(rays), np.int32)
    classes[hit], instances[hit] = table.class_id[primitive[hit]], table.instance[primitive[hit]]
    shape = (height, width)
    return Sight(expose(light.reshape(*shape, 3), rng), classes.reshape(shape), instances.reshape(shape))


def _sky(street: Street, rays: Floats) -> Floats:  # [M, 3]
    up = rays[:, 2] / np.sqrt((rays * rays).sum(axis=1))
    share = np.clip(up * np.float32(1.5), 0, 1)[:, None]
    sky = np.array(street.sky, np.float32)
    return (1 - share) * np.float32(0.95) + share * sky * np.float32(0.85)


def _lit(
    street: Street,
    table: PrimitiveTable,
    eye: NDArray[np.float64],
    rays: Floats,
    depth: Floats,
    primitive: NDArray[np.int64],
) -> Floats:  # [M, 3]
    points = eye.astype(np.float32)[:, None] + rays.T * depth
    face, normals = locate(table, points, primitive)
    colour = albedo(table, face, primitive, table.texture[primitive])
    sun = np.array(street.sun, np.float32)
    facing = np.maximum(sun @ normals, 0)
    light = np.float32(street.ambient) * (1 + np.float32(0.3) * normals[2]) + np.float32(street.sun_strength) * facing
    low = np.where(normals[2] > 0.5, np.float32(1), np.float32(0.75) + np.float32(0.25) * np.clip(points[2], 0, 1))
    distance = depth * np.sqrt((rays * rays).sum(axis=1))
    haze = (1 - np.exp(-distance / np.float32(HAZE_M)))[:, None] * np.float32(0.6)
    seen: Floats = colour * (light * low)[:, None] * (1 - haze) + haze * np.array(street.sky, np.float32)
    return seen


def turn(
    street: Street,
    eye: NDArray[np.float64],  # [3] position of the LiDAR
    rays: Floats,  # [N, 3] unit
    seconds: float,
    rng: np.random.Generator,
) -> Returns:
    """Return the LiDAR's returns of one turn at a time."""
    # Cast the rays
    table = street.at(seconds)
    near_by = _near(table, eye)
    distance, primitive = np.full(len(rays), np.inf, np.float32), np.full(len(rays), -1, np.int64)
    for index in near_by:
        cos, sin = table.cos[index], table.sin[index]
        x, y, z = (eye - table.centre[index]).astype(np.float32)
        origin = np.array([cos * x + sin * y, cos * y - sin * x, z], np.float32)
        directions = [cos * rays[:, 0] + sin * rays[:, 1], cos * rays[:, 1] - sin * rays[:, 0], rays[:, 2]]
        enter = tube_hits if table.round[index] else box_hits
        near, far = enter(origin, directions, table.half[index])
        closer = (near <= far) & (near < distance) & (near > NEAREST_M)
        np.copyto(distance, near, where=closer)
        np.copyto(primitive, index, where=closer)
    # Returns within range
    back = (distance < RANGE_M) & (rng.random(len(rays)) > LOST)
    rows = np.flatnonzero(back)
    owner = primitive[rows]
    exact = eye.astype(np.float32)[:, None] + rays[rows].T * distance[rows]
    face, normals = locate(table, exact, owner)
    # Intensity and range noise
    bright = albedo(table, face, owner, table.texture[owner]).mean(axis=1)
    glass = table.texture[owner] == Texture.WINDOW
    upright = np.abs((normals * rays[rows].T).sum(axis=0))
    strength = np.where(glass, 0.1, bright) * (0.3 + 0.7 * upright) * np.exp(-distance[rows] / 60)
    noisy = distance[rows] + (rng.standard_normal(len(rows)) * NOISE_M).astype(np.float32)
    points = eye.astype(np.float32) + rays[rows] * noisy[:, None]
    intensity = np.clip(np.rint(strength * 160 + rng.standard_normal(len(rows)) * 3), 0, 255).astype(np.float32)
    return Returns(points, intensity, table.class_id[owner], rows)


def _near(table: PrimitiveTable, eye: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the indices of the primitives that are within range of the LiDAR."""
    reach = np.sqrt((table.half**2).sum(axis=1)) + RANGE_M
    away = np.sqrt(((table.centre - eye) ** 2).sum(axis=1))
    return np.flatnonzero(away < reach)
