"""Poses between messages: slerp and interpolation agree with a slow twin by rotation vectors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.bags import quaternion_of
from labelfree.data.bags.tracks import PoseTrack, TimeLimits, slerp
from labelfree.data.poses import quaternion_rotation

LIMITS = TimeLimits(tolerance=20, gap=500)
IDENTITY = (1.0, 0.0, 0.0, 0.0)


def skew(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y, z = axis
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def turned(axis: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Return the rotation about a unit axis, by Rodrigues' formula."""
    cross = skew(axis)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def share_of_arc(first: NDArray[np.float64], second: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Return first and then a share of the rotation that leads to second, from its axis and angle."""
    between = first.T @ second
    angle = float(np.arccos(np.clip((np.trace(between) - 1) / 2, -1, 1)))
    if angle < 1e-9:
        return first
    axis = np.array([between[2, 1] - between[1, 2], between[0, 2] - between[2, 0], between[1, 0] - between[0, 1]])
    return np.asarray(first @ turned(axis / np.linalg.norm(axis), share * angle))


@pytest.mark.parametrize("seed", range(20))
def test_slerp_goes_along_the_shortest_arc(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = (quaternion / np.linalg.norm(quaternion) for quaternion in rng.normal(size=(2, 4)))
    if seed % 4 == 0:  # nearly equal rotations
        second = first + 1e-4 * rng.normal(size=4)
        second /= np.linalg.norm(second)
    share = float(rng.uniform())
    expected = share_of_arc(quaternion_rotation(first), quaternion_rotation(second), share)
    found = slerp(first, second * (-1) ** seed, share)
    assert np.linalg.norm(found) == pytest.approx(1)
    np.testing.assert_allclose(quaternion_rotation(found), expected, atol=1e-7)


def test_a_track_is_interpolated_between_its_poses() -> None:
    turns = [turned(np.array([0.0, 0, 1]), angle) for angle in (0.0, 1.0)]
    track = PoseTrack.of(
        np.array([1000, 1400]), np.array([[0.0, 0, 0], [4, 8, 0]]), np.array([quaternion_of(turn) for turn in turns])
    )
    quarter = track.at(1100, LIMITS)
    assert quarter is not None
    np.testing.assert_allclose(quarter[:3, 3], (1, 2, 0))
    np.testing.assert_allclose(quarter[:3, :3], turned(np.array([0.0, 0, 1]), 0.25), atol=1e-12)


@pytest.mark.parametrize(
    ("time", "x"),
    [(0, 0.0), (10, 0.1), (100, 1.0), (500, None), (120, 1.0), (121, None), (900, 3.0), (1020, 3.0), (1021, None),
     (-20, 0.0), (-21, None), (880, 2.0)],
)  # fmt: skip
def test_times_beyond_the_limits_have_no_pose(time: int, x: float | None) -> None:
    times = np.array([0, 100, 880, 900, 1000])  # the gap from 100 to 880 is too long
    places = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0], [3, 0, 0]])
    found = PoseTrack.of(times, places, np.array([IDENTITY] * 5)).at(time, LIMITS)
    assert (None if found is None else found[0, 3]) == (None if x is None else pytest.approx(x))


def test_poses_are_sorted_and_invalid_ones_dropped() -> None:
    rotations = np.array([IDENTITY, (0, 0, 0, 0), (2, 0, 0, 0), (np.nan, 0, 0, 0), IDENTITY, (1.001, 0, 0, 0)])
    places = np.array([[5.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0], [np.inf, 0, 0], [4, 0, 0]])
    track = PoseTrack.of(np.array([50, 10, 20, 30, 35, 40]), places, rotations)
    assert track.times.tolist() == [40, 50]
    assert track.positions[:, 0].tolist() == [4, 5]
    np.testing.assert_allclose(np.linalg.norm(track.rotations, axis=1), 1)


def test_an_empty_track_has_no_pose() -> None:
    empty = PoseTrack.of(np.empty(0, np.int64), np.empty((0, 3)), np.empty((0, 4)))
    assert empty.at(0, LIMITS) is None
    assert not empty.constant
