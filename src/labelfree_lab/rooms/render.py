"""Ray casting of a room: colour, z-depth, class and instance per pixel.

Each primitive is tested against the pixels of its screen-space bounding box; the nearest hit of a pixel remains.
Only elementwise NumPy is used, so that a view is equal on all machines up to the last bit of rounding.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelfree_lab.rooms.cameras import Camera
from labelfree_lab.rooms.room import Room
from labelfree_lab.rooms.sensing import bled, blurred, measured_depth, neighbours
from labelfree_lab.rooms.shading import locate, shade
from labelfree_lab.rooms.style import DepthErrors
from labelfree_lab.shapes.primitives import SHELL, PrimitiveTable, Texture

Floats = NDArray[np.float32]
NEAR = 0.02
NO_ERRORS = DepthErrors()
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
EDGES = np.array([(0, 1), (2, 3), (4, 5), (6, 7), (0, 2), (1, 3), (4, 6), (5, 7), (0, 4), (1, 5), (2, 6), (3, 7)])


@dataclass(frozen=True)
class View:
    """The rendered view of one camera."""

    image: NDArray[np.uint8]  # [H, W, 3]
    depth_m: NDArray[np.float32]  # [H, W] along the optical axis, 0 where the sensor has none
    classes: NDArray[np.uint8]  # [H, W], 255 on the ceiling and on loose objects
    instances: NDArray[np.uint16]  # [H, W] from 1; walls 1, floor 2, ceiling 3
    parts: NDArray[np.uint16]  # [H, W] from 1; the parts of an instance differ in their material
    camera: Camera
    measured_classes: NDArray[np.uint8]  # [H, W] of the surface whose depth a pixel has


def render(room: Room, camera: Camera, seed: int = 0) -> View:
    """Return the view of a camera in a room; `seed` draws exposure, white balance and the sensors' errors."""
    height, width = camera.size
    eye, rays = pixel_rays(camera)
    depth, primitive = cast(room, camera, eye, rays)
    rng = np.random.Generator(np.random.PCG64([room.seed, seed, _pose_hash(camera)]))
    points = eye.astype(np.float32)[:, None] + rays.T * depth
    face, normals = locate(room.primitives, points, primitive)
    light = shade(room, points, primitive, face, normals).reshape(height, width, 3)
    style = room.style
    image = expose(bled(blurred(light, style.image, rng), style.image), rng, style.image.noise)
    classes = room.primitives.class_id[primitive]
    seen, measured = classes, depth.reshape(height, width)
    if style.depth != NO_ERRORS:
        source = neighbours(camera.size, style.depth, rng)
        cosine = np.abs((normals * rays.T).sum(0)) / np.sqrt((rays * rays).sum(1))
        glass = (room.primitives.texture[primitive] == Texture.WINDOW) & face.front
        true, facing = (values[source].reshape(height, width) for values in (depth, cosine))
        transparent = glass[source].reshape(height, width)
        seen, measured = classes[source], measured_depth(true, facing, transparent, style.depth, rng)
    return View(
        image=image,
        depth_m=measured,
        classes=classes.reshape(height, width),
        instances=room.primitives.instance[primitive].reshape(height, width),
        parts=room.part[primitive].reshape(height, width),
        camera=camera,
        measured_classes=seen.reshape(height, width),
    )


def pixel_rays(camera: Camera) -> tuple[NDArray[np.float64], Floats]:
    """Return the camera centre [3] and one ray per pixel [H*W, 3] in the world, of unit depth."""
    rotation = camera.world_to_camera[:3, :3]
    x, y = _plane(camera)
    rays = rotation[0] * x[None, :, None] + rotation[1] * y[:, None, None] + rotation[2]
    return camera.centre_world(), rays.reshape(-1, 3).astype(np.float32)


