"""The path of docs/viewer.md in miniature: run, search, correct, run again, export, read with other libraries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.small_recipe import SMALL
from labelfree.cli.main import main
from labelfree.data.collection import open_scenes
from labelfree.viewer.layers import NETWORK_FEATURES
from labelfree.viewer.opening import open_run_folder, scene_opener

COMMAND = ["--recipe", "rooms", "--classes", "wall, floor, chair, table", *SMALL, "--train.epochs=1"]
CHAIR = 2


def test_search_correct_run_again_and_export(room: Path, tmp_path: Path) -> None:
    laspy, coco = pytest.importorskip("laspy"), pytest.importorskip("pycocotools.coco")
    pytest.importorskip("lazrs")
    first, second = tmp_path / "first", tmp_path / "second"
    command = ["run", str(room), *COMMAND, "--switch.start_epoch=0", "--cache", str(tmp_path / "cache")]
    assert main([*command, "--out", str(first)]) == 0

    # Open, search, correct, save
    opened = open_run_folder(first, tmp_path / "cache", torch.device("cpu"))
    session = scene_opener(opened, open_scenes(room), True)("room")
    session.search("chair", NETWORK_FEATURES)
    found = session.found()[0]
    session.select_segment(found.segment)
    chosen = session.selected.copy()
    assert session.assign(CHAIR) == int(chosen.sum()) == found.points
    session.save()

    # Run again on the corrections
    assert main([*command, "--out", str(second), "--corrections", str(first)]) == 0
    assert f"{found.points:,} points of 1 scene(s) were corrected" in (second / "report.html").read_text()

    # Export and read with the libraries of the formats
    assert main(["export", str(second), "--format", "laz"]) == 0
    cloud = laspy.read(second / "export" / "laz" / "room.laz")
    assert np.array_equal(np.asarray(cloud.label)[chosen], np.full(chosen.sum(), CHAIR))
    assert np.abs(cloud.xyz - open_scenes(room)[0].points_world).max() < 1e-3
    assert main(["export", str(second), "--format", "coco"]) == 0
    annotations = coco.COCO(second / "export" / "coco" / "annotations.json")
    names = {each["name"] for each in annotations.loadCats(annotations.getCatIds())}
    assert names == {"wall", "floor", "chair", "table"}
    assert len(annotations.imgs) == len(open_scenes(room)[0].frames)
    assert json.loads((second / "corrections" / "room.json").read_text())
