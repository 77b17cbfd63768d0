"""Every setting of a run as dataclasses; a recipe is their YAML, `--a.b=c` overrides a field."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from labelfree.errors import InputError
from labelfree.nets.segmenters import Segmenter2DConfig, Segmenter3DConfig
from labelfree.ranges import Real, Whole, check_choice, check_ranges, check_sources, positive
from labelfree.teachers.clip import ClipOptions
from labelfree.teachers.sam import SamOptions
from labelfree.training.augment import AugmentConfig
from labelfree.training.labelled_scenes import LabelConfig, PairingConfig, Views
from labelfree.training.plan import MAX_SEED, TrainConfig, TrainingPlan
from labelfree.training.step import SwitchConfig

Unseen = Literal["nearest", "ignore"]
"""What becomes of points that no image sees."""

RECIPES_DIR = Path(__file__).parent / "recipes"

System = Literal["cns", "clip", "clip+sam", "openscene"]
"""What a run makes of its scenes: two co-trained networks, the teachers' labels as they are, or OpenScene."""


@dataclass(frozen=True)
class TeacherConfig:
    """Which CLIP and SAM label the images: the package's tiny ones (`lab`, `lab-street`), a hub name, folders."""

    clip: str = "openai/clip-vit-base-patch16"
    """Hub name, folder with a CLIP model, folder with label or score maps per frame, or `lab`, `lab-street`."""
    sam: str = "facebook/sam-vit-huge"
    """Hub name, folder with a SAM model, folder with mask-id PNGs per frame, or `lab`, `lab-street`."""
    clip_options: ClipOptions = field(default_factory=ClipOptions)
    """How CLIP is read densely."""
    sam_options: SamOptions = field(default_factory=SamOptions)
    """SAM's everything mode."""
    prompt_denoise: float = 0.0
    """Rule out classes that no patch of an image names with at least this probability; 0 is off, as in the paper."""

    def __post_init__(self) -> None:
        check_ranges(self, "teachers", prompt_denoise=Real(0, 1))
        check_sources(self, "teachers", "clip", "sam")


@dataclass(frozen=True)
class NetworkConfig:
    """The two networks and where they start."""

    net_2d: Segmenter2DConfig = field(default_factory=Segmenter2DConfig)
    """DeepLabV3."""
    net_3d: Segmenter3DConfig = field(default_factory=Segmenter3DConfig)
    """MinkowskiNet."""
    backbone_weights: str | None = None
    """ResNet weights (torchvision's names) the 2D network starts from: a safetensors file, a folder, a hub name, or
    `lab` or `lab-street`. The paper starts from ImageNet; None starts at random."""
    backbone_weights_3d: str | None = None
    """MinkUNet weights (MinkowskiEngine's names) the 3D network starts from, given likewise. None, the paper's choice,
    starts at random."""

    def __post_init__(self) -> None:
        check_sources(self, "networks", "backbone_weights", "backbone_weights_3d")


@dataclass(frozen=True)
class PredictConfig:
    """From what a system learned to its labels; everything off is the paper's."""

    refine: bool = False
    """Vote over finished predictions inside SAM's masks: in 2D over pixels, in 3D over the paired points of a mask.
    Table 2's row `post refine`."""
    views: Views = "vote"
    """How a point that several images see gets system `clip`'s label: `vote` counts the views' labels, `average` takes
    the best class of their mean scores (MaskCLIP in 3D)."""
    unseen: Unseen = "nearest"
    """What `clip` and `clip+sam` write for a point that no image sees: the label of a seen one nearby, which the
    protocol measures, or with `ignore` none (255). Measuring always takes the first."""

    def __post_init__(self) -> None:
        check_choice(self, "predict", views=Views, unseen=Unseen)


@dataclass(frozen=True)
class RunConfig:
    """One run, from unlabelled scenes to two networks."""

    system: System = "cns"
    """`cns` trains (with its switches: MaskCLIP+, CLIP2Scene, every ablation), `clip` and `clip+sam` only label,
    `openscene` distils CLIP's features into the 3D network."""
    seed: int = 0
    """Seed of weights, augmentation, batches and label switching."""
    teachers: TeacherConfig = field(default_factory=TeacherConfig)
    """CLIP and SAM."""
    labels: LabelConfig = field(default_factory=LabelConfig)
    """From teachers' outputs to training labels."""
    pairing: PairingConfig = field(default_factory=PairingConfig)
    """Pixels and points."""
    networks: NetworkConfig = field(default_factory=NetworkConfig)
    """The two networks."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimisation."""
    switch: SwitchConfig = field(default_factory=SwitchConfig)
    """Stage two."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Augmentation."""
    predict: PredictConfig = field(default_factory=PredictConfig)
    """Labelling with what was learned."""
    memory_gb: float = 4.0
    """Memory that labelled scenes may take while training."""

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
        if self.system in {"cns", "openscene"}:
            self.plan()  # says what does not fit together
        if self.networks.net_2d.latent_width != self.labels.latent_width:
            raise InputError(
                f"networks.net_2d.latent_width is {self.networks.net_2d.latent_width} but labels.latent_width is "
                f"{self.labels.latent_width}: make them equal."
            )

    def plan(self) -> TrainingPlan:
        """Return what training needs of this."""
        return TrainingPlan(self.seed, self.train, self.switch, self.augment)


def recipe_path(name: str | Path) -> Path:
    """Return the file of a recipe given by name (`lab`, `scannet`) or by path."""
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise InputError(f"{path}: no such recipe file.")
        return path
    shipped = RECIPES_DIR / f"{name}.yaml"
    if not shipped.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPES_DIR.glob("*.yaml")))
        raise InputError(f"There is no recipe '{name}'; shipped are {known}, or give the path of a YAML file.")
    return shipped
