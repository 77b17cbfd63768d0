"""Settings that choose a system and what it labels with."""

from __future__ import annotations

import pytest

from labelfree import InputError, recipe
from labelfree.config.run_config import RunConfig
from labelfree.config.training import SwitchConfig, TrainConfig, TrainingPlan


def test_the_defaults_are_the_paper() -> None:
    config = RunConfig()
    assert (config.system, config.train.modalities, config.train.images_factor) == ("cns", ("2d", "3d"), 1.0)
    assert (config.predict.refine, config.predict.views, config.predict.unseen) == (False, "vote", "nearest")


def test_every_switch_can_be_set() -> None:
    config = recipe(
        "rooms",
        "--system=openscene",
        "--train.images_factor=0.5",
        "--train.modalities=[3d]",
        "--switch.pool_3d=[clip_3d, net_3d]",
        "--predict.refine=true",
        "--predict.views=average",
        "--teachers.clip_options.key_smoothing=true",
        "--teachers.prompt_denoise=0.5",
    )
    assert (config.system, config.train.modalities, config.predict.refine) == ("openscene", ("3d",), True)
    assert (config.teachers.clip_options.key_smoothing, config.teachers.prompt_denoise) == (True, 0.5)
    assert config.train.images() == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("--system=clip2scene",), "system"),
        (("--train.modalities=[4d]",), "modalities"),
        (("--train.modalities=[]",), r"give \['2d', '3d'\], \['2d'\] or \['3d'\]"),
        (("--train.images_factor=0",), r"train\.images_factor is 0.*positive"),
        (("--predict.views=mean",), "views"),
        (("--predict.unseen=none",), "unseen"),
        (("--predict.refined=true",), "did you mean 'predict.refine'"),
        (("--train.modalities=[2d]",), r"take net_3d out of switch\.pool_2d, or add '3d' to train\.modalities"),
        (("--train.modalities=[3d]",), r"take net_2d out of switch\.pool_3d, or add '2d' to train\.modalities"),
        (("--system=openscene", "--train.modalities=[2d]"), "add '3d', the network it trains"),
        (("--system=clip+sam", "--predict.views=average"), r"predict\.views is average but system is clip\+sam"),
    ],
)
def test_mistakes_say_what_to_change(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        recipe("rooms", *overrides)


def test_a_plan_at_the_defaults_has_the_digest_that_it_had_before_its_later_settings() -> None:
    """Checkpoints of earlier versions still resume."""
    assert TrainingPlan().digest(["a", "b"], "x") == "cc05aa81a2e4000d1735d7d92081f06567e271b2f73d8570277a82216b3bf1be"
    for other in (TrainingPlan(switch=SwitchConfig(pick="draw")), TrainingPlan(train=TrainConfig(sweeps=2))):
        assert other.digest(["a", "b"], "x") != TrainingPlan().digest(["a", "b"], "x")
