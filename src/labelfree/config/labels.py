"""Settings of labels: from teacher outputs to training labels, pixel-point pairs, prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from labelfree.config.ranges import MAX_SIDE, MAX_WIDTH, Real, Whole, check_choice, check_ranges, positive
from labelfree.errors import InputError

LatentTarget = Literal["sam", "clip", "sam+clip", "none"]


Views = Literal["vote", "average"]
"""How the images that see a point agree on its label."""


@dataclass(frozen=True)
class PairingConfig:
    """Which points a pixel is paired with (Eq. 2)."""

    rule: Literal["auto", "rgbd", "lidar"] = "auto"
    """`rgbd` compares with the depth map, `lidar` only asks for a place inside the image; `auto` takes the first for
    frames with a depth map."""
    tolerance_m: float = 0.05
    """Largest |depth - z| of a pair."""
    relative: float | None = None
    """Largest |depth - z| as a share of depth; replaces `tolerance_m` (OpenScene uses 0.25)."""
    z_min_m: float = 1.0
    """Nearest point that a LiDAR pair takes."""
    border_px: int = 1
    """Border of the image that a LiDAR pair leaves out."""
    z_buffer: bool = False
    """Keep only the nearest LiDAR point of each pixel; off in the paper."""

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
    """How teachers' outputs become training labels."""

    image_size: tuple[int, int] = (240, 320)
    """(height, width) that CLIP, the masks and the 2D network work at."""
    refine: bool = True
    """Vote inside SAM's masks (Eq. 4)."""
    soft_vote: bool = False
    """Let CLIP's pixels cast their class probabilities instead of one label each; off in the paper."""
    latent_target: LatentTarget = "sam"
    """Whose features the networks follow (Eq. 7)."""
    latent_width: int = 64
    """Width of the latent space, the paper's K_f."""
    keep_frames: bool = False
    """Keep under --cache each frame as co-training reads it, uncompressed, and map it into memory from then on, so that
    no later epoch decodes it. Off for the disk it takes, which `labelfree prepare` tells."""

    def __post_init__(self) -> None:
        if len(self.image_size) != 2:
            raise InputError(f"labels.image_size is {self.image_size}: give (height, width).")
        check_ranges(self, "labels", image_size=Whole(8, MAX_SIDE), latent_width=Whole(1, MAX_WIDTH))
        check_choice(self, "labels", latent_target=LatentTarget)


Unseen = Literal["nearest", "ignore"]
"""What becomes of points that no image sees."""


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
