"""Calibration of a miniature capture, with teachers in memory, and its table."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from helpers.small_capture import CLASSES, SIZE, make_capture
from labelfree.calibration.calibrate import MERGED, SEGMENTS, Calibration, CalibrationData, calibrate
from labelfree.calibration.table import calibration_json, calibration_table
from labelfree.config.labels import LabelConfig, PairingConfig
from labelfree.data.fusion import fuse
from labelfree.scene import Frame, Scene
from labelfree.teachers.teachers import Teachers
from labelfree.vocabulary import Vocabulary


class NoisyTruth:
    """A namer that gives the ground truth with a quarter of the pixels taken as class 0, and masks that are perfect."""

    notices: tuple[str, ...] = ()
    text = torch.eye(len(CLASSES))

    def labels(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint8]:
        truth = frame.load_labels()
        assert truth is not None
        wrong = np.random.default_rng(int(frame.name)).random(size) < 0.25
        return np.where(wrong, 0, truth).astype(np.uint8)

    def mask_ids(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint16]:
        truth = frame.load_labels()
        assert truth is not None
        return (truth + 1).astype(np.uint16)

    def features(self, frame: Frame, size: tuple[int, int] | None = None) -> None:
        return None

    def describe(self) -> str:
        return "noisy truth"

    fingerprint = describe


def scenes(count: int = 2) -> list[Scene]:
    frames = make_capture(4).frames()
    cloud = fuse(frames, with_labels=True)
    points, colours = cloud.points_world, cloud.colours
    return [Scene(f"room{i}", points, tuple(frames), colours, labels=cloud.labels) for i in range(count)]


@pytest.fixture(scope="module")
def complete() -> Calibration:
    rooms = scenes()
    teachers = Teachers(
        NoisyTruth(), NoisyTruth(), Vocabulary.from_names(CLASSES), LabelConfig(image_size=SIZE), PairingConfig()
    )
    return calibrate(CalibrationData("rooms", rooms, rooms, teachers.vocabulary, teachers=teachers))


def test_every_value_is_measured(complete: Calibration) -> None:
    assert complete.masks is not None
    assert complete.fused_masks is not None
    assert (complete.masks.miou, complete.masks.uncovered, complete.masks.segments) == (1, 0, 3)
    assert complete.fused_masks.covered_miou > 0.95
    assert set(complete.segments) == set(SEGMENTS)
    assert all(0.9 < bound.miou <= 1 and bound.segments >= 7 for bound in complete.segments.values())
    assert set(complete.merged) == {f"{threshold:g}" for threshold in MERGED}
    assert complete.merged["0.5"].miou > 0.9
    assert complete.merged["0.5"].segments < complete.merged["0.9"].segments
    assert complete.misfit is not None
    assert complete.frame_misfit is not None
    clip, voted = complete.methods
    assert clip.evaluation_2d is not None
    assert voted.evaluation_2d is not None
    assert clip.evaluation_2d.miou < 0.8 < voted.evaluation_2d.miou == 1
    assert complete.shortcuts.keys() == {"colour", "texture", "position", "size"}
    assert complete.shortcuts["colour"] > 0.9  # each class has its own colours in this room
    assert complete.shortcuts["texture"] < 0.7


def test_table_and_data(complete: Calibration) -> None:
    table = calibration_table([complete, replace(complete, name="again")])
    assert table.header == ("property", "rooms", "again")
    cells = {row[0]: row[1] for row in table.rows}
    assert all(cell != "–" for cell in cells.values())
    assert cells["SAM masks: bound"] == "100.0"
    assert cells["SAM masks: per image / uncovered"] == "3.0 / 0.0"
    assert cells["gain of the vote: 2D / 3D"].startswith("+")
    assert cells["CLIP's most frequent confusion"].split(" as ")[1].startswith("wall 2")
    data = json.loads(json.dumps(calibration_json(complete), allow_nan=False))
    shares = data["prior"]["truth 2d"]
    assert sum(shares) == pytest.approx(1)
    assert data["prior"]["clip 2d"][0] > shares[0]
    assert np.array(data["methods"]["clip"]["evaluation_2d"]["confusion"]).shape == (3, 4)


def test_what_does_not_apply_is_a_dash() -> None:
    (room,) = scenes(1)
    bare = replace(room, labels=None, frames=tuple(replace(f, labels=None, depth=None) for f in room.frames))
    found = calibrate(CalibrationData("walk", [bare], [bare]))
    values = [row[1] for row in calibration_table([found]).rows]
    assert values == [f"1 / 4 / {len(room):,}", *["–"] * (len(values) - 1)]
    json.dumps(calibration_json(found), allow_nan=False)


def test_images_without_points_are_validated_among_each_other() -> None:
    frames = tuple(make_capture(6).frames())
    pictures = Scene("pictures", np.empty((0, 3), np.float32), frames, images_only=True)
    found = calibrate(CalibrationData("images", (), [pictures], Vocabulary.from_names(CLASSES)))
    assert found.shortcuts.keys() == {"colour", "texture"}
    assert (found.scenes, found.frames, found.segments, found.misfit) == (1, 6, {}, None)
