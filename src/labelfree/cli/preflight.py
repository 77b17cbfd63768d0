"""Check disk space, ground truth and starting weights before the long work begins."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from labelfree.config.run_config import TRAINED, RunConfig
from labelfree.data.checking.check import CheckReport, check_collection, raise_problems
from labelfree.data.collection import SceneCollection
from labelfree.data.survey import cache_bytes, kept_bytes
from labelfree.errors import InputError
from labelfree.nets.building import new_networks
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
from labelfree.runtime.lab import shipped, world_of
from labelfree.scene import Frame, Scene
from labelfree.teachers.opening import teacher_source
from labelfree.vocabulary import IGNORE_LABEL, Vocabulary

TRUTH_SCENES = 200
"""Scenes whose ground truth is read, evenly spaced; more of them would take minutes."""

TIGHT = 0.8
"""Share of the free disk from which a note is given."""

FLOAT_BYTES = 4
_ANY_CLASSES = Vocabulary(("first", "second"))
"""Placeholder for classes whose embeddings are not known yet."""


def preflight(
    config: RunConfig,
    scenes: SceneCollection,
    vocabulary: Vocabulary,
    out: Path,
    cache: Path,
    processes: int = 1,
    measured: bool = True,
) -> tuple[str, ...]:
    """Check everything that training needs besides the scenes themselves; return notes for the user.

    Ground truth is only looked at where it is `measured` against.
    """
    trains = config.system in TRAINED
    check_extras(config)
    check_teachers(config)
    if trains:
        check_processes(config, len(scenes), processes)
        check_networks(config, scenes[0])
    frames = check_truth(scenes, vocabulary) if measured else scenes.frame_count()
    return check_disk(config, frames, out, cache, trains)


def _existing(path: Path) -> Path:
    """Return the path or the nearest of its parents that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def require_sound(scenes: SceneCollection) -> tuple[CheckReport, ...]:
    """Check the scenes before any work; return the reports. Raises an InputError if a scene has a problem."""
    reports = check_collection(scenes)
    raise_problems(reports)
    return reports


def check_truth(scenes: SceneCollection | Sequence[Scene], vocabulary: Vocabulary) -> int:
    """Refuse ground truth with ids that are none of the classes: it could not be measured after training.

    Return about how many frames the scenes have.
    """
    by_name = isinstance(scenes, SceneCollection) and scenes.new_ids is not None  # such truth has the right ids already
    chosen = np.linspace(0, len(scenes) - 1, min(TRUTH_SCENES, len(scenes))).round().astype(int)
    frames = 0
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for scene in (scenes[int(place)] for place in chosen):
            frames += len(scene.frames)
            if not by_name:
                _check_scene_truth(scene, vocabulary, pool)
    return round(frames * len(scenes) / len(chosen))


def _check_scene_truth(scene: Scene, vocabulary: Vocabulary, pool: ThreadPoolExecutor) -> None:
    if scene.labels is not None:
        _require_classes(f"The cloud of scene '{scene.name}'", np.unique(scene.labels).tolist(), vocabulary)
    for frame, ids in zip(scene.frames, pool.map(_label_ids, scene.frames)):
        _require_classes("" if frame.labels is None else frame.labels.describe(), ids, vocabulary)


def _label_ids(frame: Frame) -> Iterable[int]:
    labels = frame.load_labels()
    return [] if labels is None else np.flatnonzero(np.bincount(labels.ravel(), minlength=256)).tolist()


def _require_classes(where: str, ids: Iterable[int], vocabulary: Vocabulary) -> None:
    wrong = [int(label) for label in ids if len(vocabulary) <= label != IGNORE_LABEL]
    if wrong:
        raise InputError(
            f"{where}: its ground truth holds class id {wrong[0]}, but there are {len(vocabulary)} classes, ids 0 to "
            f"{len(vocabulary) - 1}: name all classes of the ground truth, in the order of its ids, in classes.txt, or "
            "remove the labels."
        )


def check_networks(config: RunConfig, scene: Scene) -> None:
    """Refuse starting weights that are missing, cannot be read or do not fit the networks, which are built once."""
    if config.networks.backbone_weights is None and config.networks.backbone_weights_3d is None:
        return
    with torch.random.fork_rng(devices=[]):
        new_networks(config, _ANY_CLASSES, torch.zeros(2, config.networks.net_2d.text_width), scene)


