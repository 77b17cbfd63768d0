from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from labelfree.config.reading import read_settings
from labelfree.config.recipe_files import recipe_path
from labelfree.config.run_config import RunConfig
from labelfree.errors import InputError
from labelfree.paper_tables.rows import ALL_ROWS, ROWS_DIR, TABLE_1, TABLE_2, PaperValues, paper_table
from labelfree.paper_tables.schedule import recipe_world, row_settings
from labelfree.runtime.lab import WORLDS

CLIP_2D, CLIP_3D, NET_2D, NET_3D = "clip_2d", "clip_3d", "net_2d", "net_3d"
NO_SAM: dict[str, Any] = {"labels.refine": False, "switch.refine": False}

ABLATED: dict[str, dict[str, Any]] = {
    "baseline": {"system": "clip"},
    "wo_cns": {"system": "clip+sam"},
    "wo_refine": NO_SAM,
    "post_refine": {"predict.refine": True},
    "wo_ct": {"switch.pool_2d": (CLIP_2D, NET_2D), "switch.pool_3d": (CLIP_3D, NET_3D)},
    "wo_sct": {"switch.pool_2d": (CLIP_2D,), "switch.pool_3d": (CLIP_3D,)},
    "wo_clip": {"switch.pool_2d": (NET_2D, NET_3D), "switch.pool_3d": (NET_2D, NET_3D)},
    "latent_clip": {"labels.latent_target": "clip"},
    "latent_sam_clip": {"labels.latent_target": "sam+clip"},
    "latent_none": {"labels.latent_target": "none"},
    "images_half": {"train.images_factor": 0.5},
    "images_double": {"train.images_factor": 2.0},
    "full": {},
    "maskclip": {"system": "clip", "predict.views": "average"},
    "maskclip++": NO_SAM
    | {
        "labels.latent_target": "none",
        "switch.pool_2d": (NET_2D,),
        "switch.pool_3d": (NET_3D,),
    },
    "openscene": {"system": "openscene"},
    "clip2scene": NO_SAM
    | {"labels.latent_target": "clip", "switch.pool_2d": (CLIP_2D, NET_2D), "switch.pool_3d": (CLIP_3D, NET_3D)},
    "cns": {},
    "clip_sam": {"system": "clip+sam"},
    "clip_sam_segments": {"system": "clip+sam+segments"},
    "consensus_labels": {"system": "consensus-labels"},
    "cns_fuse": {"predict.fuse": True},
    "consensus_networks": {"system": "consensus"},
    "consensus": {"system": "consensus", "predict.fuse": True},
    "start_none": {"networks.backbone_weights": None, "networks.backbone_weights_3d": None},
}
"""What each row changes, as the paper describes it; the test below finds every other difference."""

STARTS = {"start_selfsup": "-selfsup", "start_tags": ""}
"""Rows of the lab's worlds: what follows the world's name in the names of both networks' initial weights."""


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def changes(full: RunConfig, other: RunConfig) -> dict[str, Any]:
    before, after = flat(asdict(full)), flat(asdict(other))
    assert before.keys() == after.keys()
    return {key: value for key, value in after.items() if before[key] != value}


@pytest.fixture(scope="module", params=["rooms", "streets", "scannet"])
def world(request: pytest.FixtureRequest) -> Path:
    """A recipe that sets nearly everything, and one that leaves nearly everything at the defaults."""
    return recipe_path(request.param)


@pytest.fixture(scope="module")
def whole(world: Path) -> RunConfig:
    """The settings of the world itself."""
    return read_settings(world)


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: row.name)
def test_a_row_changes_what_it_ablates_and_nothing_else(row: Any, world: Path, whole: RunConfig) -> None:
    before, stem = flat(asdict(whole)), recipe_world(world)
    if row.name in STARTS:
        if stem is None:
            assert not row.path(stem).exists()
            return
        weights = stem + STARTS[row.name]
        expected: dict[str, Any] = {"networks.backbone_weights": weights, "networks.backbone_weights_3d": weights}
    else:
        expected = ABLATED[row.name] | ({"train.sweeps": 2} if (row.name, stem) == ("clip2scene", "streets") else {})
    expected = {key: value for key, value in expected.items() if before[key] != value}
    if row.name == "wo_clip" and whole.switch.align:  # the frequencies of CLIP's labels are CLIP's too
        expected["switch.align"] = False
    assert changes(whole, read_settings(world, overlays=[row.path(stem)])) == expected


