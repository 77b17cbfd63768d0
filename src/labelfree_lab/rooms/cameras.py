"""Cameras in a room: hand-held walks for scans, and single photographs of objects."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelfree_lab.rooms.room import CEILING_INSTANCE, Room
from labelfree_lab.shapes.primitives import IGNORE, SHELL, PrimitiveTable

Floats = NDArray[np.float64]
CLEARANCE = 0.2
"""Smallest distance of a camera from every surface in metres."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: OpenCV axes, pixel centres at integer + 0.5."""

    intrinsics: Floats  # [3, 3]
    world_to_camera: Floats  # [4, 4]
    size: tuple[int, int]
    """Height and width in pixels."""

    def centre_world(self) -> Floats:
        """Return the camera centre [3] in the world, in metres."""
        rotation, shift = self.world_to_camera[:3, :3], self.world_to_camera[:3, 3]
        return -(rotation[0] * shift[0] + rotation[1] * shift[1] + rotation[2] * shift[2])


def look_at(
    eye: Floats,  # [3]
    target: Floats,  # [3]
    fov: float,
    size: tuple[int, int],
    roll: float = 0.0,
) -> Camera:
    """Return a camera at `eye` that looks at `target`, with a horizontal field of view and a roll in radians."""
    forward = target - eye
    forward = forward / math.sqrt(float((forward * forward).sum()))
    right = np.array([forward[1], -forward[0], 0.0])
    right = right / math.sqrt(float((right * right).sum()))
    down = np.array(
        [
            forward[1] * right[2] - forward[2] * right[1],
            forward[2] * right[0] - forward[0] * right[2],
            forward[0] * right[1] - forward[1] * right[0],
        ]
    )
    cos, sin = math.cos(roll), math.sin(roll)
    rotation = np.stack([cos * right + sin * down, cos * down - sin * right, forward])
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = -(rotation[:, 0] * eye[0] + rotation[:, 1] * eye[1] + rotation[:, 2] * eye[2])
    focal = size[1] / 2 / math.tan(fov / 2)
    intrinsics = np.array([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1.0]])
    return Camera(intrinsics, pose, size)


def clearance(
    room: Room,
    points: Floats,  # [M, 3]
) -> Floats:
    """Return the metres [M] from points to the nearest surface; negative inside an object or outside the room."""
    to_walls = np.minimum(points, np.array(room.size) - points).min(1)
    nearest: Floats = np.minimum(to_walls, solid_clearance(room.primitives, points, SHELL))
    return nearest


def solid_clearance(
    table: PrimitiveTable,
    points: Floats,  # [M, 3]
    first: int = 0,
) -> Floats:
    """Return the metres [M] from points to the nearest primitive from index `first` on; negative inside one."""
    offset = points[:, None] - table.centre[first:]
    cos, sin = table.cos[first:], table.sin[first:]
    x = np.abs(cos * offset[..., 0] + sin * offset[..., 1]) - table.half[first:, 0]
    y = np.abs(cos * offset[..., 1] - sin * offset[..., 0]) - table.half[first:, 1]
    z = np.abs(offset[..., 2]) - table.half[first:, 2]
    outside = np.sqrt(np.maximum(x, 0) ** 2 + np.maximum(y, 0) ** 2 + np.maximum(z, 0) ** 2)
    nearest: Floats = (outside + np.minimum(np.maximum(np.maximum(x, y), z), 0)).min(1)
    return nearest


def first_seen(
    table: PrimitiveTable,
    eyes: Floats,  # [M, 3]
    targets: Floats,  # [M, 3]
    first: int = 0,
) -> tuple[NDArray[np.int64], Floats]:
    """Return the first instance [M] between each eye and its target (0 for none), and its share of the way [M].

    Primitives before index `first` do not count; cylinders count as their bounding boxes.
    """
    ray, offset = targets - eyes, eyes[:, None] - table.centre[first:]
    cos, sin = table.cos[first:], table.sin[first:]
    origins = (cos * offset[..., 0] + sin * offset[..., 1], cos * offset[..., 1] - sin * offset[..., 0], offset[..., 2])
    x, y, z = ray[:, :1], ray[:, 1:2], ray[:, 2:]
    directions = (cos * x + sin * y, cos * y - sin * x, np.broadcast_to(z, offset.shape[:2]))
    near, far = np.full(offset.shape[:2], 1e-6), np.full(offset.shape[:2], np.inf)
    for axis in range(3):
        inverse = 1 / np.where(np.abs(directions[axis]) < 1e-9, 1e-9, directions[axis])
        middle, reach = -origins[axis] * inverse, table.half[first:, axis] * np.abs(inverse)
        near, far = np.maximum(near, middle - reach), np.minimum(far, middle + reach)
    entry = np.where(near <= far, near, np.inf)
    best = entry.argmin(1)
    share = np.take_along_axis(entry, best[:, None], 1)[:, 0]
    instance = np.where(share <= 1.1, table.instance[first:][best], 0).astype(np.int64)
    return instance, np.minimum(share, 1.0)


