"""Every setting of a run as dataclasses; a recipe is their YAML, `--a.b=c` overrides a field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from labelfree.config.consensus import ConsensusConfig
from labelfree.config.labels import LabelConfig, PairingConfig, PredictConfig
from labelfree.config.networks import NetworkConfig
from labelfree.config.ranges import Whole, check_choice, check_ranges, positive
from labelfree.config.teachers import TeacherConfig
from labelfree.config.training import MAX_SEED, AugmentConfig, SwitchConfig, TrainConfig, TrainingPlan
from labelfree.errors import InputError

System = Literal["cns", "clip", "clip+sam", "clip+sam+segments", "openscene", "consensus-labels", "consensus"]
"""The kind of system that a run makes: co-trained networks, labels without training, or OpenScene."""

TRAINED: frozenset[System] = frozenset({"cns", "openscene", "consensus"})
"""The systems that train networks."""


@dataclass(frozen=True)
class RunConfig:
    """All settings of one run.

    Raises an InputError if a value is out of range or two settings contradict each other.
    """

    system: System = "cns"
    """Kind of system. `cns` co-trains the networks; with other settings it is MaskCLIP+, CLIP2Scene or an ablation.
    `clip`, `clip+sam` and `clip+sam+segments` label without training. `openscene` distils CLIP's features into the 3D
    network. `consensus` trains both networks on consensus labels, `consensus-labels` are these labels alone."""
    seed: int = 0
    """Seed of initial weights, augmentation, batches and label switching."""
    teachers: TeacherConfig = field(default_factory=TeacherConfig)
    """CLIP and SAM."""
    labels: LabelConfig = field(default_factory=LabelConfig)
    """Conversion of teacher outputs to training labels."""
    pairing: PairingConfig = field(default_factory=PairingConfig)
    """Pairs of pixels and points."""
    networks: NetworkConfig = field(default_factory=NetworkConfig)
    """The two networks."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimisation."""
    switch: SwitchConfig = field(default_factory=SwitchConfig)
    """Label switching in stage two."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Augmentation."""
    consensus: ConsensusConfig = field(default_factory=ConsensusConfig)
    """Labels of systems `consensus`, `consensus-labels` and `clip+sam+segments`."""
    predict: PredictConfig = field(default_factory=PredictConfig)
    """Labelling with the trained system."""
    memory_gb: float = 4.0
    """Largest memory of the labelled scenes kept during training, in GB per training process, whose workers divide it;
    others are read again."""

    def __post_init__(self) -> None:
        check_choice(self, "", system=System)
        check_ranges(self, "", seed=Whole(0, MAX_SEED), memory_gb=positive(1_000_000))
        if self.system == "openscene" and "3d" not in self.train.modalities:
            raise InputError("system is openscene but train.modalities is ['2d']: add '3d', the network it trains.")
        if self.system == "clip+sam" and self.predict.views == "average":
            raise InputError(
                "predict.views is average but system is clip+sam, whose labels have no scores after the vote inside "
                "masks: set it to vote."
            )
        if self.system in TRAINED:
            self.plan()  # checks the settings against each other
        if self.networks.net_2d.latent_width != self.labels.latent_width:
            raise InputError(
                f"networks.net_2d.latent_width is {self.networks.net_2d.latent_width} but labels.latent_width is "
                f"{self.labels.latent_width}: make them equal."
            )

    def plan(self) -> TrainingPlan:
        """Return the settings that training needs."""
        return TrainingPlan(self.seed, self.train, self.switch, self.augment)
