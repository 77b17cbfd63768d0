"""Scans for starts without class names: contexts against loops, and proof that labels do not enter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from labelfree.data.collection import open_scenes
from labelfree.raster import ImageArray
from labelfree.scene import Scene
from labelfree_lab.teachers.scans import (
    CELL_PX,
    CONTEXT,
    LEVELS,
    Lattice,
    context_of,
    mean_in_cells,
    read_scans,
    surface_shape,
    take_scan,
    write_scans,
)
from labelfree_lab.teachers.worlds import ROOMS, STREETS

LATTICE = Lattice(cell_m=0.5, level_m=0.25, reach=2)


def cloud(count: int = 300) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 3, (count, 3)).astype(np.float32)


def test_columns_match_a_loop_over_cells() -> None:
    points = cloud()
    context = context_of(points, LATTICE)
    floor = np.percentile(points[:, 2], 1)
    level = np.clip((points[:, 2] - floor) // LATTICE.level_m, 0, LEVELS - 1).astype(int)
    cell = ((points[:, :2] - points[:, :2].min(0)) // LATTICE.cell_m).astype(int)
    filled = {(*map(int, place), int(height)) for place, height in zip(cell, level)}
    for index in (0, 7, 120):
        for reach, first in ((1, 5), (LATTICE.reach, 5 + LEVELS)):
            around = [
                (int(cell[index, 0]) + dx, int(cell[index, 1]) + dy)
                for dx in range(-reach, reach + 1)
                for dy in range(-reach, reach + 1)
            ]
            expected = [np.mean([(*place, height) in filled for place in around]) for height in range(LEVELS)]
            np.testing.assert_allclose(context[index, first : first + LEVELS], expected, atol=1e-5)
    np.testing.assert_allclose(context[:, 0], points[:, 2] - floor, atol=1e-5)


def test_surface_shape_matches_the_covariance_of_the_points_around() -> None:
    points = cloud()
    shape = surface_shape(points, 0.5)
    cell = ((points - points.min(0)) // 0.5).astype(int)
    for index in (3, 50, 299):
        near = points[(np.abs(cell - cell[index]) <= 1).all(1)].astype(np.float64)
        values, vectors = np.linalg.eigh(np.cov(near.T, bias=True))
        np.testing.assert_allclose(shape[index, 0], vectors[2, 0] ** 2, atol=1e-4)
        np.testing.assert_allclose(shape[index, 1:], np.sqrt(values) / np.sqrt(values).sum(), atol=1e-4)


@pytest.mark.parametrize(("axis", "facing_up"), [(2, 1.0), (0, 0.0)])
def test_a_plane_is_flat_and_knows_where_up_is(axis: int, facing_up: float) -> None:
    points = cloud()
    points[:, axis] = 1
    shape = surface_shape(points, 0.5)
    np.testing.assert_allclose(shape[:, 0], facing_up, atol=1e-3)
    assert (shape[:, 1] < 0.01).all()


def test_cells_average_the_points_they_show() -> None:
    values = np.asarray([[1.0], [3.0], [5.0]], np.float32)
    row, column = np.asarray([0, CELL_PX - 1, CELL_PX]), np.asarray([0, 1, 2 * CELL_PX])
    mean = mean_in_cells(values, row, column, (2 * CELL_PX, 3 * CELL_PX))
    assert mean.shape == (2, 3, 1)
    assert mean[0, 0, 0] == 2
    assert mean[1, 2, 0] == 5
    assert np.isnan(mean).sum() == 4


def without_labels(scene: Scene) -> Scene:
    return replace(scene, labels=None, frames=tuple(replace(frame, labels=None) for frame in scene.frames))


def with_wrong_labels(scene: Scene) -> Scene:
    wrong = ImageArray(np.full(scene.frames[0].size, 3, np.uint8))
    frames = tuple(replace(frame, labels=wrong) for frame in scene.frames)
    return replace(scene, labels=np.full(len(scene), 3, np.uint8), frames=frames)


def test_a_scan_does_not_depend_on_labels(room: Path) -> None:
    scene = open_scenes(room)[0]
    scans = [take_scan(each) for each in (scene, without_labels(scene), with_wrong_labels(scene))]
    for other in scans[1:]:
        np.testing.assert_array_equal(other.images, scans[0].images)
        np.testing.assert_array_equal(other.context, scans[0].context)


def test_scans_of_both_worlds_are_written_once_and_hold_no_labels(tmp_path: Path) -> None:
    rooms = write_scans(tmp_path / "rooms", ROOMS, [2_000_000], 2)
    streets = write_scans(tmp_path / "streets", STREETS, [STREETS.tuning_seeds], 2)
    before = rooms[0].stat().st_mtime_ns
    assert write_scans(tmp_path / "rooms", ROOMS, [2_000_000], 2) == rooms
    assert rooms[0].stat().st_mtime_ns == before
    for paths, shape in ((rooms, (2, 96, 128, 3)), (streets, (6, *STREETS.picture_size, 3))):
        with np.load(paths[0]) as kept:
            assert set(kept.files) == {"images", "context"}
        scan = read_scans([*paths, *paths])
        assert scan.images.shape == (2 * shape[0], *shape[1:])
        assert scan.context.shape == (2 * shape[0], shape[1] // CELL_PX, shape[2] // CELL_PX, CONTEXT)
        known = np.isfinite(scan.context)
        assert (known.all(-1) == known.any(-1)).all()
        assert known.mean() > 0.05
