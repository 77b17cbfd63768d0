"""Load the two teachers: CLIP and SAM, or files in their place."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch

from labelfree.config.run_config import RunConfig
from labelfree.config.teachers import TeacherConfig, TeacherKind
from labelfree.errors import InputError
from labelfree.runtime.lab import shipped
from labelfree.teachers.cache import TeacherCache
from labelfree.teachers.files import LabelFiles, MaskFiles
from labelfree.teachers.labelling import ClipNamer, MaskMaker, PixelNamer, SamMasks
from labelfree.teachers.teachers import Teachers
from labelfree.vocabulary import Vocabulary
from labelfree.weights.hub import folder_or_hub_name


def load_teachers(
    config: RunConfig, vocabulary: Vocabulary, cache_dir: str | Path, device: torch.device | str = "cpu"
) -> Teachers:
    """Load CLIP and SAM, or files in their place, for a vocabulary; their outputs are cached in `cache_dir`.

    Raises an `InputError` if a model or folder is missing or cannot be read.
    """
    cache = TeacherCache(Path(cache_dir))
    return Teachers(
        _load_namer(config.teachers, vocabulary, cache, device),
        _load_masks(config.teachers, config.labels.latent_width, cache, device),
        vocabulary,
        config.labels,
        config.pairing,
        cache,
    )


def load_mask_maker(config: RunConfig, cache_dir: str | Path, device: torch.device | str = "cpu") -> MaskMaker:
    """Load SAM, or files in its place, alone; its outputs are cached in `cache_dir`."""
    return _load_masks(config.teachers, config.labels.latent_width, TeacherCache(Path(cache_dir)), device)


def _load_namer(
    config: TeacherConfig, vocabulary: Vocabulary, cache: TeacherCache, device: torch.device | str
) -> PixelNamer:
    from labelfree.teachers.clip import DenseClip

    source = teacher_source(config.clip, "clip")
    if teacher_kind(source, config.clip_kind) == "files":
        return LabelFiles(Path(source), vocabulary)
    clip = DenseClip.from_pretrained(source, config.clip_options, device)
    return ClipNamer(clip, vocabulary, cache, config.prompt_denoise)


def _load_masks(config: TeacherConfig, latent_width: int, cache: TeacherCache, device: torch.device | str) -> MaskMaker:
    from labelfree.teachers.sam import SamTeacher

    source = teacher_source(config.sam, "sam")
    if teacher_kind(source, config.sam_kind) == "files":
        return MaskFiles(Path(source))
    return SamMasks(SamTeacher.from_pretrained(source, config.sam_options, device), cache, latent_width)


def teacher_source(name: str, model_type: str) -> str:
    """Return the folder or hub name of a teacher; the model may be in a subfolder named after its type."""
    if (own := shipped(name, model_type)) is not None:
        return str(own)
    folder = folder_or_hub_name(name, "config.json and model.safetensors, or with maps per frame")
    if folder is None:
        return name
    nested = folder / model_type
    return str(nested if (nested / "config.json").is_file() else folder)


def teacher_kind(source: str, kind: TeacherKind) -> TeacherKind:
    """Return `model` or `files`; for `auto`, a folder of maps without config.json is `files`, all else is `model`.

    Raises an `InputError` if a folder contains neither.
    """
    folder = Path(source)
    if kind != "auto":
        if kind == "files" and not folder.is_dir():
            raise InputError(f"{source}: no such folder of maps per frame, which kind 'files' needs.")
        return kind
    if not folder.is_dir() or (folder / "config.json").is_file():
        return "model"
    files = itertools.chain(folder.iterdir(), folder.glob("*/*"))
    if any(path.suffix in {".png", ".npy", ".safetensors"} for path in files):
        return "files"
    raise InputError(f"{folder}: holds neither a model (config.json) nor maps per frame (.png, .npy, .safetensors).")
