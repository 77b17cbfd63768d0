from __future__ import annotations

from pathlib import Path

import numpy as np

from labelfree.data.layout import Survey
from labelfree.data.next_step import NextStep
from labelfree.data.survey import PIXELS_PER_PAIR, kept_bytes, render
from labelfree.training.kept_frames import write_frame
from labelfree.training.samples import LabelledFrame


def test_kept_frames_take_what_is_said(tmp_path: Path) -> None:
    size = (224, 416)
    pairs = np.arange(size[0] * size[1] // PIXELS_PER_PAIR, dtype=np.int32)
    maps = np.zeros(size, np.uint8)
    path = tmp_path / "one.frame"
    write_frame(path, LabelledFrame(np.stack([maps] * 3, -1), maps, maps.astype(np.uint16), pairs, pairs, pairs, None))
    assert path.stat().st_size == kept_bytes(1, size) + 4


def test_disk_of_the_whole_of_nuscenes() -> None:
    said = render(Survey("nuscenes", (), (), frames=144_654), NextStep("labelfree"), (224, 416), 64, None)
    assert "for 144,654 images at 224x416: about 1" in said
    assert "kept frames (labels.keep_frames) about 94.2 GiB more" in said
