"""Photographs of the street: aimed at what they are meant to show, from places that are free."""

from __future__ import annotations

import numpy as np

from labelfree_lab.rooms.cameras import solid_clearance
from labelfree_lab.streets.objects import CLASS_NAMES
from labelfree_lab.streets.photos import FREE_M, HIGH_M, LOW_M, aim_camera, find_things, street_pictures
from labelfree_lab.streets.street import Street, build_street

SIZE = (48, 88)
TUNING = 2_000_200


def aimed(street: Street, count: int) -> np.ndarray:
    """Centres of cameras at the drive's beginning."""
    rng = np.random.default_rng(street.seed)
    return np.array([aim_camera(street, 0.0, SIZE, rng).centre_world() for _ in range(count)])


def test_cameras_keep_out_of_everything_and_above_the_ground() -> None:
    for seed in range(TUNING, TUNING + 3):
        street = build_street(seed)
        eyes = aimed(street, 12)
        assert solid_clearance(street.at(0.0), eyes).min() > FREE_M - 1e-3
        assert ((eyes[:, 2] > 0.7) & (eyes[:, 2] < 2.3)).all()
        assert np.ptp(eyes[:, 0]) > 5


def test_things_are_those_of_the_stretch() -> None:
    street = build_street(TUNING)
    table = street.at(0.0)
    things = find_things(table)
    assert (things.low >= LOW_M).all()
    assert (things.high <= HIGH_M).all()
    for instance, label, low, high in zip(things.instance, things.class_id, things.low, things.high):
        own = table.instance == instance
        assert set(table.class_id[own].tolist()) == {label}
        inside = ((table.centre[own] > LOW_M) & (table.centre[own] < HIGH_M)).all(1)
        centres = table.centre[own][inside]
        assert ((centres >= low - 1e-4) & (centres <= high + 1e-4)).all()


def test_small_things_get_their_share() -> None:
    """The class is drawn first: what is small or rare fills more of the photographs than of the vehicle's pictures."""
    small = [CLASS_NAMES.index(name) for name in ("bicycle", "motorcycle", "pedestrian", "traffic_cone")]
    streets = range(TUNING, TUNING + 5)
    photos, views = (
        np.array([seen.classes for seed in streets for seen in street_pictures(seed, *counts, SIZE)])
        for counts in ((8, 0), (0, 6))
    )
    assert np.isin(photos, small).mean() > 1.3 * np.isin(views, small).mean()
    assert len(np.unique(photos)) >= 15


def test_pictures_repeat_and_time_passes() -> None:
    first, again = (street_pictures(TUNING, 2, 3, SIZE) for _ in range(2))
    assert len(first) == 5
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, again))
    assert len({a.image.tobytes() for a in first}) == 5
    cameras = [picture.camera.channel for picture in first[2:]]  # type: ignore[union-attr]
    assert len(set(cameras)) == 3
    assert len({picture.timestamp_us for picture in first[2:]}) == 3  # type: ignore[union-attr]