def test_the_papers_loss_changes_three_settings_of_every_row(world: Path) -> None:
    lab, paper = row_settings(world), row_settings(world, loss="paper")
    starts = set() if recipe_world(world) else set(STARTS)
    assert lab.keys() == paper.keys() == {row.overlay for row in ALL_ROWS} - starts
    printed = {"train.class_balance": 0.0, "switch.align": False, "train.average_decay": 0.0}
    for name, config in lab.items():
        expected = {key: value for key, value in printed.items() if flat(asdict(config))[key] != value}
        assert changes(config, paper[name]) == expected


def test_no_override_brings_an_extension_back_into_the_papers_loss() -> None:
    config = row_settings(recipe_path("rooms"), ["--train.class_balance=0.5"], "paper")["full"]
    assert (config.train.class_balance, config.train.average_decay, config.switch.align) == (0.0, 0.0, False)


def test_every_overlay_belongs_to_a_row_and_is_a_few_lines() -> None:
    files = set(ROWS_DIR.glob("*.yaml"))
    assert files == {path for row in ALL_ROWS for world in (None, *WORLDS) if (path := row.path(world)).exists()}
    for path in files:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith("# ")
        assert len(lines) <= 6
        assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_no_override_brings_back_what_a_row_takes_away() -> None:
    row = TABLE_2.row("latent_none")
    config = read_settings(recipe_path("rooms"), ["--labels.latent_target=clip", "--train.epochs=3"], [row.path()])
    assert (config.labels.latent_target, config.train.epochs) == ("none", 3)


def test_names_are_those_of_the_issue() -> None:
    assert ", ".join(row.name for row in TABLE_1.rows) == "maskclip, maskclip++, openscene, clip2scene, cns"
    assert ", ".join(row.name for row in TABLE_2.rows) == (
        "baseline, wo_cns, wo_refine, post_refine, wo_ct, wo_sct, wo_clip, latent_clip, latent_sam_clip, latent_none, "
        "images_half, images_double, full"
    )


def test_the_papers_gains_over_its_baseline() -> None:
    """The parentheses of Table 2, in 2D and 3D; w/o CT is printed as +10.1 there, but 27.7 - 17.3 is 10.4."""
    gains = {
        "wo_cns": (7.2, 5.2), "wo_refine": (6.4, 16.4), "post_refine": (10.8, 19.0), "wo_ct": (10.4, 16.8),
        "wo_sct": (7.4, 16.4), "wo_clip": (-12.6, -9.1), "latent_clip": (10.0, 18.2), "latent_sam_clip": (10.5, 18.3),
        "latent_none": (9.8, 17.8), "images_half": (10.6, 18.8), "images_double": (11.0, 19.1), "full": (11.1, 19.3),
    }  # fmt: skip
    base = TABLE_2.row("baseline").scannet
    for name, (gain_2d, gain_3d) in gains.items():
        paper = TABLE_2.row(name).scannet
        assert paper.miou_2d is not None
        assert paper.miou_3d is not None
        assert base.miou_2d is not None
        assert base.miou_3d is not None
        assert round(paper.miou_2d - base.miou_2d, 1) == gain_2d
        assert round(paper.miou_3d - base.miou_3d, 1) == gain_3d


def test_the_papers_values_of_a_world() -> None:
    row = TABLE_1.row("openscene")
    assert row.paper("rooms") == row.paper("scannet") == PaperValues(14.2, 16.8)
    assert row.paper("nuscenes") == row.paper("my/nuscenes-mini.yaml") == PaperValues(None, 14.6)
    assert TABLE_2.row("full").paper("nuscenes") == PaperValues()
    assert [row.outdoor.miou_3d for row in TABLE_1.rows] == [12.8, 15.3, 14.6, 20.8, 26.8]
    assert row.paper("streets") == row.paper("my/streets-mine.yaml") == PaperValues(12.4, 14.6)
    assert [row.outdoor.miou_2d for row in TABLE_1.rows] == [14.1, 17.3, 12.4, 18.6, 22.1]
    assert TABLE_2.row("full").paper("streets") == PaperValues()
    assert TABLE_1.row("cns").scannet == TABLE_2.row("full").scannet
    assert TABLE_1.row("maskclip").scannet == TABLE_2.row("baseline").scannet


def test_unknown_tables_and_rows_list_the_known() -> None:
    with pytest.raises(InputError, match="1 and 2"):
        paper_table(5)
    with pytest.raises(InputError, match="no row 'wo_sam'; its rows are baseline, wo_cns"):
        paper_table(2).row("wo_sam")
