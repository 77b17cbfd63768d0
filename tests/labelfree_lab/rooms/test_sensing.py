"""The errors of a scan: off for clean rooms, and of the stated size otherwise."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from labelfree_lab.rooms.cameras import walk
from labelfree_lab.rooms.render import render
from labelfree_lab.rooms.room import build_room
from labelfree_lab.rooms.sensing import bled, blurred, measured_depth, misplaced, neighbours
from labelfree_lab.rooms.style import CLEAN, LIVED_IN, DepthErrors, ImageErrors

SIZE = (48, 64)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_clean_camera_is_where_it_is() -> None:
    camera = walk(build_room(3), 1, SIZE)[0]
    assert misplaced(camera, CLEAN, rng()) is camera


def test_tracked_poses_are_rigid_and_off_by_the_stated_errors() -> None:
    style = replace(LIVED_IN, pose_m=0.02, pose_degrees=0.5)
    camera, draws = walk(build_room(3), 1, SIZE)[0], rng()
    angles, shifts = [], []
    for _ in range(400):
        pose = misplaced(camera, style, draws).world_to_camera
        error = pose @ np.linalg.inv(camera.world_to_camera)
        assert np.allclose(error[:3, :3] @ error[:3, :3].T, np.eye(3), atol=1e-9)
        angles.append(math.degrees(math.acos(min(1.0, (np.trace(error[:3, :3]) - 1) / 2))))
        shifts.append(error[:3, 3])
    # The angle of three independent axes has a mean square of three variances.
    assert math.isclose(math.sqrt(np.mean(np.square(angles))), 0.5 * math.sqrt(3), rel_tol=0.1)
    assert np.allclose(np.std(shifts, axis=0), 0.02, rtol=0.15)


def test_depth_comes_from_the_pixel_or_its_neighbours() -> None:
    source = neighbours(SIZE, DepthErrors(shift=0.5), rng())
    row, column = np.divmod(source, SIZE[1])
    away = np.maximum(np.abs(row - np.indices(SIZE)[0].ravel()), np.abs(column - np.indices(SIZE)[1].ravel()))
    assert away.max() <= 2
    assert 0.3 < (away > 0).mean() < 0.55
    assert np.array_equal(neighbours(SIZE, DepthErrors(), rng()), np.arange(SIZE[0] * SIZE[1]))


def test_depth_noise_grows_with_the_square_of_depth() -> None:
    flat, upright = np.full((96, 128), 2.0, np.float32), np.ones((96, 128), np.float32)
    nothing = np.zeros((96, 128), bool)
    near = measured_depth(flat, upright, nothing, DepthErrors(noise=0.002), rng())
    far = measured_depth(2 * flat, upright, nothing, DepthErrors(noise=0.002), rng())
    assert math.isclose(float((near - 2).std()), 0.008, rel_tol=0.05)
    assert math.isclose(float((far - 4).std()), 0.032, rel_tol=0.05)


def test_depth_is_missing_on_grazing_far_and_transparent_surfaces() -> None:
    depth = np.full((96, 128), 2.0, np.float32)
    cosine, glass = np.ones((96, 128), np.float32), np.zeros((96, 128), bool)
    cosine[:10], depth[10:20], glass[20:60] = 0.05, 6.0, True
    errors = DepthErrors(holes=0.05, grazing=0.15, range_m=4.5)
    missing = measured_depth(depth, cosine, glass, errors, rng()) == 0
    assert missing[:20].all()
    assert missing[20:60].mean() > 0.4
    assert 0.005 < missing[60:].mean() < 0.2


def test_images_keep_their_mean_colour() -> None:
    image = rng().random((48, 64, 3), np.float32)
    for changed in (blurred(image, ImageErrors(blur=3), rng()), bled(image, ImageErrors(bleeding=4))):
        assert changed.shape == image.shape
        assert np.allclose(changed.mean((0, 1)), image.mean((0, 1)), atol=0.01)
        assert np.abs(changed - image).max() > 0.05
    assert blurred(image, ImageErrors(), rng()) is image
    assert bled(image, ImageErrors()) is image


def test_bleeding_keeps_the_brightness_of_every_pixel() -> None:
    image = rng().random((48, 64, 3), np.float32)
    assert np.allclose(bled(image, ImageErrors(bleeding=4)).mean(2), image.mean(2), atol=1e-6)


def test_the_classes_of_measured_depth_are_those_of_its_surface() -> None:
    room = build_room(2_000_003, LIVED_IN)
    view = render(room, walk(room, 1, (96, 128))[0])
    moved = view.measured_classes != view.classes
    assert 0 < moved.mean() < 0.2
    clean = build_room(2_000_003)
    same = render(clean, walk(clean, 1, (96, 128))[0])
    assert np.array_equal(same.measured_classes, same.classes)
    assert (same.depth_m > 0).all()
    assert 0.01 < (view.depth_m == 0).mean() < 0.3
