from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from labelfree_lab.rooms.cameras import Camera, clearance, look_at, photo_cameras, walk
from labelfree_lab.rooms.render import View, pixel_rays, render
from labelfree_lab.rooms.room import CLASS_NAMES, Room, build_room
from labelfree_lab.shapes.primitives import IGNORE

SMALL = (24, 32)
KNOWN_INSTANCES = 9
KNOWN_DEPTH = 1.8672
KNOWN_COLOUR = [123.75, 117.31, 122.06]


def one_ray(room: Room, eye: np.ndarray, ray: np.ndarray) -> tuple[float, int]:
    """Nearest primitive along one ray, box by box and cylinder by cylinder, in float64."""
    table, best, owner = room.primitives, math.inf, -1
    for index in range(len(table)):
        offset = eye - table.centre[index].astype(float)
        c, s = float(table.cos[index]), float(table.sin[index])
        half = table.half[index].astype(float)
        o = np.array([c * offset[0] + s * offset[1], c * offset[1] - s * offset[0], offset[2]])
        d = np.array([c * ray[0] + s * ray[1], c * ray[1] - s * ray[0], ray[2]])
        near, far = -math.inf, math.inf
        for axis in (2,) if table.round[index] else (0, 1, 2):
            pair = sorted(((-half[axis] - o[axis]) / d[axis], (half[axis] - o[axis]) / d[axis]))
            near, far = max(near, pair[0]), min(far, pair[1])
        if table.round[index]:
            roots = np.roots(
                [
                    (d[0] / half[0]) ** 2 + (d[1] / half[1]) ** 2,
                    2 * (o[0] * d[0] / half[0] ** 2 + o[1] * d[1] / half[1] ** 2),
                    (o[0] / half[0]) ** 2 + (o[1] / half[1]) ** 2 - 1,
                ]
            )
            if np.iscomplexobj(roots):
                continue
            near, far = max(near, roots.min()), min(far, roots.max())
        if 0.02 < near <= far and near < best:
            best, owner = near, index
    return best, owner


@pytest.mark.parametrize("seed", [3, 4])
def test_fast_casting_agrees_with_a_loop_over_primitives(seed: int) -> None:
    room = build_room(seed)
    for camera in [*walk(room, 2, SMALL), *photo_cameras(room, 1, SMALL, seed=seed)]:
        view = render(room, camera)
        eye, rays = pixel_rays(camera)
        pixels = np.random.default_rng(0).choice(len(rays), 60, replace=False)
        slow = [one_ray(room, eye, rays[p].astype(float)) for p in pixels]
        near = np.abs(view.depth_m.ravel()[pixels] - [t for t, _ in slow]) < 1e-3
        same = view.instances.ravel()[pixels] == room.primitives.instance[[i for _, i in slow]]
        # a ray along an edge may fall on either side
        assert (near & same).mean() > 0.98


def test_same_seed_gives_the_same_view() -> None:
    digests = set()
    for _ in range(2):
        room = build_room(11)
        view = render(room, walk(room, 3, SMALL)[1], seed=5)
        parts = (view.image, view.depth_m, view.classes, view.instances)
        digests.add(hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())
    assert len(digests) == 1
    other = render(room, walk(room, 3, SMALL)[1], seed=6)
    assert not np.array_equal(other.image, view.image)
    assert np.array_equal(other.classes, view.classes)


def test_known_image_is_what_it_was() -> None:
    """Pins geometry exactly and colours by their mean: the last bits of sines may differ between machines."""
    view = render(build_room(11), look_at(np.array([1.5, 1.5, 1.4]), np.array([3.0, 1.0, 0.7]), 1.3, SMALL))
    assert len(np.unique(view.instances)) == KNOWN_INSTANCES
    assert np.allclose(view.depth_m.mean(), KNOWN_DEPTH, atol=1e-3)
    assert np.allclose(view.image.reshape(-1, 3).mean(0), KNOWN_COLOUR, atol=0.5)


def test_every_class_is_common_over_ten_rooms() -> None:
    counts = np.zeros(256)
    for seed in range(10):
        room = build_room(seed)
        for camera in walk(room, 8, SMALL):
            counts += np.bincount(render(room, camera).classes.ravel(), minlength=256)
    share = counts / counts.sum()
    assert share[: len(CLASS_NAMES)].min() > 0.01
    assert share[0] + share[1] < 0.5
    assert share[len(CLASS_NAMES) : IGNORE].sum() == 0


def test_views_have_the_promised_types_and_ranges() -> None:
    room = build_room(2)
    view = render(room, walk(room, 1)[0])
    assert view.image.shape == (96, 128, 3)
    assert view.image.dtype == np.uint8
    assert view.depth_m.shape == view.classes.shape == view.instances.shape == (96, 128)
    assert view.depth_m.dtype == np.float32
    assert view.classes.dtype == np.uint8
    assert view.instances.dtype == np.uint16
    assert view.instances.min() >= 1
    assert 0.02 < view.depth_m.min() <= view.depth_m.max() < math.hypot(*room.size)
    assert np.array_equal(room.instance_class[view.instances.astype(int) - 1], view.classes)


def test_no_camera_is_inside_anything() -> None:
    for seed in range(8):
        room = build_room(seed)
        cameras = walk(room, 6) + photo_cameras(room, 6, seed=seed)
        centres = np.array([camera.centre_world() for camera in cameras])
        assert clearance(room, centres).min() > 0.1
        assert ((centres[:6, 2] >= 1.1) & (centres[:6, 2] <= 1.7)).all()


def points_world(view: View) -> np.ndarray:
    camera: Camera = view.camera
    v, u = np.mgrid[: camera.size[0], : camera.size[1]] + 0.5
    k, depth = camera.intrinsics, view.depth_m
    points = np.stack([(u - k[0, 2]) / k[0, 0] * depth, (v - k[1, 2]) / k[1, 1] * depth, depth], -1).reshape(-1, 3)
    return (points - camera.world_to_camera[:3, 3]) @ camera.world_to_camera[:3, :3]


def test_back_projected_points_keep_their_class_in_another_view() -> None:
    room = build_room(6)
    first, second = (render(room, camera) for camera in walk(room, 12)[:2])
    camera = second.camera
    seen = points_world(first) @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
    u = camera.intrinsics[0, 0] * seen[:, 0] / seen[:, 2] + camera.intrinsics[0, 2]
    v = camera.intrinsics[1, 1] * seen[:, 1] / seen[:, 2] + camera.intrinsics[1, 2]
    inside = (seen[:, 2] > 0.1) & (u >= 0) & (u < 128) & (v >= 0) & (v < 96)
    row, column = v[inside].astype(int), u[inside].astype(int)
    unoccluded = np.abs(second.depth_m[row, column] - seen[inside, 2]) < 0.02
    assert unoccluded.sum() > 1000
    same = second.classes[row, column][unoccluded] == first.classes.ravel()[inside][unoccluded]
    assert same.mean() > 0.97
