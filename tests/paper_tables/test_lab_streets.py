"""Rows of Table 1 on a tiny outdoor lab: drives read as nuScenes, pictures as nuImages, teachers of random weights."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from labelfree.config.recipe_files import recipe_path
from labelfree.data.nuimages.layout import CLASSES
from labelfree.files.metrics import METRICS
from labelfree.paper_tables.data import TableScenes
from labelfree.paper_tables.row_runner import RowRunner
from labelfree.paper_tables.rows import TABLE_1
from labelfree.paper_tables.schedule import Schedule, carry_out, finished, row_settings
from labelfree.vocabulary import Vocabulary
from labelfree_lab.layouts.street_dataset import StreetSize
from labelfree_lab.tables import LabStreets
from labelfree_lab.teachers.captions import build_tokenizer
from labelfree_lab.teachers.tiny_clip import export, new_tiny_clip, tiny_clip_config
from labelfree_lab.teachers.tiny_sam import export_tiny_sam, new_tiny_sam, tiny_sam_config
from labelfree_lab.teachers.worlds import STREETS

NAMES = Vocabulary.parse("nuscenes16")
SIZE = StreetSize(train_drives=1, train_key_frames=1, held_out_drives=1, image_size=(48, 88), azimuths=60)
SMALL = (
    "--labels.image_size=[48, 88]",
    "--teachers.sam_options.points_per_side=3",
    "--networks.net_2d.width=8",
    "--networks.net_2d.aspp_channels=8",
    "--networks.net_3d.planes=[8, 8, 8, 8, 8, 8, 8, 8]",
    "--networks.backbone_weights=null",
    "--networks.backbone_weights_3d=null",
    "--train.epochs=2",
    "--switch.start_epoch=1",
)


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> LabStreets:
    return LabStreets(tmp_path_factory.mktemp("streets"), SIZE, NAMES)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Overrides that name a CLIP and a SAM which have learned nothing."""
    folder = tmp_path_factory.mktemp("teachers")
    tokenizer = build_tokenizer(STREETS.class_names, STREETS.wording)
    export(new_tiny_clip(tiny_clip_config(len(tokenizer), layers=1), 0), tokenizer, folder / "clip")
    sam = new_tiny_sam(tiny_sam_config(hidden=32, layers=1, channels=32, image_side=88), 0)
    export_tiny_sam(sam.config, sam.state_dict(), folder / "sam")
    return f"--teachers.clip={folder / 'clip'}", f"--teachers.sam={folder / 'sam'}"


def test_scenes_of_a_seed(streets: LabStreets) -> None:
    scenes: TableScenes = streets.open(1)
    key = scenes.train[0]
    assert (len(scenes.train), len(scenes.held_out)) == (1, 1)
    assert len(key.frames) == 6
    assert key.intensity is not None
    assert key.colours is None
    truth = scenes.held_out[0].labels
    assert truth is not None
    assert set(truth[truth != 255].tolist()) <= set(range(16))
    assert len(set(truth.tolist())) > 4
    assert scenes.pictures is not None
    assert scenes.pictures.measured == CLASSES
    assert len(scenes.pictures) == 6
    labels = scenes.pictures[0].frames[0].load_labels()
    assert labels is not None
    assert NAMES.names.index("driveable surface") in labels  # in the vocabulary's ids, not nuImages' own
    assert streets.open(1).train[0].name == key.name
    assert "StreetSize(train_drives=1" in streets.identity


def test_clip2scene_trains_on_earlier_sweeps(streets: LabStreets, teachers: tuple[str, str]) -> None:
    """Of two key frames of a drive the second has two earlier sweeps."""
    streets = LabStreets(streets.folder, replace(SIZE, train_key_frames=2), NAMES)
    first, second = (scene.sweeps.load(2) for scene in streets.open(1).train if scene.sweeps is not None)
    assert (len(first), len(second)) == (0, 2)
    schedule = Schedule(row_settings(recipe_path("streets"), (*SMALL, *teachers)), "two", streets.folder / "two")
    job = schedule.job(TABLE_1.row("clip2scene"), 1)
    assert job.config.train.sweeps == 2
    carry_out([job], RowRunner(streets, streets.folder / "out" / "cache", "cpu"))
    result = finished(job)
    assert result is not None
    assert result.measures.miou_2d is not None
    assert result.measures.miou_3d is not None
    lines = (job.folder / "training" / METRICS).read_text().splitlines()
    assert len(lines) == 4
    assert all(0 < json.loads(line)["latent_3d"] < 2 for line in lines)


@pytest.mark.parametrize("name", ["maskclip", "cns", "openscene"])
def test_a_row_is_measured_on_key_frames_in_3d_and_on_nuimages_in_2d(
    name: str, streets: LabStreets, teachers: tuple[str, str]
) -> None:
    out = streets.folder / "out"
    schedule = Schedule(row_settings(recipe_path("streets"), (*SMALL, *teachers)), streets.identity, out)
    job = schedule.job(TABLE_1.row(name), 1)
    carry_out([job], RowRunner(streets, out / "cache", "cpu"))
    result = finished(job)
    assert result is not None
    found = result.measures
    assert found.miou_3d is not None
    assert tuple(found.details["evaluation_3d"]["iou"]) == NAMES.names
    assert (found.miou_2d is None) is (found.acc_2d is None) is (name == "openscene")
    if name != "openscene":
        counted = {label for label, iou in found.details["evaluation_2d"]["iou"].items() if iou is not None}
        assert counted
        assert counted <= set(CLASSES)
