from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from helpers.steep_camera import steep_rotation
from labelfree import Frame, InputError, Prediction, Scene, Vocabulary
from labelfree.raster import ImageArray, resize_nearest

K = np.array([[50.0, 0, 20], [0, 50, 15], [0, 0, 1]])


def frame(**changes: object) -> Frame:
    given: dict[str, object] = {
        "name": "a",
        "image": np.zeros((30, 40, 3), np.uint8),
        "intrinsics": K,
        "world_to_camera": np.eye(4),
        "size": (30, 40),
    }
    return Frame(**(given | changes))  # type: ignore[arg-type]


def test_images_are_read_when_asked_for(tmp_path: Path) -> None:
    lazy = frame(image=tmp_path / "later.png")
    with pytest.raises(InputError, match=r"later\.png: the file is missing"):
        lazy.load_image()
    Image.new("RGB", (80, 60), (9, 8, 7)).save(tmp_path / "later.png")
    assert lazy.load_image().shape == (30, 40, 3)
    assert lazy.load_image()[0, 0].tolist() == [9, 8, 7]


def test_truncated_picture_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(InputError, match=r"cut\.png: cannot be read"):
        frame(image=path).load_image()


def test_depth_is_metres_with_zero_for_missing() -> None:
    depth = np.full((30, 40), 1500, np.uint16)
    depth[0, 0] = 0
    depth_m = frame(depth=depth).load_depth_m()
    assert depth_m is not None
    assert depth_m[0, 0] == 0.0
    assert depth_m[1, 1] == np.float32(1.5)


def test_resizing_scales_the_intrinsics() -> None:
    small = frame().resized((15, 10))
    assert small.intrinsics[0].tolist() == [12.5, 0.0, 5.0]
    assert small.intrinsics[1].tolist() == [0.0, 25.0, 7.5]
    assert small.load_image().shape == (15, 10, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"world_to_camera": np.full((4, 4), np.nan)}, "pose holds nan"),
        ({"world_to_camera": np.diag([2.0, 1, 1, 1])}, "rotation of its pose is off"),
        ({"world_to_camera": np.diag([1.0, 1, -1, 1])}, "determinant"),
        ({"intrinsics": np.diag([-5.0, 5, 1])}, "focal lengths"),
        ({"intrinsics": np.eye(4)}, r"must be \[3, 3\]"),
        ({"size": (0, 4)}, "positive"),
        ({"intrinsics": np.array([[5.0, 0, 1e308], [0, 5, 3], [0, 0, 1]])}, "expected at most 1e\\+09 pixels"),
        ({"depth_scale": 0.0}, "depth_scale"),
        ({"depth_scale": 1e-308}, "depth_scale is 1e-308, expected 1e-06 to"),
    ],
)
def test_bad_frames(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        frame(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points_world": np.zeros((0, 3))}, "no points"),
        ({"points_world": np.zeros((4, 2))}, r"must be \[N, 3\]"),
        ({"points_world": np.array([[np.nan, 0, 0], [0, np.inf, 0.0]])}, "none of its 2 points is finite"),
        ({"labels": np.zeros(3)}, "labels must be"),
        ({"frames": (frame(), frame())}, "is used more than once"),
    ],
)
def test_bad_scenes(changes: dict[str, object], message: str) -> None:
    given = {"name": "s", "points_world": np.zeros((4, 3)), "frames": (frame(),)} | changes
    with pytest.raises(InputError, match=message):
        Scene(**given)  # type: ignore[arg-type]


def test_digest_follows_the_content() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    other = image.copy()
    other[0, 0, 0] = 1
    assert ImageArray(image).digest() == ImageArray(image.copy()).digest() != ImageArray(other).digest()


def test_nearest_takes_the_pixel_under_the_centre() -> None:
    assert resize_nearest(np.array([[1, 2, 3, 4]]), (1, 2)).tolist() == [[2, 4]]
    assert resize_nearest(np.array([[1, 2]]), (2, 4)).tolist() == [[1, 1, 2, 2]] * 2


@pytest.mark.parametrize(
    ("labels", "more", "message"),
    [
        (np.array([0, 2]), {}, "label 2 is not one"),
        (np.zeros((2, 2, 2)), {}, r"must be \[H, W\] or \[N\]"),
        (np.array([0, 1]), {"scores": np.zeros(3)}, "shaped like labels"),
        (np.array([0, 1]), {"points_world": np.zeros((3, 3))}, "do not match"),
    ],
)
def test_bad_predictions(labels: np.ndarray, more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Prediction(labels, Vocabulary(("a", "b")), **more)


def test_prediction_counts_and_colours() -> None:
    prediction = Prediction(np.array([[0, 1], [1, 255]]), Vocabulary(("a", "b")), name="x")
    assert not prediction.is_3d
    assert prediction.counts() == {"a": 1, "b": 2}
    assert prediction.colours().shape == (2, 2, 3)


@pytest.mark.parametrize("up", [(0, 0, 1), (0, 1, 0), (-1, 0, 0), (0, -1, 0)])
def test_upright_points_have_z_up(up: tuple[int, int, int]) -> None:
    down = -np.array(up, dtype=float)
    right = np.roll(down, 1)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, down, np.cross(right, down)])  # rows: the camera's x, y, z in the world
    points: NDArray[Any] = np.random.default_rng(0).uniform(-1, 1, (9, 3))
    scene = Scene("s", points, (frame(world_to_camera=pose),))
    assert scene.up_world().tolist() == list(up)
    upright = scene.upright_points()
    height = points @ np.array(up)
    assert np.allclose(upright[:, 2], height - height.mean(), atol=1e-6)
    assert np.allclose(
        np.linalg.norm(upright - upright[0], axis=1), np.linalg.norm(points - points[0], axis=1), atol=1e-5
    )


def test_a_stated_up_axis_beats_steep_cameras() -> None:
    pose = np.eye(4)
    pose[:3, :3] = steep_rotation()
    points: NDArray[Any] = np.random.default_rng(0).uniform(-1, 1, (9, 3))
    guessed = Scene("s", points, (frame(world_to_camera=pose),))
    assert guessed.up_world().tolist() == [0, 1, 0]
    stated = replace(guessed, z_up=True)
    assert stated.up_world().tolist() == [0, 0, 1]
    assert np.allclose(stated.upright_points(), points - points.mean(axis=0), atol=1e-6)
    assert stated.resized((15, 20)).z_up
