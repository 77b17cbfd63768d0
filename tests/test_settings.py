from __future__ import annotations

from pathlib import Path

import pytest

from labelfree import InputError, recipe
from labelfree.config import RECIPES_DIR, RunConfig
from labelfree.method.label_switching import Source
from labelfree.settings import read_settings, settings_yaml


@pytest.mark.parametrize("path", sorted(RECIPES_DIR.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_parses_and_survives_a_round_trip(path: Path, tmp_path: Path) -> None:
    config = read_settings(path)
    (tmp_path / "again.yaml").write_text(settings_yaml(config))
    assert read_settings(tmp_path / "again.yaml") == config


def test_scannet_is_the_paper() -> None:
    config = recipe("scannet")
    assert config.train == RunConfig().train
    assert (config.train.epochs, config.train.learning_rate, config.train.images_per_scene) == (30, 0.1, 16)
    assert (config.switch.start_epoch, config.labels.image_size) == (10, (240, 320))


def test_overrides() -> None:
    config = recipe("lab", "--train.epochs=3", "--switch.pool_2d=[CLIP_2D]", "--labels.latent_target=none")
    assert config.train.epochs == 3
    assert config.switch.pool_2d == (Source.CLIP_2D,)
    assert config.labels.latent_target == "none"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--train.epoch=3", "did you mean 'train.epochs'"),
        ("--trian.epochs=3", "did you mean 'train"),
        ("--train.epochs=0", "train.epochs is 0"),
        ("--train.epochs=many", "epochs"),
        ("--augment.crop_area=[2, 3]", "crop_area"),
        ("--networks.net_2d.backbone=resnet19", "resnet18"),
        ("--seed", "not an override"),
    ],
)
def test_mistakes_are_one_sentence(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        recipe("lab", override)


def test_unknown_keys_of_a_file_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("train: {epohcs: 3}\n")
    with pytest.raises(InputError, match=r"mine\.yaml: unknown key 'train\.epohcs'; did you mean 'train\.epochs'"):
        recipe(str(path))


def test_unknown_recipe_lists_the_shipped() -> None:
    with pytest.raises(InputError, match="scannet"):
        recipe("scanet")