def _plane(camera: Camera) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the pixel centres on the plane at unit depth: columns [W] and rows [H]."""
    k = camera.intrinsics
    x = (np.arange(camera.size[1]) + 0.5 - k[0, 2]) / k[0, 0]
    y = (np.arange(camera.size[0]) + 0.5 - k[1, 2]) / k[1, 1]
    return x, y


def cast(
    room: Room,
    camera: Camera,
    eye: NDArray[np.float64],  # [3]
    rays: Floats,  # [H*W, 3]
) -> tuple[Floats, NDArray[np.int64]]:
    """Return depth [H*W] in metres and index [H*W] of the nearest primitive along every ray."""
    depth, primitive = _shell(room, eye, rays)
    cast_solids(room.primitives, camera, eye, depth, primitive, first=SHELL)
    return depth, primitive


def cast_solids(
    table: PrimitiveTable,
    camera: Camera,
    eye: NDArray[np.float64],  # [3]
    depth: Floats,  # [H*W] of the background, infinite for none
    primitive: NDArray[np.int64],  # [H*W]
    first: int = 0,
) -> None:
    """Draw the primitives from index `first` on into depth and index, in place, where they are nearer."""
    height, width = camera.size
    depth, primitive = depth.reshape(height, width), primitive.reshape(height, width)
    x, y = (axis.astype(np.float32) for axis in _plane(camera))
    windows, origins, turns = _windows(table, camera), _origins(table, eye), _turns(table, camera)
    windows[:first] = 0
    for index in np.flatnonzero((windows[:, 1] > windows[:, 0]) & (windows[:, 3] > windows[:, 2])):
        x0, x1, y0, y1 = windows[index]
        # A ray's direction in the primitive's frame is the sum of a column term and a row term.
        turn = turns[index]
        across = turn[:, :1] * x[x0:x1] + turn[:, 2:]
        down = turn[:, 1:2] * y[y0:y1]
        directions = [down[axis][:, None] + across[axis] for axis in range(3)]
        enter = tube_hits if table.round[index] else box_hits
        near, far = enter(origins[index], directions, table.half[index])
        tile = depth[y0:y1, x0:x1]
        closer = (near <= far) & (near < tile) & (near > NEAR)
        np.copyto(tile, near, where=closer)
        np.copyto(primitive[y0:y1, x0:x1], index, where=closer)


def _shell(room: Room, eye: NDArray[np.float64], rays: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Return depth and index of the wall, floor or ceiling that every ray hits from inside."""
    beyond, behind = (np.array(room.size) - eye).astype(np.float32), (-eye).astype(np.float32)
    depth = np.full(len(rays), np.inf, np.float32)
    primitive = np.zeros(len(rays), np.int64)
    for axis, (low, high) in enumerate(((5, 3), (2, 4), (0, 1))):
        along = rays[:, axis] + np.float32(1e-9)
        leave = np.where(along > 0, beyond[axis], behind[axis]) / along
        sooner = leave < depth
        depth[sooner] = leave[sooner]
        primitive[sooner] = np.where(along > 0, high, low)[sooner]
    return depth, primitive


def _windows(table: PrimitiveTable, camera: Camera) -> NDArray[np.int64]:
    """Return the bounding box (x0, x1, y0, y1) [P, 4] of each primitive in pixels, empty if it is out of view."""
    height, width = camera.size
    k = camera.intrinsics
    seen = _corners_in_camera(table, camera)
    start, end = seen[:, :, EDGES[:, 0]], seen[:, :, EDGES[:, 1]]
    # Edges are cut at the near plane, so that a box beside the camera does not cover the whole screen.
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (NEAR - start[2]) / (end[2] - start[2])
    cut = (start[2] < NEAR) != (end[2] < NEAR)
    crossing = start + (end - start) * np.where(cut, share, 0)
    points = np.concatenate([seen, crossing], 2)
    valid = np.concatenate([seen[2] >= NEAR, cut], 1)
    ahead = np.where(valid, np.maximum(points[2], NEAR), 1)
    u, v = k[0, 0] * points[0] / ahead + k[0, 2], k[1, 1] * points[1] / ahead + k[1, 2]
    low = [np.where(valid, axis, np.inf).min(1) for axis in (u, v)]
    high = [np.where(valid, axis, -np.inf).max(1) for axis in (u, v)]
    box = [
        np.clip(np.floor(low[0] - 1), 0, width),
        np.clip(np.ceil(high[0] + 1), 0, width),
        np.clip(np.floor(low[1] - 1), 0, height),
        np.clip(np.ceil(high[1] + 1), 0, height),
    ]
    return np.stack(box, 1).astype(np.int64)


