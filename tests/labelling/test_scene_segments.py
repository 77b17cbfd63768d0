"""Segments of scenes: with depth, of a LiDAR, and from the cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from helpers.small_capture import SIZE, make_capture
from labelfree.config.labels import PairingConfig
from labelfree.data.fusion import fuse
from labelfree.labelling.scene_segments import LIDAR, RGBD, default_options, mask_views, scene_segments, share_in_masks
from labelfree.scene import Frame, Scene
from labelfree.teachers.cache import TeacherCache


class TrueMasks:
    """The ground truth as masks; counts how often it is asked."""

    notices: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.asked = 0

    def mask_ids(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint16]:
        self.asked += 1
        truth = frame.load_labels()
        assert truth is not None
        return (truth + 1).astype(np.uint16)

    def features(self, frame: Frame) -> None:
        return None

    def describe(self) -> str:
        return "true masks"

    fingerprint = describe


def room() -> Scene:
    frames = make_capture(4).frames()
    cloud = fuse(frames)
    return Scene("room", cloud.points_world, tuple(frames), cloud.colours)


def test_the_cache_is_used_until_the_content_changes(tmp_path: Path) -> None:
    scene, masks, cache = room(), TrueMasks(), TeacherCache(tmp_path)
    first = scene_segments(scene, masks, SIZE, PairingConfig(), cache=cache)
    asked = masks.asked
    again = scene_segments(scene, masks, SIZE, PairingConfig(), cache=cache)
    assert masks.asked == asked > 0
    np.testing.assert_array_equal(again.levels, first.levels)
    np.testing.assert_array_equal(again.fine, first.fine)
    changed = (
        replace(scene, points_world=scene.points_world + np.float32(0.01)),
        replace(scene, frames=scene.frames[:-1]),
    )
    for other in changed:
        asked = masks.asked
        scene_segments(other, masks, SIZE, PairingConfig(), cache=cache)
        assert masks.asked > asked
    scene_segments(scene, masks, SIZE, PairingConfig(tolerance_m=0.2), cache=cache)
    assert masks.asked > asked + len(scene.frames) - 1


def test_a_scene_without_depth_is_a_lidar() -> None:
    scene = room()
    lidar = replace(scene, frames=tuple(replace(frame, depth=None) for frame in scene.frames))
    assert default_options(scene) == RGBD
    assert default_options(lidar) == LIDAR
    found = scene_segments(lidar, TrueMasks(), SIZE, PairingConfig())
    assert found.levels.shape == (len(LIDAR.merge.thresholds), len(lidar))


def test_a_scene_without_frames_has_segments() -> None:
    bare = replace(room(), frames=())
    found = scene_segments(bare, TrueMasks(), SIZE, PairingConfig())
    assert found.fine.max() > 0
    assert share_in_masks(len(bare), mask_views(bare, TrueMasks(), SIZE, PairingConfig())) == 0