def check_teachers(config: RunConfig) -> None:
    """Refuse a name of CLIP or SAM that is neither a folder nor can be one on the hub."""
    teacher_source(config.teachers.clip, "clip")
    teacher_source(config.teachers.sam, "sam")


def check_lab_starts(config: RunConfig) -> None:
    """Refuse initial weights of the lab that do not exist."""
    if config.system in TRAINED:
        shipped(config.networks.backbone_weights, "backbone")
        shipped(config.networks.backbone_weights_3d, "backbone-3d")


def check_extras(config: RunConfig) -> None:
    """Refuse a setting whose extra package is not installed."""
    if config.train.tensorboard and find_spec("tensorboard") is None:
        raise InputError("train.tensorboard is on but TensorBoard is missing: pip install 'labelfree[tensorboard]'.")


def check_processes(config: RunConfig, scenes: int, processes: int) -> None:
    """Refuse more processes than a batch has scenes: such batches are left out, and nothing would be trained."""
    batch = min(config.train.scenes_per_batch, scenes)
    if processes > batch:
        raise InputError(
            f"--processes is {processes} but a batch has {batch} scene(s): give at most {batch}, or raise "
            f"train.scenes_per_batch (now {config.train.scenes_per_batch}) where there are more scenes."
        )


def check_disk(config: RunConfig, frames: int, out: Path, cache: Path, training: bool = True) -> tuple[str, ...]:
    """Refuse a disk that is clearly too small for caches and checkpoints; return a note where it is tight."""
    needs = [("--cache", cache, max(0, _labelling_bytes(config, frames) - _size(cache)))]
    if training:
        needs.append(("--out", out, max(0, training_bytes(config) - _size(out / "training"))))
    notes = []
    for disk in {os.stat(_existing(folder)).st_dev for _, folder, _ in needs}:
        here = [(what, folder, size) for what, folder, size in needs if os.stat(_existing(folder)).st_dev == disk]
        need, free = sum(size for _, _, size in here), shutil.disk_usage(_existing(here[0][1])).free
        names = " and ".join(f"{what} {folder}" for what, folder, _ in here)
        figures = f"{names}: about {_gigabytes(need)} are needed but {_gigabytes(free)} are free"
        if need > free:
            raise InputError(f"{figures}; free some space or choose folders on another disk.")
        if need > TIGHT * free:
            notes.append(f"{figures.replace(' but ', ', ')}: the disk may become full.")
    return tuple(notes)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.2f} GB"


def training_bytes(config: RunConfig) -> int:
    """Estimate the bytes that training writes: two checkpoints, since one replaces the other, and the networks."""
    of_2d, of_3d = config.networks.net_2d, config.networks.net_3d
    with torch.random.fork_rng(devices=[]):
        net_2d = Segmenter2D(of_2d, torch.zeros(2, of_2d.text_width), _ANY_CLASSES)
        net_3d = Segmenter3D(of_3d, torch.zeros(2, of_3d.text_width), _ANY_CLASSES)
    trained = [net for name, net in (("2d", net_2d), ("3d", net_3d)) if name in config.train.modalities]
    weights = sum(weight.numel() for net in trained for weight in net.parameters()) * FLOAT_BYTES
    copies = 1 + (2 if config.train.optimiser == "adamw" else 1) + (1 if config.train.average_decay else 0)
    return weights * (2 * copies + 1)


def _labelling_bytes(config: RunConfig, frames: int) -> int:
    """Estimate the bytes of the teachers' caches; 0 for the lab's tiny teachers and for files."""
    size = config.labels.image_size
    kept = kept_bytes(frames, size) if config.labels.keep_frames else 0
    small = world_of(config.teachers.clip) is not None or Path(config.teachers.clip).is_dir()
    return kept + (0 if small else cache_bytes(frames, size, config.labels.latent_width))


def _size(folder: Path) -> int:
    """Return the bytes of the files in a folder, 0 if it is missing."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # another process may remove it meanwhile
                continue
    return total
