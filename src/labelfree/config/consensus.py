"""Settings of system `consensus`, which is not in the paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from labelfree.config.ranges import Real, Whole, check_choice, check_ranges, positive

Rule = Literal["pool", "dawid-skene"]
"""How annotators are combined."""

LEVELS = (0.9, 0.8, 0.7, 0.6, 0.5)
"""Levels of the segments."""


@dataclass(frozen=True)
class ConsensusConfig:
    """The settings of consensus labels; only system `consensus` reads them. Not in the paper.

    Raises an InputError if a value is out of range.
    """

    temperature: float = 50.0
    """Factor of CLIP's cosines before the softmax."""
    tau: float = 1.0
    """Strength of the correction for the class prior, which is estimated without labels; 0 is off."""
    mask_share: float = 0.5
    """Share of scores that are pooled inside SAM's masks; the rest are the pixels' own."""
    segments: bool = True
    """Pool the scores of the points of each segment; off, each point has its own."""
    level: float = 0.7
    """Level of the segments, as `labelfree segments --level`."""
    rounds: int = 3
    """Rounds in which the image namer and the shape namer correct each other; 0 leaves the shape namer out."""
    rule: Rule = "pool"
    """Combination of the annotators: `pool` is a product of experts, `dawid-skene` estimates confusion matrices."""
    shape_weight: float = 2.0
    """Weight of the shape namer in the product of experts. Above 1, because a namer fitted on noisy labels is less
    sure than it is right."""
    shuffle_shapes: bool = False
    """Exchange the descriptors of the segments at random: a control, which must not gain over 0 rounds."""
    reach_px: int = 3
    """Distance in pixels up to which a pixel without a point takes the segment of a paired pixel."""
    relabel_at: tuple[float, ...] = (0.34, 0.67)
    """Shares of the epochs after which the networks' own probabilities join the consensus as an annotator."""
    network_weight: float = 0.5
    """Weight of the networks' probabilities in the product of experts."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            "consensus",
            temperature=positive(10_000),
            tau=Real(0, 2),
            mask_share=Real(0, 1),
            rounds=Whole(0, 20),
            shape_weight=Real(0, 10),
            reach_px=Whole(0, 100),
            relabel_at=Real(0, 1, below=True),
            network_weight=Real(0, 10),
        )
        check_choice(self, "consensus", rule=Rule, level=LEVELS)
