"""The variants of stage two: sources of its labels, how own labels are made, and the labels in the place of CLIP's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from labelfree.config.run_config import RunConfig
from labelfree.errors import InputError
from labelfree.method.sources import ALL_SOURCES, Pick, Source

Guide = Literal["online", "average", "frozen"]
"""The networks that make the own labels: those of the step, their moving average, or those at the end of stage one."""

Given = Literal["clip", "symmetric", "truth"]
"""The given labels of both stages, which are voted: CLIP's, truth with symmetric noise at CLIP's error rate, truth."""

AVERAGE_DECAY = 0.99
"""Decay per step of guide `average`, which starts from the networks at the end of stage one."""

ONLY_CLIP: tuple[Source, ...] = ("clip_2d", "clip_3d")


@dataclass(frozen=True)
class Variant:
    """One variant; the defaults are stage two as printed in the paper."""

    name: str
    title: str
    pool: tuple[Source, ...] = ALL_SOURCES
    refine: bool = True
    pick: Pick = "argmax"
    guide: Guide = "online"
    rate: float = 1.0
    """Factor on the learning rates of stage two."""
    given: Given = "clip"

    def config(self, base: RunConfig) -> RunConfig:
        """Return the settings of stage two."""
        train = base.train
        return replace(
            base,
            switch=replace(base.switch, pool_2d=self.pool, pool_3d=self.pool, refine=self.refine, pick=self.pick),
            train=replace(
                train,
                learning_rate=self.rate * train.rate_of("2d"),
                learning_rate_3d=self.rate * train.rate_of("3d"),
            ),
        )


VARIANTS = (
    Variant("clip", "CLIP's labels only", ONLY_CLIP),
    Variant("paper", "as in the paper: 50 % CLIP, 25 % each network, voted"),
    Variant("no_vote", "own labels without the vote", refine=False),
    Variant("drawn", "own labels drawn from the posterior, no vote", refine=False, pick="draw"),
    Variant("drawn_vote", "own labels drawn from the posterior, then voted", pick="draw"),
    Variant("ema", "own labels of the networks' moving average", guide="average"),
    Variant("frozen", "own labels of the networks of stage one", guide="frozen"),
    Variant("low_rate", "a tenth of the learning rate", rate=0.1),
    Variant("clip_75", "75 % CLIP", (*ONLY_CLIP * 3, "net_2d", "net_3d")),
    Variant("symmetric", "given labels: truth with symmetric noise at CLIP's error rate", given="symmetric"),
    Variant("truth", "given labels: truth", given="truth"),
)


def chosen_variants(names: str) -> tuple[Variant, ...]:
    """Return the variants named in a comma-separated list. Raises an `InputError` for an unknown name."""
    known = {variant.name: variant for variant in VARIANTS}
    asked = names.split(",")
    for name in asked:
        if name not in known:
            raise InputError(f"--variants names '{name}': give some of {', '.join(known)}.")
    return tuple(known[name] for name in asked)
