from __future__ import annotations

import threading
from typing import Any, cast

import numpy as np
import pytest

from labelfree.errors import InputError
from labelfree.raster import ImageArray
from labelfree.scene import Frame, Scene
from labelfree.teachers.label_frames import FRAMES_IN_FLIGHT, label_frames
from labelfree.teachers.teachers import Teachers


class _Recorder:
    """Teachers that note which frames they label; frames of a round wait for each other."""

    def __init__(self, together: int, broken: str = "") -> None:
        self.masks: list[str] = []
        self.labels: list[str] = []
        self.broken = broken
        self.barrier = threading.Barrier(together, timeout=30)

    def mask_ids(self, frame: Frame) -> None:
        if frame.name == self.broken:
            raise InputError(f"{frame.name} is broken.")
        self.barrier.wait()
        self.masks.append(frame.name)

    def clip_labels(self, frame: Frame) -> None:
        self.labels.append(frame.name)


def _scenes(*counts: int) -> list[Scene]:
    image = ImageArray(np.zeros((4, 5, 3), dtype=np.uint8))
    return [
        Scene(f"s{number}", np.zeros((1, 3), dtype=np.float32), tuple(
            Frame(f"{number}-{index}", image, np.eye(3), np.eye(4), (4, 5)) for index in range(count)
        ))
        for number, count in enumerate(counts)
    ]  # fmt: skip


def _label(recorder: Any, device: str, *counts: int) -> None:
    label_frames(_scenes(*counts), cast(Teachers, recorder), device)


def test_frames_overlap_on_a_gpu() -> None:
    recorder = _Recorder(FRAMES_IN_FLIGHT)  # breaks if fewer frames are in flight
    _label(recorder, "cuda", 4, 2)
    names = ["0-0", "0-1", "0-2", "0-3", "1-0", "1-1"]
    assert sorted(recorder.masks) == sorted(recorder.labels) == names


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_frame_is_labelled_once(device: str) -> None:
    recorder = _Recorder(1)
    _label(recorder, device, 3, 1, 1)
    assert sorted(recorder.labels) == ["0-0", "0-1", "0-2", "1-0", "2-0"]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_an_error_ends_the_labelling(device: str) -> None:
    recorder = _Recorder(1, broken="0-1")
    with pytest.raises(InputError, match="0-1 is broken"):
        _label(recorder, device, 20)
    assert len(recorder.labels) < 10


def test_no_image_is_one_sentence() -> None:
    with pytest.raises(InputError, match="'s0' has no images"):
        _label(_Recorder(1), "cpu", 0)
