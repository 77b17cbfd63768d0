"""Settings of training: optimisation, label switching, augmentation."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, get_args

from labelfree.config.ranges import Real, Whole, check_choice, check_ranges, positive
from labelfree.errors import InputError
from labelfree.method.sources import ALL_SOURCES, Granularity, Source

Modality = Literal["2d", "3d"]
"""One of the two networks: of images or of points."""


MODALITIES: tuple[Modality, ...] = get_args(Modality)


MAX_WORKERS = 256
"""More processes that prepare batches exhaust a machine before they help."""


MAX_SEED = 2**63 - 1
"""Seeds are 64-bit, in PyTorch and in files."""


Precision = Literal["auto", "float32"]


@dataclass(frozen=True)
class TrainConfig:
    """The optimisation of the paper; defaults are its ScanNet setting."""

    epochs: int = 30
    """Passes over the training scenes."""
    scenes_per_batch: int = 8
    """Scenes in one step, over all processes."""
    images_per_scene: int = 16
    """Images drawn from each scene in one step."""
    images_factor: float = 1.0
    """Factor on `images_per_scene`: Table 2 halves and doubles it; at least one image is always drawn."""
    modalities: tuple[Modality, ...] = MODALITIES
    """Networks that are trained: both in the paper, `["3d"]` alone for CLIP2Scene; the other one is left out."""
    optimiser: Literal["sgd", "adamw"] = "sgd"
    """`sgd` is the paper's; `adamw` needs fewer steps, which is what the lab's small budget asks for."""
    learning_rate: float = 0.1
    """Rate at the start; a cosine takes it to zero, epoch by epoch."""
    learning_rate_3d: float | None = None
    """Rate of the 3D network; None is the same as the 2D network's, as in the paper."""
    backbone_rate: float = 1.0
    """Factor on the rates of what may start from trained weights: the ResNet and the MinkUNet; the rest, pyramid and
    heads, starts at random and takes the whole rate."""
    momentum: float = 0.9
    """SGD's momentum."""
    dampening: float = 0.1
    """SGD's dampening (CLIP2Scene)."""
    weight_decay: float = 1e-4
    """Weight decay."""
    warmup_epochs: int = 0
    """Epochs over which the rate rises linearly; 0 in the paper."""
    average_decay: float = 0.0
    """Label with the running mean of the weights, keeping this share of it at each step; 0, as in the paper, takes the
    last step's weights."""
    class_balance: float = 0.0
    """Weigh each class's cross-entropy by its frequency among the step's labels to the power of minus this; 0, as in
    the paper, is the plain mean."""
    latent_weight: float = 1.0
    """Weight of Eq. 7 beside the cross-entropies."""
    precision: Precision = "auto"
    """Number format: `auto` takes 16 bits where the hardware multiplies them faster, `float32` is the same on every
    machine, and faster for networks as narrow as the lab's."""
    workers: int = 0
    """Processes that prepare batches; 0 prepares them in the main process."""
    tensorboard: bool = False
    """Write curves for TensorBoard (extra `tensorboard`) beside metrics.jsonl."""
    checkpoint_seconds: float = 60.0
    """Time between checkpoints."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            "train",
            epochs=Whole(1, 1_000_000),
            scenes_per_batch=Whole(1, 10_000),
            images_per_scene=Whole(1, 10_000),
            images_factor=positive(1000),
            learning_rate=positive(1000),
            learning_rate_3d=positive(1000),
            backbone_rate=positive(1000),
            momentum=Real(0, 1, below=True),
            dampening=Real(0, 1),
            weight_decay=Real(0, 1000),
            warmup_epochs=Whole(0, 1_000_000),
            average_decay=Real(0, 1, below=True),
            class_balance=Real(0, 1),
            latent_weight=Real(0, 1_000_000),
            workers=Whole(0, MAX_WORKERS),
            checkpoint_seconds=Real(0, 1e9),
        )
        check_choice(self, "train", optimiser=("sgd", "adamw"), precision=Precision)
        wrong = [modality for modality in self.modalities if modality not in MODALITIES]
        if wrong or not self.modalities or len(set(self.modalities)) < len(self.modalities):
            raise InputError(f"train.modalities is {list(self.modalities)}: give ['2d', '3d'], ['2d'] or ['3d'].")

    def images(self) -> int:
        """Return how many images a step draws from each scene."""
        return max(1, math.floor(self.images_per_scene * self.images_factor + 0.5))

    def rate_of(self, modality: Modality) -> float:
        """Return the rate a network starts at."""
        return self.learning_rate_3d or self.learning_rate if modality == "3d" else self.learning_rate


@dataclass(frozen=True)
class SwitchConfig:
    """When and among what the labels are switched (Eq. 6)."""

    start_epoch: int = 10
    """First epoch of stage two."""
    pool_2d: tuple[Source, ...] = ALL_SOURCES
    """Sources drawn for the 2D network, each with equal probability."""
    pool_3d: tuple[Source, ...] = ALL_SOURCES
    """Sources drawn for the 3D network."""
    granularity: Granularity = "batch"
    """One draw per batch (CLIP2Scene's precedent), per sample or per pixel."""
    refine: bool = True
    """Refine the networks' own labels by the vote inside SAM's masks."""
    align: bool = False
    """Give the networks' own labels the class frequencies of CLIP's in the batch before the vote; off in the paper."""

    def __post_init__(self) -> None:
        if not self.pool_2d or not self.pool_3d:
            raise InputError("switch.pool_2d and switch.pool_3d need at least one source, such as clip_2d.")
        check_ranges(self, "switch", start_epoch=Whole(0, 1_000_000))
        check_choice(self, "switch", granularity=Granularity)


@dataclass(frozen=True)
class AugmentConfig:
    """How far training images and points may be moved; everything off gives the plain data."""

    crop_area: tuple[float, float] = (0.3, 1.0)
    """Share of the image that a random crop keeps, drawn uniformly; (1, 1) switches crops off."""
    crop_aspect: tuple[float, float] = (0.8, 1.25)
    """Change of the crop's aspect ratio, drawn log-uniformly: the random resize."""
    flip_images: bool = True
    """Mirror an image with probability one half."""
    rotate_points: bool = True
    """Turn each scene about z by a uniform angle."""
    flip_points: bool = True
    """Mirror a scene along x and along y, each with probability one half."""

    def __post_init__(self) -> None:
        check_ranges(self, "augment", crop_area=positive(1), crop_aspect=positive(100))
        low, high = self.crop_area
        if low > high:
            raise InputError(f"augment.crop_area is {self.crop_area}: give two shares 0 < low <= high <= 1.")
        if self.crop_aspect[0] > self.crop_aspect[1]:
            raise InputError(f"augment.crop_aspect is {self.crop_aspect}: give two positive factors, low <= high.")


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides what training computes, besides the scenes and the starting weights."""

    seed: int = 0
    train: TrainConfig = field(default_factory=TrainConfig)
    switch: SwitchConfig = field(default_factory=SwitchConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        check_ranges(self, "", seed=Whole(0, MAX_SEED))
        for modality, pool, source in (
            ("2d", self.switch.pool_2d, "net_3d"),
            ("3d", self.switch.pool_3d, "net_2d"),
        ):
            other = "3d" if modality == "2d" else "2d"
            if self.train.modalities == (modality,) and source in pool:
                raise InputError(
                    f"switch.pool_{modality} holds {source} but train.modalities is ['{modality}']: take "
                    f"{source} out of switch.pool_{modality}, or add '{other}' to train.modalities."
                )

    def digest(self, scene_names: Sequence[str], extra: str = "") -> str:
        """Return a digest of what must not change between a run and its continuation."""
        same = replace(self.train, workers=0, checkpoint_seconds=0.0, tensorboard=False)
        text = json.dumps([asdict(replace(self, train=same)), list(scene_names), extra], default=str, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
