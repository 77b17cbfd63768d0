"""The tree of tf: poses along any path agree with the product of the links to the root."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.bags import quaternion_of
from labelfree.data.bags.tracks import TimeLimits
from labelfree.data.bags.transforms import TransformRecorder, TransformTree
from labelfree.data.poses import quaternion_rotation

LIMITS = TimeLimits(tolerance=5, gap=100)
PARENTS = {"odom": "map", "base": "odom", "mast": "base", "camera": "mast", "lidar": "base"}


def random_pose(seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = quaternion_rotation(rng.normal(size=4)), rng.normal(size=3)
    return pose


POSES = {name: random_pose(seed) for seed, name in enumerate(PARENTS)}


def add(recorder: TransformRecorder, child: str, time: int, pose: NDArray[np.float64], fixed: bool) -> None:
    x, y, z = map(float, pose[:3, 3])
    recorder.add((PARENTS[child], f"/{child}"), time, (x, y, z), quaternion_of(pose[:3, :3]), fixed)


def make_tree() -> TransformTree:
    recorder = TransformRecorder()
    for name, pose in POSES.items():
        add(recorder, name, 1000, pose, fixed=name in ("mast", "lidar"))
    add(recorder, "odom", 1050, random_pose(99), fixed=False)
    return recorder.tree()


def to_root(name: str) -> NDArray[np.float64]:
    return POSES[name] if name == "odom" else np.asarray(to_root(PARENTS[name]) @ POSES[name])


@pytest.mark.parametrize("frame", PARENTS)
@pytest.mark.parametrize("other", PARENTS)
def test_any_two_frames(frame: str, other: str) -> None:
    found = make_tree().pose(frame, other, 1000, LIMITS)
    assert found is not None
    np.testing.assert_allclose(found, np.linalg.inv(to_root(other)) @ to_root(frame), atol=1e-12)


def test_links_that_never_move_are_valid_at_all_times() -> None:
    tree = make_tree()
    assert tree.pose("camera", "lidar", 10**15, LIMITS) is not None
    assert tree.pose("camera", "map", 10**15, LIMITS) is None  # odom moves
    assert tree.pose("camera", "map", 1025, LIMITS) is not None


def test_paths_and_roots() -> None:
    tree = make_tree()
    assert tree.root("camera") == "map"
    assert tree.frames == ("base", "camera", "lidar", "map", "mast", "odom")
    assert not tree.connects("camera", "elsewhere")
    assert tree.pose("camera", "elsewhere", 1000, LIMITS) is None


def test_the_first_parent_is_kept_and_cycles_end() -> None:
    recorder = TransformRecorder()
    for parent, child in (("a", "b"), ("c", "b"), ("b", "a"), ("b", "b")):
        recorder.add((parent, child), 1, (1.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), fixed=True)
    tree = recorder.tree()
    assert {child: link.parent for child, link in tree.links.items()} == {"b": "a", "a": "b"}
    assert tree.root("a") in ("a", "b")
