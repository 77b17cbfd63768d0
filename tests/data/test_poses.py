from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from helpers.small_capture import look_at
from labelfree.data.poses import (
    CameraAxes,
    PoseConvention,
    PoseIs,
    quaternion_rotation,
    read_intrinsics,
    read_pose_file,
    read_pose_rows,
    rotation_quaternion,
)
from labelfree.errors import InputError

POSE = look_at(np.array([1.0, -0.2, 0.5]))
QUARTER_TURN_Z = "1.5 1 2 3 0 0 0.70710678 0.70710678"  # timestamp, translation, x y z w


@pytest.mark.parametrize("pose_is", PoseIs)
@pytest.mark.parametrize("axes", CameraAxes)
def test_conventions_are_undone(pose_is: PoseIs, axes: CameraAxes) -> None:
    convention = PoseConvention(pose_is, axes)
    np.testing.assert_allclose(convention.decode(convention.encode(POSE)), POSE, atol=1e-12)


def test_opengl_cameras_look_along_minus_z() -> None:
    """An OpenGL camera at the origin sees what lies at -z, and up is +y."""
    world_to_camera = PoseConvention(PoseIs.CAMERA_TO_WORLD, CameraAxes.OPENGL).decode(np.eye(4))
    np.testing.assert_array_equal(world_to_camera @ [0, 1, -5, 1], [0, -1, 5, 1])


def test_rows_of_every_width(tmp_path: Path) -> None:
    sixteen, twelve = (" ".join(map(repr, POSE.ravel().tolist()[:n])) for n in (16, 12))
    for text in (sixteen, twelve, sixteen.replace(" ", ",")):
        (tmp_path / "poses.txt").write_text(f"# comment\n{text}\n\n{text}\n")
        rows = read_pose_rows(tmp_path / "poses.txt")
        assert [row.where[-6:] for row in rows] == ["line 2", "line 4"]
        np.testing.assert_allclose(rows[1].matrix, POSE)
        assert rows[0].time is None


def test_tum_rows(tmp_path: Path) -> None:
    (tmp_path / "poses.txt").write_text(QUARTER_TURN_Z)
    (row,) = read_pose_rows(tmp_path / "poses.txt")
    assert row.time == 1.5
    np.testing.assert_allclose(row.matrix @ [1, 0, 0, 1], [1, 3, 3, 1], atol=1e-7)


def test_a_pose_file(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a.txt", POSE)
    np.testing.assert_allclose(read_pose_file(tmp_path / "a.txt").matrix, POSE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2 3\n", "line 1: 3 values, but a pose has 16"),
        ("1 2 x 4\n", "line 1: 'x' is not a number"),
        ("", "no poses in this file"),
        (QUARTER_TURN_Z + "\n1 2 3\n", "line 2: 3 values, but earlier rows have 8"),
        ("0 1 2 3 5 0 0 0\n", "quaternion has length 5"),
        ("1 0 0 0 0 1 0 0 0 0 1 0 1 2 3 1\n", "column-major: transpose"),
        ("1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 2\n", "expected 0 0 0 1"),
    ],
)
def test_bad_pose_rows(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "poses.txt").write_text(text)
    with pytest.raises(InputError, match=r"poses\.txt") as error:
        read_pose_rows(tmp_path / "poses.txt")
    assert words in str(error.value)


@pytest.mark.parametrize(
    "text", ["500 510 320 240", "500 0 320\n0 510 240\n0 0 1", "500 0 320 0\n0 510 240 0\n0 0 1 0\n0 0 0 1"]
)
def test_intrinsics(tmp_path: Path, text: str) -> None:
    (tmp_path / "K.txt").write_text(text)
    np.testing.assert_array_equal(read_intrinsics(tmp_path / "K.txt"), [[500, 0, 320], [0, 510, 240], [0, 0, 1]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("500 320", "2 values"),
        ("-500 510 320 240", "must be positive"),
        ("5 0 3 0 5 2 1 1 1", "third row"),
        (None, "no such"),
    ],
)
def test_bad_intrinsics(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "K.txt").write_text(text)
    with pytest.raises(InputError, match=r"K\.txt") as error:
        read_intrinsics(tmp_path / "K.txt")
    assert words in str(error.value)


def log(poses: int, header: bool = True) -> str:
    lines = (
        f"{i} {i} {i + 1}\n" * header + "\n".join(" ".join(map(repr, row)) for row in POSE.tolist())
        for i in range(poses)
    )
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("header", [True, False])
def test_a_trajectory_log_has_a_matrix_in_four_lines(tmp_path: Path, header: bool) -> None:
    (tmp_path / "trajectory.log").write_text(log(3, header))
    rows = read_pose_rows(tmp_path / "trajectory.log")
    assert [row.where[-7:] for row in rows] == (
        [" line 1", " line 6", "line 11"] if header else [" line 1", " line 5", " line 9"]
    )
    np.testing.assert_allclose(rows[2].matrix, POSE)
    (tmp_path / "trajectory.log").write_text("\n".join(log(3, header).splitlines()[:-1]))
    with pytest.raises(InputError, match=r"trajectory\.log, line \d+: expected .*a 4x4 matrix in four lines"):
        read_pose_rows(tmp_path / "trajectory.log")


def test_intrinsics_of_open3d_are_column_by_column(tmp_path: Path) -> None:
    path = tmp_path / "camera.json"
    path.write_text('{"width": 640, "height": 480, "intrinsic_matrix": [525, 0, 0, 0, 520, 0, 319.5, 239.5, 1]}')
    np.testing.assert_array_equal(read_intrinsics(path), [[525, 0, 319.5], [0, 520, 239.5], [0, 0, 1]])
    for wrong in ("[1, 2]", "[" + ", ".join(["1" * 400] * 9) + "]", "[525, 0, 0, 0, 520, 0, 319.5, NaN, 1]"):
        path.write_text(f'{{"intrinsic_matrix": {wrong}}}')
        with pytest.raises(InputError, match="has no 'intrinsic_matrix' of nine numbers"):
            read_intrinsics(path)


@pytest.mark.parametrize("angle", [0.0, 0.7, math.pi, -2.5])
def test_quaternions_and_matrices_are_inverse(angle: float) -> None:
    turn = np.array([math.cos(angle / 2), *(math.sin(angle / 2) * np.array([2, -1, 2]) / 3)])
    matrix = quaternion_rotation(turn)
    assert np.allclose(matrix @ matrix.T, np.eye(3))
    assert np.allclose(quaternion_rotation(rotation_quaternion(matrix)), matrix)
