"""Settings of the teachers: which CLIP and SAM, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from labelfree.config.ranges import MAX_SIDE, Real, Whole, check_choice, check_ranges, check_sources, positive
from labelfree.errors import InputError

TeacherPrecision = Literal["auto", "float32", "bfloat16", "float16"]
"""Arithmetic of a teacher; `auto` is bfloat16 where the hardware multiplies it faster, else float32."""


TeacherKind = Literal["auto", "model", "files"]
"""What a teacher's name means: a model, or maps per frame made by another program."""


Preprocessing = Literal["clip", "raw01"]


Attention = Literal["value", "kk", "qq+kk", "nacl"]
"""What replaces the softmax attention of the last block; `value` is MaskCLIP's choice and the paper's."""


ATTENTIONS: tuple[str, ...] = get_args(Attention)


@dataclass(frozen=True)
class ClipOptions:
    """How CLIP is read densely; the defaults are the paper's MaskCLIP reading of a correctly fed CLIP."""

    attention: Attention = "value"
    """Last block: MaskCLIP's own values, or attention among like keys (kk, SCLIP's qq+kk, NACLIP)."""
    keep_residual: bool = True
    """Keep the last block's residual connection and MLP, as MaskCLIP does."""
    gaussian_std: float = 5.0
    """Reach, in patches, of the neighbourhood term of `nacl`."""
    input_size: tuple[int, int] | None = None
    """(height, width) the image is resized to; None means its own size times `scale`."""
    scale: float = 1.0
    """Enlargement before encoding when `input_size` is None."""
    window: int | None = None
    """Side of square windows in pixels of the resized image, a multiple of the patch; None means the whole image."""
    stride: int | None = None
    """Step between windows; None means half a window."""
    windows_per_batch: int = 32
    """Windows encoded at once; memory only, does not change results."""
    preprocessing: Preprocessing = "clip"
    """`raw01` feeds un-normalised RGB in [0, 1], as CLIP2Scene did (parity)."""
    exact_gelu: bool = False
    """Run the vision tower with exact GELU instead of CLIP's QuickGELU, as MaskCLIP and CLIP2Scene did (parity)."""
    key_smoothing: bool = False
    """Average features over patches with similar keys (MaskCLIP), off in the paper."""
    precision: TeacherPrecision = "auto"
    """Arithmetic of the encoders."""
    tokenizer: str | None = None
    """Folder or file of the tokenizer where the model's folder has none: HF files or bpe_simple_vocab_16e6.txt.gz."""

    def __post_init__(self) -> None:
        check_choice(
            self, "teachers.clip_options", attention=ATTENTIONS, preprocessing=Preprocessing, precision=TeacherPrecision
        )
        if self.input_size is not None and len(self.input_size) != 2:
            raise InputError(f"teachers.clip_options.input_size is {self.input_size}: give (height, width) in pixels.")
        check_ranges(
            self,
            "teachers.clip_options",
            gaussian_std=positive(10_000),
            input_size=Whole(1, MAX_SIDE),
            scale=positive(64),
            window=Whole(1, MAX_SIDE),
            stride=Whole(1, MAX_SIDE),
            windows_per_batch=Whole(1, 65_536),
        )
        check_sources(self, "teachers.clip_options", "tokenizer")


@dataclass(frozen=True)
class SamOptions:
    """Everything mode; the defaults are the official ones. A filter set to 0 is off."""

    points_per_side: int = 32
    """Side of the square grid of point prompts."""
    points_per_batch: int = 64
    """Prompts decoded at once, at most; memory only, does not change results."""
    pred_iou_threshold: float = 0.88
    """Masks whose own predicted IoU is at most this are dropped."""
    stability_threshold: float = 0.95
    """Masks that change more than this when the cut of their logits moves are dropped."""
    stability_offset: float = 1.0
    """How far the cut moves to either side for the stability score."""
    box_nms_threshold: float = 0.7
    """Of two masks whose boxes overlap more, the one with the lower predicted IoU is dropped."""
    mask_nms_threshold: float = 0.0
    """The same by the overlap of the masks themselves; off in the official setting."""
    multimask: bool = True
    """Take three masks per point (whole, part, sub-part) instead of one."""
    min_area_fraction: float = 0.0
    """Masks smaller than this share of the image are dropped."""
    precision: TeacherPrecision = "auto"
    """Arithmetic of encoder and decoder."""

    def __post_init__(self) -> None:
        share = Real(0, 1)
        check_ranges(
            self,
            "teachers.sam_options",
            points_per_side=Whole(1, 1024),
            points_per_batch=Whole(1, 65_536),
            pred_iou_threshold=Real(-1e9, 1e9),  # on the model's own scale
            stability_threshold=share,
            stability_offset=Real(0, 1000),
            box_nms_threshold=share,
            mask_nms_threshold=share,
            min_area_fraction=share,
        )
        check_choice(self, "teachers.sam_options", precision=TeacherPrecision)


@dataclass(frozen=True)
class TeacherConfig:
    """Which CLIP and SAM label the images: the package's tiny ones (`lab`, `streets`), a hub name, folders."""

    clip: str = "openai/clip-vit-base-patch16"
    """Hub name, folder with a CLIP model, folder with label or score maps per frame, or `lab`, `streets`."""
    sam: str = "facebook/sam-vit-huge"
    """Hub name, folder with a SAM model, folder with mask-id PNGs per frame, or `lab`, `streets`."""
    clip_kind: TeacherKind = "auto"
    """`model`, `files`, or `auto`: a folder of maps without config.json holds files, all else is a model."""
    sam_kind: TeacherKind = "auto"
    """The same for SAM."""
    clip_options: ClipOptions = field(default_factory=ClipOptions)
    """How CLIP is read densely."""
    sam_options: SamOptions = field(default_factory=SamOptions)
    """SAM's everything mode."""
    prompt_denoise: float = 0.0
    """Rule out classes that no patch of an image names with at least this probability; 0 is off, as in the paper."""

    def __post_init__(self) -> None:
        check_ranges(self, "teachers", prompt_denoise=Real(0, 1))
        check_choice(self, "teachers", clip_kind=TeacherKind, sam_kind=TeacherKind)
        check_sources(self, "teachers", "clip", "sam")
