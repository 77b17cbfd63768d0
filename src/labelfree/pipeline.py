"""The steps of a run put together: teachers, labels, networks, training."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric

from labelfree.config import RunConfig, TeacherConfig
from labelfree.errors import InputError
from labelfree.hub import folder_or_hub_name
from labelfree.lab.teacher_weights import LAB as LAB
from labelfree.lab.teacher_weights import shipped
from labelfree.nets.segmenters import Segmenter, Segmenter2D, Segmenter3D
from labelfree.precision import Precision, fabric_precision
from labelfree.progress import Progress
from labelfree.ranges import shown
from labelfree.scene import Frame, Scene
from labelfree.side_by_side import side_by_side
from labelfree.teachers.cache import TeacherCache
from labelfree.teachers.files import LabelFiles, MaskFiles
from labelfree.teachers.labelling import ClipNamer, MaskMaker, PixelNamer, SamMasks
from labelfree.training.labelled_scenes import LabelConfig, Teachers, point_features
from labelfree.training.loop import CoTrained
from labelfree.vocabulary import Vocabulary

LAB_NOTICE = (
    "The class names come from the lab's tiny CLIP, which has only seen rendered scenes: on real pictures they are "
    "poor."
)


def load_teachers(
    config: TeacherConfig,
    labels: LabelConfig,
    vocabulary: Vocabulary,
    cache_dir: str | Path,
    device: torch.device | str = "cpu",
) -> Teachers:
    """Load CLIP and SAM, or the files that stand in for them."""
    cache = TeacherCache(Path(cache_dir))
    return Teachers(
        _load_namer(config, vocabulary, cache, device),
        _load_masks(config, labels, cache, device),
        cache,
        labels.soft_vote,
    )


def _load_namer(
    config: TeacherConfig, vocabulary: Vocabulary, cache: TeacherCache, device: torch.device | str
) -> PixelNamer:
    from labelfree.teachers.clip import DenseClip

    source = teacher_source(config.clip, "clip")
    if _holds_files(source):
        return LabelFiles(Path(source), vocabulary)
    clip = DenseClip.from_pretrained(source, config.clip_options, device)
    return ClipNamer(clip, vocabulary, cache, config.prompt_denoise)


def _load_masks(
    config: TeacherConfig, labels: LabelConfig, cache: TeacherCache, device: torch.device | str
) -> MaskMaker:
    from labelfree.teachers.sam import SamTeacher

    source = teacher_source(config.sam, "sam")
    if _holds_files(source):
        return MaskFiles(Path(source))
    return SamMasks(SamTeacher.from_pretrained(source, config.sam_options, device), cache, labels.latent_width)


def teacher_source(name: str, model_type: str) -> str:
    """Return the folder or hub name that is meant; a folder may hold the model in a subfolder named after its type."""
    if (own := shipped(name, model_type)) is not None:
        return str(own)
    folder = folder_or_hub_name(name, "config.json and model.safetensors, or with maps per frame")
    if folder is None:
        return name
    nested = folder / model_type
    return str(nested if (nested / "config.json").is_file() else folder)


def _holds_files(source: str) -> bool:
    folder = Path(source)
    if not folder.is_dir() or (folder / "config.json").is_file():
        return False
    files = itertools.chain(folder.iterdir(), folder.glob("*/*"))
    if any(path.suffix in {".png", ".npy", ".safetensors"} for path in files):
        return True
    raise InputError(f"{folder}: holds neither a model (config.json) nor maps per frame (.png, .npy, .safetensors).")


def new_networks(config: RunConfig, vocabulary: Vocabulary, text: torch.Tensor, scene: Scene) -> CoTrained:
    """Build both networks from the seed, with the vocabulary's text embeddings as frozen classifier."""
    if scene.images_only:
        raise InputError(f"Scene '{scene.name}' has pictures but no points: measure a trained run on it, or predict.")
    torch.manual_seed(config.seed)
    net_2d = Segmenter2D(config.networks.net_2d.with_inputs(config.labels.image_size, text.shape[1]), text, vocabulary)
    channels = point_features(scene).shape[1]
    net_3d = Segmenter3D(config.networks.net_3d.with_inputs(channels, text.shape[1]), text, vocabulary)
    starts = (config.networks.backbone_weights, config.networks.backbone_weights_3d)
    networks: tuple[Segmenter, ...] = (net_2d, net_3d)
    for network, weights, part in zip(networks, starts, ("backbone", "backbone-3d")):
        if weights is not None:
            network.load_backbone(shipped(weights, part) or weights)
    return CoTrained(net_2d, net_3d)


def label_frames(
    scenes: Sequence[Scene],
    teachers: Teachers,
    labels: LabelConfig,
    device: torch.device,
    title: str = "label",
) -> None:
    """Ask both teachers about every frame, so that later steps only read the cache; on a CPU two frames at a time."""

    def label(frame: Frame | None) -> None:
        if frame is not None:
            teachers.masks.mask_ids(frame, labels.image_size)
            teachers.namer.labels(frame, labels.image_size)

    total = sum(len(scene.frames) for scene in scenes)
    if not total:
        raise InputError(
            f"Scene '{scenes[0].name}' has no pictures: CLIP has nothing to name; predict with a trained run."
        )
    frames = (frame for scene in scenes for frame in scene.frames)
    with Progress(title, total) as progress:
        for first in frames:
            if device.type != "cpu":
                label(first)
            else:  # a last one without a partner gets no more threads either: its bits must not depend on that
                second = next(frames, None)
                side_by_side(partial(label, first), partial(label, second))
                if second is not None:
                    progress.advance()
            progress.advance()


def pick_device(device: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda` or `cuda:1` means here."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, colon, index = device.partition(":")
    if kind not in {"cpu", "cuda", "mps"} or (colon and (kind != "cuda" or not re.fullmatch("[0-9]{1,3}", index))):
        raise InputError(f"--device is {shown(device)}: give auto, cpu, cuda or cuda:N.")
    found = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if not found:
        raise InputError(f"--device is {device} but PyTorch sees no {kind.upper()} device here; use --device cpu.")
    if colon and int(index) >= found:
        raise InputError(
            f"--device is {device} but PyTorch sees {found} CUDA device(s), cuda:0 first; give one of them."
        )
    return torch.device(device)


def make_fabric(device: str = "auto", processes: int = 1, precision: Precision = "auto") -> Fabric:
    """Return Lightning Fabric on a device, in one process or several."""
    chosen = pick_device(device)
    accelerator, index = chosen.type, chosen.index
    places = torch.cuda.device_count() if accelerator == "cuda" else os.cpu_count() or 1
    if not 1 <= processes <= places:
        what = "CUDA devices" if accelerator == "cuda" else "CPU cores"
        raise InputError(f"--processes is {processes}: give 1 to {places}, the number of {what} here.")
    if index is not None and processes > 1:
        raise InputError(f"--processes is {processes} but --device {device} is a single one; use --device cuda.")
    devices: int | list[int] = processes if index is None else [index]
    strategy = "ddp" if processes > 1 else "auto"
    number_format = fabric_precision(accelerator, precision)
    fabric = Fabric(accelerator=accelerator, strategy=strategy, devices=devices, precision=number_format)
    if processes > 1:
        fabric.launch()
    return fabric
