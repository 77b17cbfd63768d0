"""Images of a street for the teachers' corpus: photographs of one object each, and images of the vehicle's cameras."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelfree_lab.rooms.cameras import Camera, first_seen, look_at, solid_clearance
from labelfree_lab.shapes.primitives import PrimitiveTable
from labelfree_lab.streets.drive import Picture
from labelfree_lab.streets.route import KEY_FRAME_US, DriveSize, StreetDrive, drive_through
from labelfree_lab.streets.sensing import Sight, see
from labelfree_lab.streets.street import Street

Floats = NDArray[np.float64]
Rng = np.random.Generator
LOW_M, HIGH_M = np.array([-20.0, -16.0, -1.0]), np.array([60.0, 16.0, 9.0])
"""Corners of the part of a street that is photographed: where drives pass, up to the front of the buildings."""
FREE_M = 0.3
"""Smallest distance of a camera from every surface in metres."""
TRIES = 64


@dataclass(frozen=True, eq=False)
class Things:
    """The objects between `LOW_M` and `HIGH_M`, with bounds clipped to them."""

    instance: NDArray[np.int64]  # [I]
    class_id: NDArray[np.int64]  # [I]
    low: Floats  # [I, 3]
    high: Floats  # [I, 3]


def street_pictures(seed: int, photos: int, views: int, size: tuple[int, int]) -> list[Sight | Picture]:
    """Return photographs of a street's objects, then images of the vehicle's cameras during a drive through it."""
    drive = drive_through(seed, "photos", DriveSize(image_size=size))
    rng = np.random.Generator(np.random.PCG64([seed, 2]))
    return [take_photo(drive, size, rng) for _ in range(photos)] + drive_views(drive, views)


def drive_views(drive: StreetDrive, count: int) -> list[Sight | Picture]:
    """Return images at random times of a drive, from one camera after another in random order."""
    rng = np.random.Generator(np.random.PCG64([drive.street.seed, 1]))
    order = rng.permutation(len(drive.rig.cameras))
    times = rng.integers(0, len(drive) * KEY_FRAME_US, count)
    cameras = [drive.rig.cameras[order[place % len(order)]] for place in range(count)]
    return [drive.picture(camera, drive.start_us + int(time)) for camera, time in zip(cameras, times)]


def take_photo(drive: StreetDrive, size: tuple[int, int], rng: Rng) -> Sight:
    """Return a photograph of one object at a random time; its class is drawn uniformly from those in view range."""
    seconds = float(rng.uniform(0, len(drive) * KEY_FRAME_US / 1e6))
    return see(drive.street, aim_camera(drive.street, seconds, size, rng), seconds, rng)


def aim_camera(street: Street, seconds: float, size: tuple[int, int], rng: Rng) -> Camera:
    """Return a camera in free space that looks at a random object; a hidden object is replaced by another."""
    table = street.at(seconds)
    things = find_things(table)
    while True:
        present = np.unique(things.class_id)
        label = present[int(rng.integers(len(present)))]
        same = np.flatnonzero(things.class_id == label)
        thing = int(same[int(rng.integers(len(same)))])
        targets, eyes = _places(things, thing, rng)
        free = solid_clearance(table, eyes) > FREE_M
        seen, _ = first_seen(table, eyes, targets)
        good = np.flatnonzero(free & (seen == things.instance[thing]))
        fov, roll = rng.uniform(0.7, 1.3), rng.normal(0, 0.03)
        if len(good):
            eye, target = eyes[good[0]], targets[good[0]]
            away = math.sqrt(float(((target - eye) ** 2).sum()))
            return look_at(eye, target + rng.normal(0, 0.06 * away, 3), float(fov), size, float(roll))


def _places(things: Things, thing: int, rng: Rng) -> tuple[Floats, Floats]:  # [T, 3], [T, 3]
    """Return random points of an object and for each a viewpoint, at a distance that grows with the object's size."""
    low, high = things.low[thing], things.high[thing]
    targets = low + (high - low) * rng.uniform(0.2, 0.8, (TRIES, 3))
    reach = min(max(math.sqrt(float(((high - low) ** 2).sum())), 0.8), 8.0)
    distance = 1.0 + reach * np.exp(rng.uniform(0.0, math.log(3.0), TRIES))
    distance *= np.where(rng.random(TRIES) < 0.2, rng.uniform(1.5, 2.5, TRIES), 1.0)
    angle = rng.uniform(0, 2 * math.pi, TRIES)
    x, y = targets[:, 0] + np.cos(angle) * distance, targets[:, 1] + np.sin(angle) * distance
    return targets, np.stack([x, y, rng.uniform(0.8, 2.2, TRIES)], 1)


def find_things(table: PrimitiveTable) -> Things:
    """Return the objects of a street between `LOW_M` and `HIGH_M`, with their bounding boxes."""
    cos, sin, half = np.abs(table.cos), np.abs(table.sin), table.half
    wide = np.stack([cos * half[:, 0] + sin * half[:, 1], sin * half[:, 0] + cos * half[:, 1], half[:, 2]], 1)
    instance, row = np.unique(table.instance, return_inverse=True)
    low, high = np.full((len(instance), 3), np.inf), np.full((len(instance), 3), -np.inf)
    np.minimum.at(low, row, table.centre - wide)
    np.maximum.at(high, row, table.centre + wide)
    class_id = np.zeros(len(instance), np.int64)
    class_id[row] = table.class_id
    low, high = np.maximum(low, LOW_M), np.minimum(high, HIGH_M)
    inside = (low < high).all(1)
    return Things(instance[inside].astype(np.int64), class_id[inside], low[inside], high[inside])
