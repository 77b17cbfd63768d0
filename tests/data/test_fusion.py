from __future__ import annotations

import io
import zipfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.small_capture import BOX, INTRINSICS, ROOM, SIZE, make_capture
from labelfree.data import fusion
from labelfree.data.fusion import FusionOptions, back_project, fuse, fuse_cached
from labelfree.errors import InputError
from labelfree.raster import ImageArray
from labelfree.scene import Frame


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return make_capture(3).frames()


def slow_fuse(frames: list[Frame], options: FusionOptions) -> list[NDArray[Any]]:
    voxels: defaultdict[tuple[float, ...], list[tuple[Any, Any, int]]] = defaultdict(list)
    for frame in frames:
        rows, columns, points = back_project(frame, options)
        image, truth = frame.load_image(), frame.load_labels()
        assert truth is not None
        for row, column, point in zip(rows, columns, points):
            key = tuple(np.floor(point / options.voxel_m))
            voxels[key].append((point, image[row, column], int(truth[row, column])))
    cloud = []
    for key in sorted(voxels):
        places, colours, labels = zip(*voxels[key])
        votes = Counter(label for label in labels if label != 255)
        best = min(votes, key=lambda label: (-votes[label], label)) if votes else 255
        cloud.append((np.mean(places, axis=0), np.rint(np.mean(colours, axis=0)), best))
    return [np.array(column) for column in zip(*cloud)]


@pytest.mark.parametrize("buffer_rows", [1, 5000, 10**9])
def test_fusion_matches_the_loop_however_it_is_buffered(
    frames: list[Frame], monkeypatch: pytest.MonkeyPatch, buffer_rows: int
) -> None:
    monkeypatch.setattr(fusion, "_BUFFER_ROWS", buffer_rows)
    options = FusionOptions(voxel_m=0.2, stride=3)
    points, colours, labels = slow_fuse(frames, options)
    cloud = fuse(frames, options, with_labels=True)
    np.testing.assert_allclose(cloud.points_world, points, atol=1e-5)
    np.testing.assert_allclose(cloud.colours, colours, atol=1)  # sums in another order may round the other way
    np.testing.assert_array_equal(cloud.labels, labels)


def test_points_lie_on_the_surfaces(frames: list[Frame]) -> None:
    _, _, points = back_project(frames[0], FusionOptions())
    off_walls = np.minimum(np.abs(points - ROOM[0]), np.abs(points - ROOM[1])).min(axis=1)
    off_box = np.abs(np.maximum(BOX[0] - points, points - BOX[1]).max(axis=1))
    assert np.minimum(off_walls, off_box).max() < 1e-5
    assert len(points) == SIZE[0] * SIZE[1]


def test_options_leave_points_out(frames: list[Frame]) -> None:
    everything = len(back_project(frames[0], FusionOptions())[0])
    assert len(back_project(frames[0], FusionOptions(stride=2))[0]) == everything / 4
    near = back_project(frames[0], FusionOptions(max_depth_m=2.0))
    assert 0 < len(near[0]) < everything
    depth_m = frames[0].load_depth_m()
    assert depth_m is not None
    assert depth_m[near[0], near[1]].max() <= 2.0


def test_flying_pixels_go_with_edge_ratio() -> None:
    depth_m = np.full((4, 6), 2.0, dtype=np.float32)
    depth_m[:, 3:] = 3.0
    depth_m[0, 0] = 0
    image, depth = ImageArray(np.zeros((4, 6, 3), np.uint8)), ImageArray(depth_m)
    frame = Frame("a", image, np.diag([5.0, 5, 1]), np.eye(4), (4, 6), depth, 1.0)
    _, columns, _ = back_project(frame, FusionOptions(edge_ratio=0.05))
    assert sorted(set(columns.tolist())) == [0, 1, 4, 5]
    assert len(columns) == 4 * 4 - 1


def test_the_cache_returns_the_same_cloud_and_knows_its_inputs(
    frames: list[Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = FusionOptions(voxel_m=0.1)
    first = fuse_cached(frames, options, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(fusion, "fuse", lambda *_: pytest.fail("fused again"))
    again = fuse_cached(frames, options, tmp_path)
    np.testing.assert_array_equal(first.points_world, again.points_world)
    np.testing.assert_array_equal(first.labels, again.labels)
    monkeypatch.undo()
    fuse_cached(frames[:2], options, tmp_path)
    fuse_cached(frames, FusionOptions(voxel_m=0.2), tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_cached_array_of_impossible_size_is_made_again(frames: list[Frame], tmp_path: Path) -> None:
    options = FusionOptions(voxel_m=0.1)
    first = fuse_cached(frames, options, tmp_path)
    path = next(tmp_path.iterdir())
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": ">i8", "fortran_order": False, "shape": (10**9, 1000)})
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in held.items():
            archive.writestr(name, header.getvalue() if name == "points_world.npy" else content)
    np.testing.assert_array_equal(fuse_cached(frames, options, tmp_path).points_world, first.points_world)


def test_no_depth_is_said(frames: list[Frame]) -> None:
    with pytest.raises(InputError, match="no valid depth up to"):
        fuse(frames, FusionOptions(max_depth_m=0.01))


def test_wild_units_are_said(frames: list[Frame]) -> None:
    image, depth = ImageArray(np.zeros((*SIZE, 3), np.uint8)), ImageArray(np.full(SIZE, 9e3))
    far = Frame("far", image, INTRINSICS, np.eye(4), SIZE, depth, 1.0)
    with pytest.raises(InputError, match="too far for"):
        fuse([far], FusionOptions(max_depth_m=1e6))
