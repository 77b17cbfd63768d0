"""The small capture as recordings, and the command that imports them."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.bags import START, STEP, BagWriter
from helpers.small_capture import INTRINSICS, SIZE, make_capture
from labelfree.cli.main import main

CAPTURE = make_capture(4)
DEPTHS = [(depth * 1000).round().astype(np.uint16) for depth in CAPTURE.depths_m]
POSES = [np.linalg.inv(pose).astype(np.float64) for pose in CAPTURE.world_to_camera]
COLOUR, DEPTH = "/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw"
MOUNTED = np.array([[0.0, 0, 1, 0.2], [-1, 0, 0, 0.1], [0, -1, 0, 0.3], [0, 0, 0, 1]])
"""Pose of the camera on the robot."""


def times() -> list[int]:
    return [START + number * STEP for number in range(len(POSES))]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = main(["import", "rosbag", *map(str, arguments)])
    told = "".join(capsys.readouterr())
    assert "Traceback" not in told
    return code, told


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the last line of a refused import."""
    code, told = run(capsys, *arguments)
    assert code == 2
    return told.splitlines()[-1]


def images_and(writer: BagWriter) -> BagWriter:
    """Add images, depth and intrinsics, without poses."""
    for time, image, depth in zip(times(), CAPTURE.images, DEPTHS):
        writer.info(time, "/camera/color/camera_info", INTRINSICS, SIZE)
        writer.image(time, COLOUR, image, "rgb8")
        writer.image(time, DEPTH, depth, "16UC1")
    return writer
