from __future__ import annotations

from pathlib import Path

import numpy as np

from labelfree.data.preparing import PIXELS_PER_PAIR, kept_bytes, render
from labelfree.data.source import Survey
from labelfree.training.kept_frames import write_frame
from labelfree.training.samples import LabelledFrame


def test_kept_frames_take_what_is_said(tmp_path: Path) -> None:
    size = (224, 416)
    pairs = np.arange(size[0] * size[1] // PIXELS_PER_PAIR)
    maps = np.zeros(size, np.uint8)
    path = tmp_path / "one.frame"
    write_frame(path, LabelledFrame(np.stack([maps] * 3, -1), maps, maps.astype(np.uint16), pairs, pairs, pairs, None))
    assert path.stat().st_size == kept_bytes(1, size) + 4


def test_disk_of_the_whole_of_nuscenes() -> None:
    said = render(Survey("nuscenes", (), (), frames=144_654), "nuscenes", (224, 416), 64, None)
    assert "for 144,654 pictures at 224x416: about 1" in said
    assert "with labels.keep_frames=true about 94.2 GiB more" in said


def test_the_next_command_takes_the_recipe_that_was_asked_for() -> None:
    trained_on = Survey("nuscenes", (), (), next_command="labelfree label ROOT --out runs")
    assert render(trained_on, "street", (96, 176), 64, None).endswith(
        "next: labelfree label ROOT --out runs --recipe street"
    )
    measured = Survey("nuimages", (), (), next_command="labelfree evaluate runs ROOT")
    assert measured.command("street") == "labelfree evaluate runs ROOT"
