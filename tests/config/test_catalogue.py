from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from labelfree.config.catalogue import MACHINE, OPEN, catalogue, yaml_text
from labelfree.config.run_config import RunConfig
from labelfree.errors import InputError


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def test_every_setting_stands_there_once_with_its_default_and_a_description() -> None:
    expected = flat(asdict(RunConfig()))
    found = catalogue()
    assert [setting.name for setting in found] == list(expected)
    assert {setting.name: setting.default for setting in found} == {k: yaml_text(v) for k, v in expected.items()}
    assert all(setting.description.endswith((".", '."')) and setting.allowed for setting in found)
    assert set(expected) >= (MACHINE | OPEN)


def test_the_papers_values_are_those_of_its_recipes() -> None:
    by_name = {setting.name: setting for setting in catalogue()}
    assert by_name["train.epochs"].paper == "ScanNet 30, nuScenes 20"
    assert by_name["train.learning_rate"].paper == "0.1"
    assert by_name["networks.net_2d.backbone"].paper == "open"
    assert by_name["train.workers"].paper == "–"


def test_allowed_values_are_the_rules_that_hold() -> None:
    by_name = {setting.name: setting.allowed for setting in catalogue()}
    assert by_name["system"] == ("cns, clip, clip+sam, clip+sam+segments, openscene, consensus-labels, consensus")
    assert by_name["train.average_decay"] == "a number from 0 up to, not including, 1"
    assert by_name["labels.image_size"] == "each a whole number from 8 to 8192"
    assert by_name["pairing.relative"] == "a positive number, at most 1000, or null"
    assert by_name["switch.pool_2d"] == "a list, each entry one of clip_2d, clip_3d, net_2d, net_3d"
    assert by_name["labels.refine"] == "true or false"


def test_a_prefix_takes_a_group_or_one_setting() -> None:
    assert {setting.group for setting in catalogue("switch")} == {"switch"}
    assert {setting.group for setting in catalogue("networks")} == {"networks", "networks.net_2d", "networks.net_3d"}
    assert [setting.name for setting in catalogue("train.epochs")] == ["train.epochs"]
    with pytest.raises(InputError, match=r"There is no setting 'train\.epoch'; did you mean 'train\.epochs'\?"):
        catalogue("train.epoch")