def _corners_in_camera(table: PrimitiveTable, camera: Camera) -> NDArray[np.float64]:
    """Return the eight corners of every primitive in camera axes, [3, P, 8]."""
    m = camera.world_to_camera
    local = CORNERS[None] * table.half[:, None].astype(np.float64)
    cos, sin = table.cos[:, None].astype(np.float64), table.sin[:, None].astype(np.float64)
    x = table.centre[:, :1] + cos * local[..., 0] - sin * local[..., 1]
    y = table.centre[:, 1:2] + sin * local[..., 0] + cos * local[..., 1]
    z = table.centre[:, 2:] + local[..., 2]
    return np.stack([m[row, 0] * x + m[row, 1] * y + m[row, 2] * z + m[row, 3] for row in range(3)])


def _origins(table: PrimitiveTable, eye: NDArray[np.float64]) -> Floats:
    """Return the camera centre in each primitive's frame, [P, 3]."""
    x, y, z = (eye - table.centre).T
    return np.stack([table.cos * x + table.sin * y, table.cos * y - table.sin * x, z], 1).astype(np.float32)


def _turns(table: PrimitiveTable, camera: Camera) -> Floats:
    """Return the rotations [P, 3, 3] from camera axes into each primitive's frame."""
    to_world = camera.world_to_camera[:3, :3].T
    cos, sin = table.cos[:, None], table.sin[:, None]
    first, second = cos * to_world[0] + sin * to_world[1], cos * to_world[1] - sin * to_world[0]
    turns = np.stack([first, second, np.broadcast_to(to_world[2], first.shape)], 1)
    return turns.astype(np.float32)


def _slab(origin: np.float32, direction: Floats, half: np.float32) -> tuple[Floats, Floats]:
    # Avoid 0/0 for rays parallel to the slab.
    safe: Floats = np.where(direction == 0, np.float32(1e-9), direction)
    inverse = np.float32(1.0) / safe
    middle, reach = inverse * -origin, np.abs(inverse) * half
    return middle - reach, middle + reach


def box_hits(origin: Floats, directions: list[Floats], half: Floats) -> tuple[Floats, Floats]:
    """Return the depths at which rays enter and leave a box (slab test); a ray misses if the first is larger."""
    near, far = _slab(origin[0], directions[0], half[0])
    for axis in (1, 2):
        enter, leave = _slab(origin[axis], directions[axis], half[axis])
        np.maximum(near, enter, out=near)
        np.minimum(far, leave, out=far)
    return near, far


def tube_hits(origin: Floats, directions: list[Floats], half: Floats) -> tuple[Floats, Floats]:
    """Return the depths at which rays enter and leave a vertical elliptic cylinder, as in `box_hits`."""
    ox, oy = origin[0] / half[0], origin[1] / half[1]
    dx, dy = directions[0] / half[0], directions[1] / half[1]
    a = np.maximum(dx * dx + dy * dy, np.float32(1e-12))
    b = ox * dx + oy * dy
    inside = b * b - a * (ox * ox + oy * oy - np.float32(1))
    root = np.sqrt(np.maximum(inside, 0))
    enter, leave = _slab(origin[2], directions[2], half[2])
    near = np.maximum((-b - root) / a, enter)
    far = np.where(inside > 0, np.minimum((root - b) / a, leave), np.float32(-1))
    return near, far


def expose(
    image: Floats,  # [H, W, 3] light
    rng: np.random.Generator,
    noise: float = 1.0,
) -> NDArray[np.uint8]:
    """Return the image of the light after exposure, white balance, vignette, tone curve and noise.

    `noise` multiplies the amplitude of the noise.
    """
    height, width = image.shape[:2]
    gain = rng.uniform(0.36, 0.5) / max(float(np.median(image)), 0.05)
    balance = rng.uniform(0.94, 1.06, 3).astype(np.float32)
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) / width - 0.5
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height - 0.5
    vignette = 1 - np.float32(rng.uniform(0.1, 0.35)) * (x * x + y * y)
    light = image * (balance * np.float32(gain)) * vignette[..., None]
    # Tone curve: linear below 0.8, then a soft shoulder towards 1
    toned = np.where(light < 0.8, light, 1 - np.float32(0.04) / np.maximum(light - 0.6, 0.2))
    grain = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0.006, 0.018) * noise)
    return np.clip(np.rint((toned + grain) * 255), 0, 255).astype(np.uint8)


def _pose_hash(camera: Camera) -> int:
    """Return an integer from the pose rounded to 0.1 mm, so that every view has its own noise."""
    return zlib.crc32(np.round(camera.world_to_camera * 1e4).astype(np.int64).tobytes())
