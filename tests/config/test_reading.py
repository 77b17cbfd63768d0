from __future__ import annotations

from pathlib import Path

import pytest

from labelfree import InputError, recipe
from labelfree.config.reading import read_settings, settings_yaml
from labelfree.config.recipe_files import RECIPES_DIR, recipe_path
from labelfree.config.run_config import RunConfig


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
    config = recipe("rooms", "--train.epochs=3", "--switch.pool_2d=[clip_2d]", "--labels.latent_target=none")
    assert config.train.epochs == 3
    assert config.switch.pool_2d == ("clip_2d",)
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
        recipe("rooms", override)


def test_unknown_keys_of_a_file_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("train: {epohcs: 3}\n")
    with pytest.raises(InputError, match=r"mine\.yaml: unknown key 'train\.epohcs'; did you mean 'train\.epochs'"):
        recipe(str(path))


def test_unknown_recipe_lists_the_shipped() -> None:
    with pytest.raises(InputError, match="scannet"):
        recipe("scanet")


def test_overlays_come_last_and_merge_key_by_key(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("train: {epochs: 5, workers: 2}\nswitch: {pool_2d: [clip_2d]}\n")
    second.write_text("train: {epochs: 7}\n")
    config = read_settings(recipe_path("rooms"), ["--train.epochs=3", "--train.scenes_per_batch=2"], [first, second])
    train = config.train
    assert (train.epochs, train.workers, train.scenes_per_batch, train.optimiser) == (7, 2, 2, "adamw")
    assert config.switch.pool_2d == ("clip_2d",)
    assert read_settings(recipe_path("rooms"), (), []) == recipe("rooms")


def test_mistakes_in_an_overlay_name_it(tmp_path: Path) -> None:
    path = tmp_path / "row.yaml"
    path.write_text("switch: {pool_2b: [clip_2d]}\n")
    with pytest.raises(InputError, match=r"row\.yaml: unknown key 'switch\.pool_2b'; did you mean 'switch\.pool_2d'"):
        read_settings(recipe_path("rooms"), overlays=[path])
    path.write_text("train: {epochs: many}\n")
    with pytest.raises(InputError, match=r"rooms\.yaml, .*row\.yaml: "):
        read_settings(recipe_path("rooms"), overlays=[path])
