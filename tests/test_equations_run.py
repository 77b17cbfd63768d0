"""The functions that docs/method.md links to each equation are those that labelling and training run."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from helpers.small_recipe import SMALL
from labelfree import Vocabulary, open_scenes, recipe
from labelfree.run import open_run
from labelfree.runtime.devices import make_fabric
from labelfree.teachers.label_frames import label_frames
from labelfree.training.systems import train_system
from labelfree_lab.shapes.primitives import CLASS_NAMES

ROOT = Path(__file__).parents[1]
METHOD = str(ROOT / "src" / "labelfree" / "method") + "/"
LINK = re.compile(r"\[`(\w+)`\]\(\.\./(src/labelfree/method/\w+\.py)\)")
TINY = (
    *("--train.epochs=2", "--train.images_per_scene=1", "--labels.image_size=[48,64]", "--memory_gb=1"),
    *("--switch.start_epoch=1", "--switch.pool_2d=[net_3d]"),
)


def linked() -> set[tuple[str, str]]:
    """Return (function, file) of every equation in docs/method.md."""
    return set(LINK.findall((ROOT / "docs" / "method.md").read_text(encoding="utf-8")))


def called(work: Callable[[], object]) -> set[tuple[str, str]]:
    """Return (function, file) of every function of `method` that some work calls, in any thread."""
    found: set[tuple[str, str]] = set()

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(METHOD):
            found.add((frame.f_code.co_name, str(Path(file).relative_to(ROOT))))

    threading.settrace(watch)
    sys.settrace(watch)
    try:
        work()
    finally:
        sys.settrace(None)
        threading.settrace(None)
    return found


@pytest.mark.parametrize("granularity", ["batch", "sample", "pixel"])
def test_one_labelling_and_two_training_steps_call_every_equation(room: Path, tmp_path: Path, granularity: str) -> None:
    config = recipe("rooms", *SMALL, *TINY, f"--switch.granularity={granularity}")
    scene = open_scenes(room)[0]
    scene = replace(scene, frames=scene.frames[:1])
    run = open_run([scene], Vocabulary.from_names(CLASS_NAMES), config, tmp_path, fabric=make_fabric("cpu"))

    def work() -> None:
        label_frames(run.scenes, run.teachers)
        train_system(run.begin())

    expected = linked()
    assert len(expected) >= 7
    assert expected <= called(work)
