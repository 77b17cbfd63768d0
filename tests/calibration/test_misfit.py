"""Distances of points and depth maps in a ray-cast room: none without noise, as large as the noise with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.small_capture import make_capture
from labelfree.calibration.misfit import Misfit, SurfaceMisfit, cloud_gaps, frame_gaps
from labelfree.data.fusion import fuse
from labelfree.raster import ImageArray
from labelfree.scene import Scene


@pytest.fixture(scope="module")
def scene() -> Scene:
    frames = make_capture(6).frames()
    return Scene("room", fuse(frames).points_world, tuple(frames))


def measured(scene: Scene, among_frames: bool = False) -> Misfit:
    surface = SurfaceMisfit()
    for gaps in frame_gaps(scene) if among_frames else cloud_gaps(scene):
        surface.update(gaps)
    found = surface.misfit()
    assert found is not None
    return found


@pytest.mark.parametrize("among_frames", [False, True])
def test_points_of_a_clean_room_lie_on_the_depth_maps(scene: Scene, among_frames: bool) -> None:
    found = measured(scene, among_frames)
    assert found.near > 0.75  # its walls are seen at steep angles, in pixels of several centimetres
    assert found.median_m < 0.02
    assert found.counted > 1000


def test_a_shift_of_the_depth_maps_is_the_median(scene: Scene) -> None:
    def farther(by_m: float) -> Scene:
        shifted = [replace(f, depth=ImageArray(f.depth.load() + np.float32(by_m))) for f in scene.frames if f.depth]
        return replace(scene, frames=tuple(shifted))

    assert measured(farther(0.04)).median_m == pytest.approx(0.04, abs=0.008)
    assert measured(farther(0.1)).near < 0.15


def test_the_histogram_is_exact_to_its_resolution() -> None:
    gaps = np.abs(np.random.default_rng(0).normal(scale=0.1, size=999))
    surface = SurfaceMisfit()
    surface.update(gaps[:500])
    surface.update(gaps[500:])
    found, near = surface.misfit(), gaps[gaps <= 0.5]
    assert found is not None
    assert found.near == pytest.approx((near <= 0.05).mean())
    assert found.median_m == pytest.approx(np.median(near), abs=1e-4)
    assert found.counted == len(near)


def test_a_cloud_from_the_same_maps_hides_errors_of_poses(scene: Scene) -> None:
    """Every frame is moved by 6 cm in a direction of its own; its own points move along, those of others do not."""
    random, moved = np.random.default_rng(2), []
    for frame in scene.frames:
        pose = frame.world_to_camera.copy()
        pose[:3, 3] += 0.06 * random.choice([-1, 1], 3)
        moved.append(replace(frame, world_to_camera=pose))
    fused = Scene("room", fuse(moved).points_world, tuple(moved))
    assert measured(fused, among_frames=True).near < measured(fused).near - 0.05


def test_without_depth_there_is_no_misfit(scene: Scene) -> None:
    bare = replace(scene, frames=tuple(replace(frame, depth=None) for frame in scene.frames))
    assert list(cloud_gaps(bare)) == list(frame_gaps(bare)) == []
    assert SurfaceMisfit().misfit() is None
    assert list(frame_gaps(replace(scene, frames=scene.frames[:1]))) == []
