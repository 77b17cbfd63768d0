"""Settings of the teachers: the models of CLIP and SAM, and how they are applied."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from labelfree.config.ranges import MAX_SIDE, Real, Whole, check_choice, check_ranges, check_sources, positive
from labelfree.errors import InputError

TeacherPrecision = Literal["auto", "float32", "bfloat16", "float16"]
"""Number format of a teacher; `auto` is bfloat16 where the hardware multiplies it faster, else float32."""


TeacherKind = Literal["auto", "model", "files"]
"""The kind of a teacher: a model, or files of maps per frame from another program."""


Preprocessing = Literal["clip", "raw01"]


Attention = Literal["value", "kk", "qq+kk", "nacl"]
"""The replacement of softmax attention in CLIP's last block; `value` is MaskCLIP's and the paper's."""


MaskMode = Literal["exact", "fast"]
"""How SAM's everything mode filters masks: as the official generator does, or at the decoder's low resolution."""


ATTENTIONS: tuple[str, ...] = get_args(Attention)


@dataclass(frozen=True)
class ClipOptions:
    """The options of dense CLIP features. The defaults are MaskCLIP's reading, as in the paper, with CLIP's own input.

    Raises an InputError if a value is out of range.
    """

    attention: Attention = "value"
    """Attention of the last block: `value` passes the values on (MaskCLIP, the paper), `kk` and `qq+kk` (SCLIP) attend
    by similar keys and queries, `nacl` (NACLIP) attends to similar keys nearby."""
    keep_residual: bool = True
    """Keep the residual connection and the MLP of the last block, as MaskCLIP does."""
    gaussian_std: float = 5.0
    """Standard deviation of the neighbourhood term of `nacl`, in patches."""
    input_size: tuple[int, int] | None = None
    """(height, width) in pixels to which an image is resized before encoding; `null` takes its size times `scale`."""
    scale: float = 1.0
    """Factor on the image size before encoding, if `input_size` is `null`."""
    window: int | None = None
    """Side of the square windows in pixels of the resized image, a multiple of the patch size; `null` encodes the whole
    image at once."""
    stride: int | None = None
    """Step between windows in pixels, a multiple of the patch size; `null` takes half a window."""
    windows_per_batch: int = 32
    """Windows encoded at once; it affects memory only, not results."""
    preprocessing: Preprocessing = "clip"
    """Encoder input: `clip` is CLIP's own normalisation, `raw01` is RGB in [0, 1], which reproduces CLIP2Scene."""
    exact_gelu: bool = False
    """Use exact GELU in the image encoder instead of CLIP's QuickGELU, which reproduces MaskCLIP and CLIP2Scene."""
    key_smoothing: bool = False
    """Average features over patches with similar keys (MaskCLIP's option). Not in the paper."""
    precision: TeacherPrecision = "auto"
    """Number format of the model; `auto` is bfloat16 where the hardware multiplies it faster, else float32."""
    tokenizer: str | None = None
    """Folder or file of the tokenizer: Hugging Face files or bpe_simple_vocab_16e6.txt.gz. `null` takes that of the
    model's folder."""

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
    """The options of SAM's everything mode; the defaults are the official ones. A filter set to 0 is off.

    Raises an InputError if a value is out of range.
    """

    mode: MaskMode = "exact"
    """`exact` gives the masks of the official generator: it filters at the resolution of the image. `fast` filters at
    the decoder's low resolution, which changes which masks pass."""
    points_per_side: int = 32
    """Points per side of the square grid of prompts: 32 is the official grid, 16 and 8 take 1/4 and 1/16 of its time
    and find fewer small masks."""
    points_per_batch: int = 64
    """Prompts decoded at once; it affects memory only, not results."""
    pred_iou_threshold: float = 0.88
    """Drop masks whose predicted IoU is at most this value; 0 is off."""
    stability_threshold: float = 0.95
    """Drop masks whose stability score is below this value; 0 is off. The score is the IoU of the mask cut at logits
    +`stability_offset` and -`stability_offset`."""
    stability_offset: float = 1.0
    """Offset of the cut for the stability score, in logits."""
    box_nms_threshold: float = 0.7
    """Of two masks whose boxes have a higher IoU than this, drop the one with the lower predicted IoU; 0 is off."""
    mask_nms_threshold: float = 0.0
    """The same for the overlap of the masks themselves; 0 is off, as in the official setting."""
    multimask: bool = True
    """Take three masks per point (whole, part, sub-part) instead of one."""
    min_area_fraction: float = 0.0
    """Drop masks smaller than this share of the image; 0 is off."""
    precision: TeacherPrecision = "auto"
    """Number format of the model; `auto` is bfloat16 where the hardware multiplies it faster, else float32."""

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
        check_choice(self, "teachers.sam_options", mode=MaskMode, precision=TeacherPrecision)


@dataclass(frozen=True)
class TeacherConfig:
    """The teachers that label the images, and their options.

    Raises an InputError if a value is out of range.
    """

    clip: str = "openai/clip-vit-base-patch16"
    """CLIP: a hub name, a model folder, a folder of label or score maps, or the lab's `rooms` or `streets`."""
    sam: str = "facebook/sam-vit-huge"
    """SAM: a hub name, a model folder, a folder of mask-id PNGs, or the lab's `rooms` or `streets`."""
    clip_kind: TeacherKind = "auto"
    """Kind of `clip`: `model` or `files`. `auto` takes a folder of maps without config.json for files, else a model."""
    sam_kind: TeacherKind = "auto"
    """Kind of `sam`, with the same values."""
    clip_options: ClipOptions = field(default_factory=ClipOptions)
    """Options of dense CLIP features."""
    sam_options: SamOptions = field(default_factory=SamOptions)
    """Options of SAM's everything mode."""
    prompt_denoise: float = 0.0
    """Exclude classes from an image whose probability is below this value at every patch (MaskCLIP's option); 0 is
    off. Not in the paper."""

    def __post_init__(self) -> None:
        check_ranges(self, "teachers", prompt_denoise=Real(0, 1))
        check_choice(self, "teachers", clip_kind=TeacherKind, sam_kind=TeacherKind)
        check_sources(self, "teachers", "clip", "sam")
