"""Settings of training labels, pixel-point pairs and prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from labelfree.config.ranges import MAX_SIDE, MAX_WIDTH, Real, Whole, check_choice, check_ranges, positive
from labelfree.errors import InputError

LatentTarget = Literal["sam", "clip", "sam+clip", "none"]


Views = Literal["vote", "average"]
"""How the labels of several images of one point are combined."""


@dataclass(frozen=True)
class PairingConfig:
    """The rule by which pixels and points are paired (Eq. 2)."""

    rule: Literal["auto", "rgbd", "lidar"] = "auto"
    """`rgbd` compares a point's depth with the depth map. `lidar` requires only that the point projects into the image.
    `auto` takes `rgbd` for frames with a depth map, else `lidar`."""
    tolerance_m: float = 0.05
    """Largest |depth - z| of a pair, in metres (`rgbd`)."""
    relative: float | None = None
    """Largest |depth - z| as a share of depth, instead of `tolerance_m`; `null` keeps `tolerance_m`. OpenScene uses
    0.25."""
    z_min_m: float = 1.0
    """Smallest depth of a point in a pair, in metres (`lidar`)."""
    border_px: int = 1
    """Width in pixels of the image border in which no pair is formed (`lidar`)."""
    z_buffer: bool = False
    """Keep only the nearest point of each pixel (`lidar`). Not in the paper."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            "pairing",
            tolerance_m=positive(1000),
            relative=positive(1000),
            z_min_m=Real(0, 10_000),
            border_px=Whole(0, MAX_SIDE),
        )
        check_choice(self, "pairing", rule=("auto", "rgbd", "lidar"))


@dataclass(frozen=True)
class LabelConfig:
    """The conversion of teacher outputs to training labels."""

    image_size: tuple[int, int] = (240, 320)
    """(height, width) in pixels of the images that CLIP's labels, the masks and the 2D network have."""
    refine: bool = True
    """Refine CLIP's labels by the vote inside SAM's masks (Eq. 4)."""
    soft_vote: bool = False
    """Vote with CLIP's class probabilities instead of one label per pixel. Not in the paper."""
    latent_target: LatentTarget = "sam"
    """Latent target of Eq. 7: `sam` is the paper's, `clip` uses CLIP's features, `sam+clip` the mean of both, `none`
    switches the loss off."""
    latent_width: int = 64
    """Channels of the latent features, K_f in the paper."""
    keep_frames: bool | None = None
    """Store each frame uncompressed under --cache, exactly as co-training reads it, so that later epochs do not decode
    it again. `null` does so where it pays: over several epochs with `train.workers` or scenes larger than `memory_gb`,
    while a tenth of the disk stays free. `labelfree prepare` prints the disk space this takes."""

    def __post_init__(self) -> None:
        if len(self.image_size) != 2:
            raise InputError(f"labels.image_size is {self.image_size}: give (height, width).")
        check_ranges(self, "labels", image_size=Whole(8, MAX_SIDE), latent_width=Whole(1, MAX_WIDTH))
        check_choice(self, "labels", latent_target=LatentTarget)


Unseen = Literal["nearest", "ignore"]
"""The label of points that no image sees."""


@dataclass(frozen=True)
class PredictConfig:
    """The last steps from a system's outputs to its labels; the defaults are the paper's."""

    refine: bool = False
    """Refine finished predictions by a vote inside SAM's masks: over pixels in 2D, over the paired points of a mask in
    3D. It is on in row `post refine` of Table 2."""
    views: Views = "vote"
    """How system `clip` labels a point that several images see: `vote` takes the most frequent label of the views,
    `average` the best class of their mean scores (MaskCLIP in 3D)."""
    unseen: Unseen = "nearest"
    """Label that systems `clip` and `clip+sam` write for a point that no image sees: `nearest` takes that of a near
    seen point, `ignore` writes 255. Evaluation always uses `nearest`."""
    fuse: bool = False
    """Fuse the finished networks: 3D probabilities averaged over moved copies of the cloud, then those of the 2D
    network, then the mean per segment. Systems `cns` and `consensus`. Not in the paper."""
    fuse_turns: int = 12
    """Moved copies of the cloud over which `predict.fuse` averages: turns about the vertical, mirrored and shifted."""
    fuse_images: float = 1.0
    """Weight of the 2D network in `predict.fuse`; 0 leaves the images out."""
    fuse_segments: bool = True
    """Whether `predict.fuse` takes the mean over segments."""

    def __post_init__(self) -> None:
        check_ranges(self, "predict", fuse_turns=Whole(1, 1000), fuse_images=Real(0, 10))
        check_choice(self, "predict", views=Views, unseen=Unseen)