def walk(room: Room, views: int, size: tuple[int, int] = (96, 128), seed: int | None = None) -> list[Camera]:
    """Return the cameras of a hand-held walk that look across the room; the seed is the room's by default."""
    # Properties of the walk
    rng = np.random.Generator(np.random.PCG64([room.seed if seed is None else seed, room.seed, 1]))
    length, width, _ = room.size
    phase, way = rng.uniform(0, 2 * math.pi), 1 if rng.random() < 0.5 else -1
    fov = rng.uniform(1.28, 1.4)
    height = rng.uniform(1.3, 1.55)
    spread = rng.uniform(0.22, 0.32)
    # One camera per view
    cameras = []
    for index in range(views):
        angle = phase + way * 2 * math.pi * (index + rng.uniform(-0.15, 0.15)) / max(views, 1)
        step = np.array([math.cos(angle), math.sin(angle)])
        wobble = rng.uniform(-0.12, 0.12, 2)
        wanted = np.array([length / 2, width / 2]) + step * np.array([length, width]) * spread + wobble
        level = float(np.clip(height + 0.12 * math.sin(2 * angle) + rng.uniform(-0.08, 0.08), 1.12, 1.68))
        ahead = angle + math.pi + rng.uniform(-0.25, 0.25)
        target = np.array(
            [
                length / 2 + math.cos(ahead) * length * 0.4,
                width / 2 + math.sin(ahead) * width * 0.4,
                rng.uniform(0.55, 0.9),
            ]
        )
        eye = _free_eye(room, np.array([*wanted, level]), target)
        cameras.append(look_at(eye, target, fov, size, roll=rng.normal(0, 0.03)))
    return cameras


def _free_eye(room: Room, wanted: Floats, target: Floats) -> Floats:
    """Return the free position [3] nearest to the wanted one, if possible with a clear view of the target."""
    xs = np.arange(0.25, room.size[0] - 0.2, 0.25)
    ys = np.arange(0.25, room.size[1] - 0.2, 0.25)
    grid = np.stack(np.meshgrid(xs, ys, indexing="ij"), -1).reshape(-1, 2)
    grid = grid[((grid - wanted[:2]) ** 2).sum(1) < 1.0]
    spots = np.concatenate([wanted[None, :2], grid])
    places = np.concatenate([np.insert(spots, 2, level, axis=1) for level in (wanted[2], 1.65)])
    places = places[clearance(room, places) > CLEARANCE]
    if len(places) == 0:
        return np.array([room.size[0] / 2, room.size[1] / 2, room.size[2] - CLEARANCE])
    away = np.sqrt(((places - wanted) ** 2).sum(1))
    _, share = first_seen(room.primitives, places, np.broadcast_to(target, places.shape), SHELL)
    open_view = share * np.sqrt(((places - target) ** 2).sum(1))
    cost = away + 2.0 * np.maximum(1.3 - open_view, 0)
    best: Floats = places[int(cost.argmin())]
    return best


def photo_cameras(room: Room, count: int, size: tuple[int, int] = (96, 128), seed: int = 0) -> list[Camera]:
    """Return cameras that photograph one object each; its class is drawn uniformly from the classes in the room."""
    rng = np.random.Generator(np.random.PCG64([room.seed, seed, 2]))
    pieces = np.arange(CEILING_INSTANCE, len(room.instance_class))
    pieces = pieces[room.instance_class[pieces] != IGNORE]
    present = np.unique(room.instance_class[pieces])
    cameras = []
    for _ in range(count):
        label = present[int(rng.integers(len(present)))]
        same = pieces[room.instance_class[pieces] == label]
        cameras.append(_photo(room, int(same[int(rng.integers(len(same)))]), size, rng))
    return cameras


def _photo(room: Room, piece: int, size: tuple[int, int], rng: np.random.Generator, tries: int = 64) -> Camera:
    """Return a camera that sees one piece (row of the instance table), with a random field of view."""
    low, high = room.instance_low[piece], room.instance_high[piece]
    target = low + (high - low) * rng.uniform(0.25, 0.75, 3)
    aim = target + rng.normal(0, 0.15, 3)
    angle, distance = rng.uniform(0, 2 * math.pi, tries), rng.uniform(0.9, 2.8, tries)
    eyes = np.stack(
        [target[0] + np.cos(angle) * distance, target[1] + np.sin(angle) * distance, rng.uniform(0.7, 1.9, tries)], 1
    )
    free = clearance(room, eyes) > CLEARANCE
    seen, _ = first_seen(room.primitives, eyes, np.broadcast_to(target, eyes.shape), SHELL)
    score = free * 2 + (free & (seen == piece + 1))
    fov, roll = rng.uniform(0.8, 1.45), rng.normal(0, 0.04)
    best = int(score.argmax())
    eye = (
        eyes[best] if score[best] >= 2 else _free_eye(room, np.array([room.size[0] / 2, room.size[1] / 2, 1.5]), target)
    )
    return look_at(eye, aim, fov, size, roll)
