"""The functions that docs/method.md links to each equation are those that labelling and training run."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from labelfree import Vocabulary, open_scenes, recipe
from labelfree.run import open_run
from labelfree.runtime.devices import make_fabric
from labelfree.teachers.label_frames import label_frames
from labelfree.training.systems import train_system
from labelfree_lab.shapes.primitives import CLASS_NAMES

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[`(\w+)`\]\(\.\./(src/labelfree/method/\w+\.py)\)")
SMALL = (
    *("--train.epochs=2", "--train.images_per_scene=2", "--labels.image_size=[48,64]", "--memory_gb=1"),
    *("--switch.start_epoch=1", "--train.class_balance=0"),
)


def linked() -> set[tuple[str, str]]:
    """Return (function, file) of every equation in docs/method.md."""
    return set(LINK.findall((ROOT / "docs" / "method.md").read_text(encoding="utf-8")))


def called(work: Callable[[], object]) -> set[tuple[str, str]]:
    """Return (function, file) of every function of `method` that some work calls, in any thread."""
    found: set[tuple[str, str]] = set()

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.parent.name == "method":
            found.add((frame.f_code.co_name, str(path.relative_to(ROOT))))

    import threading

    if sys.version_info >= (3, 12):
        threading.setprofile_all_threads(watch)
    else:
        threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return found


@pytest.mark.parametrize("granularity", ["batch", "sample", "pixel"])
def test_one_labelling_and_two_training_steps_call_every_equation(room: Path, tmp_path: Path, granularity: str) -> None:
    config = recipe("rooms", *SMALL, f"--switch.granularity={granularity}", "--switch.pool_2d=[net_3d]")

    def work() -> None:
        run = open_run(
            [open_scenes(room)[0]], Vocabulary.from_names(CLASS_NAMES), config, tmp_path, fabric=make_fabric("cpu")
        )
        label_frames(run.scenes, run.teachers)
        train_system(run)

    expected = linked()
    assert len(expected) >= 7
    assert expected <= called(work)
