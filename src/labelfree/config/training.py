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
from labelfree.method.sources import ALL_SOURCES, Granularity, Pick, Source

Modality = Literal["2d", "3d"]
"""The modality of a network: images or points."""


MODALITIES: tuple[Modality, ...] = get_args(Modality)


MAX_WORKERS = 256
"""Largest number of processes that prepare batches."""


MAX_SEED = 2**63 - 1
"""Largest seed: seeds are signed 64-bit numbers, in PyTorch and in files."""


Precision = Literal["auto", "float32"]


@dataclass(frozen=True)
class TrainConfig:
    """The settings of optimisation; the defaults are those of recipe `scannet`.

    Raises an InputError if a value is out of range.
    """

    epochs: int = 30
    """Passes over the training scenes."""
    scenes_per_batch: int = 8
    """Scenes in one step over all processes; the paper does not state it."""
    images_per_scene: int = 16
    """Images drawn from each scene in one step."""
    images_factor: float = 1.0
    """Factor on `images_per_scene`, 0.5 and 2 in two rows of Table 2; at least one image is drawn."""
    sweeps: int = 0
    """Earlier LiDAR sweeps per key frame that the 3D network is trained on too; nuScenes has them. Latent consistency
    in 3D is then CLIP2Scene's, over the voxels that all sweeps share; CLIP2Scene takes 2. Not in the paper."""
    modalities: tuple[Modality, ...] = MODALITIES
    """Networks that are trained: both in the paper, `["3d"]` for CLIP2Scene."""
    optimiser: Literal["sgd", "adamw"] = "sgd"
    """`sgd` is CLIP2Scene's optimiser; the paper names none. `adamw` needs fewer steps; the lab's recipes use it."""
    learning_rate: float = 0.1
    """Learning rate at the start; it falls to zero by a cosine over the epochs."""
    learning_rate_3d: float | None = None
    """Learning rate of the 3D network; `null` takes `learning_rate`, as in the paper."""
    backbone_rate: float = 1.0
    """Factor on the learning rates of the backbones, ResNet and MinkUNet; pyramid and heads take the full rate. 1 is
    the paper's."""
    momentum: float = 0.9
    """Momentum of SGD: CLIP2Scene's value, not stated in the paper."""
    dampening: float = 0.1
    """Dampening of SGD: CLIP2Scene's value, not stated in the paper."""
    weight_decay: float = 1e-4
    """Weight decay of either optimiser: CLIP2Scene's value, not stated in the paper."""
    warmup_epochs: int = 0
    """Epochs over which the learning rate rises linearly at the start; 0 is off. Not in the paper."""
    average_decay: float = 0.0
    """Decay per step of the moving average of the weights, which are then the trained networks; 0 takes the weights of
    the last step. Not in the paper."""
    class_balance: float = 0.0
    """Power p of the class weights frequency ** -p in the cross-entropy, with frequencies of the step's labels; 0 is
    the paper's plain mean. Not in the paper."""
    latent_weight: float = 1.0
    """Weight of the latent loss (Eq. 7) relative to the cross-entropies."""
    precision: Precision = "auto"
    """Number format: `auto` takes 16 bits where the hardware multiplies them faster. `float32` is the same on every
    machine, and faster for narrow networks such as the lab's."""
    sync_norm: bool = True
    """Several processes normalise their joint batch, so that they train as one process does. `false` lets each process
    normalise its own scenes, which saves two exchanges per layer and step. The paper states neither."""
    workers: int | None = None
    """Processes that prepare batches for each training process; 0 prepares them in the main process. `null` takes 0 on
    a CPU; with a GPU it takes up to 8, one core and half a GB of free shared memory for each."""
    tensorboard: bool = False
    """Write curves for TensorBoard beside metrics.jsonl; needs the extra `tensorboard`."""
    checkpoint_seconds: float = 60.0
    """Time between checkpoints, in seconds."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            "train",
            epochs=Whole(1, 1_000_000),
            scenes_per_batch=Whole(1, 10_000),
            images_per_scene=Whole(1, 10_000),
            images_factor=positive(1000),
            sweeps=Whole(0, 100),
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
        """Return the number of images that a step draws from each scene, at least 1."""
        return max(1, math.floor(self.images_per_scene * self.images_factor + 0.5))

    def rate_of(self, modality: Modality) -> float:
        """Return the learning rate at which a network starts."""
        return self.learning_rate_3d or self.learning_rate if modality == "3d" else self.learning_rate


@dataclass(frozen=True)
class SwitchConfig:
    """The settings of label switching (Eq. 6).

    Raises an InputError if a pool is empty or a value is out of range.
    """

    start_epoch: int = 10
    """First epoch of stage two, counted from 0."""
    pool_2d: tuple[Source, ...] = ALL_SOURCES
    """Sources drawn for the 2D network, each with equal probability."""
    pool_3d: tuple[Source, ...] = ALL_SOURCES
    """Sources drawn for the 3D network, each with equal probability."""
    granularity: Granularity = "batch"
    """Unit of one draw: `batch` as in CLIP2Scene, `sample` or `pixel`. Not stated in the paper."""
    refine: bool = True
    """Refine the networks' own labels by the vote inside SAM's masks."""
    align: bool = False
    """Align the class frequencies of the networks' own labels with those of CLIP's labels in the batch, before the
    vote. Not in the paper."""
    pick: Pick = "argmax"
    """Choice of a network's own label, before the vote: `argmax`, the most probable class as in the paper, or `draw`,
    a class drawn from the posterior, which keeps rare classes if `switch.refine` is off."""

    def __post_init__(self) -> None:
        if not self.pool_2d or not self.pool_3d:
            raise InputError("switch.pool_2d and switch.pool_3d need at least one source, such as clip_2d.")
        check_ranges(self, "switch", start_epoch=Whole(0, 1_000_000))
        check_choice(self, "switch", granularity=Granularity, pick=Pick)


@dataclass(frozen=True)
class AugmentConfig:
    """The settings of augmentation of training images and points.

    Raises an InputError if a value is out of range.
    """

    crop_area: tuple[float, float] = (0.3, 1.0)
    """Smallest and largest share of the image area that a random crop keeps, drawn uniformly; [1, 1] is off. The paper
    states no range."""
    crop_aspect: tuple[float, float] = (0.8, 1.25)
    """Smallest and largest factor on the aspect ratio of the crop, drawn log-uniformly (random resize). The paper
    states no range."""
    flip_images: bool = True
    """Flip an image horizontally with probability 0.5."""
    rotate_points: bool = True
    """Rotate each scene about z by a uniform random angle."""
    flip_points: bool = True
    """Flip a scene along x and along y, each with probability 0.5."""

    def __post_init__(self) -> None:
        check_ranges(self, "augment", crop_area=positive(1), crop_aspect=positive(100))
        low, high = self.crop_area
        if low > high:
            raise InputError(f"augment.crop_area is {self.crop_area}: give two shares 0 < low <= high <= 1.")
        if self.crop_aspect[0] > self.crop_aspect[1]:
            raise InputError(f"augment.crop_aspect is {self.crop_aspect}: give two positive factors, low <= high.")


@dataclass(frozen=True)
class TrainingPlan:
    """The settings that determine what training computes, besides the scenes and the initial weights.

    Raises an InputError if a pool needs a network that is not trained.
    """

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
        """Return a digest of everything that must not change when training resumes."""
        same = replace(self.train, workers=0, checkpoint_seconds=0.0, tensorboard=False)
        plain = asdict(replace(self, train=same))
        if plain["train"]["sync_norm"]:
            del plain["train"]["sync_norm"]  # its default: checkpoints of earlier versions still fit
        if plain["switch"]["pick"] == "argmax":
            del plain["switch"]["pick"]
        if plain["train"]["sweeps"] == 0:
            del plain["train"]["sweeps"]
        text = json.dumps([plain, list(scene_names), extra], default=str, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
