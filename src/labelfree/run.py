"""`Run`: the parts of one run, checked against its folder before anything is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from labelfree.config.identity import (
    DIGEST_LENGTH,
    IDENTITY,
    Identity,
    require_same,
    settings_entries,
    text_digest,
    write_identity,
)
from labelfree.config.labels import PairingConfig
from labelfree.config.reading import settings_yaml
from labelfree.config.run_config import RunConfig
from labelfree.config.training import MODALITIES
from labelfree.corrections.store import keep_corrections
from labelfree.corrections.value import CorrectionSet
from labelfree.data.digests import frame_key, points_digest
from labelfree.data.pairs import pairs_by_depth
from labelfree.errors import InputError
from labelfree.files.atomic import write_text
from labelfree.files.metrics import METRICS
from labelfree.nets.point_features import point_features
from labelfree.runtime.devices import make_fabric
from labelfree.runtime.lab import starting_weights
from labelfree.runtime.progress import Progress
from labelfree.runtime.together import gathered, together, zero_first
from labelfree.scene import Scene
from labelfree.teachers.opening import load_teachers
from labelfree.teachers.teachers import Teachers
from labelfree.vocabulary import Vocabulary
from labelfree.weights.stored import CHECKPOINT, CONFIG_NAME, WEIGHTS_NAME, weights_digest

if TYPE_CHECKING:
    from lightning_fabric import Fabric

TRAINING = "training"
NETWORKS = "networks"
SETTINGS = "settings.yaml"
CACHE = "cache"
FEW_SCENES = 20
"""Largest number of scenes that are read without progress lines."""


@dataclass(frozen=True, eq=False)
class Run:
    """One training run with its scenes, teachers, settings and folder; made by `open_run`."""

    config: RunConfig
    scenes: Sequence[Scene]
    teachers: Teachers
    """CLIP, SAM, the classes and the settings of labelling."""
    fabric: Fabric
    """Device, processes and number format."""
    out: Path
    """Run folder with `training`, `networks`, `settings.yaml` and the results of commands."""
    identity: Identity
    """Everything that determines the weights."""
    corrections: CorrectionSet = field(default_factory=CorrectionSet)
    """Labels that training takes as fixed."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Return the classes."""
        return self.teachers.vocabulary

    @property
    def training_folder(self) -> Path:
        """Return the folder of checkpoint, metrics and identity."""
        return self.out / TRAINING

    @property
    def networks_folder(self) -> Path:
        """Return the folder of the trained networks, with subfolders `2d` and `3d`."""
        return self.out / NETWORKS

    @property
    def metrics_file(self) -> Path:
        """Return the file of metrics, with one JSON object per training step."""
        return self.training_folder / METRICS

    def files(self) -> tuple[str, ...]:
        """Return the files that training writes, relative to the run folder."""
        networks = (f"{NETWORKS}/{modality}/{file}" for modality in MODALITIES for file in (CONFIG_NAME, WEIGHTS_NAME))
        return (SETTINGS, *(f"{TRAINING}/{file}" for file in (IDENTITY, CHECKPOINT, METRICS)), *networks)

    def begin(self) -> Run:
        """Write settings, identity and the corrections in use into the run folder; return the run."""
        with together(self.fabric):
            if self.fabric.is_global_zero:
                keep_corrections(self.out, self.corrections)
                write_identity(self.training_folder, self.identity)
                write_text(self.out / SETTINGS, settings_yaml(self.config))
        return self


def open_run(
    scenes: Sequence[Scene],
    vocabulary: Vocabulary,
    config: RunConfig,
    out: Path | str,
    teachers: Teachers | None = None,
    fabric: Fabric | None = None,
    cache: Path | str | None = None,
    corrections: CorrectionSet | None = None,
) -> Run:
    """Return a new run, or the run that `out` holds if its identity is the same. Nothing is written.

    `corrections` are labels of points that training takes as fixed.
    Teachers are loaded if none are given; their outputs are cached in `cache`, by default `out/cache`. Several
    processes share the reading of the data.
    Raises an InputError that names the differences if `out` holds a run with another identity.
    """
    fabric, out = fabric or make_fabric(precision=config.train.precision), Path(out)
    if teachers is None:  # process 0 downloads and embeds the classes, the others read what it has stored
        load = partial(load_teachers, config, vocabulary, cache or out / CACHE, fabric.device)
        teachers = zero_first(fabric, load)
    else:
        teachers = replace(teachers, vocabulary=vocabulary, labels=config.labels, pairing=config.pairing)
    corrections = corrections or CorrectionSet()
    data = _data_entries(scenes, config.pairing, fabric, corrections) | corrections.identity()
    with together(fabric):
        identity = training_identity(config, teachers, data, fabric.world_size)
        run = Run(config, scenes, teachers, fabric, out, identity, corrections)
        if (run.training_folder / CHECKPOINT).is_file() and not (run.training_folder / IDENTITY).is_file():
            raise InputError(
                f"{run.training_folder}: a checkpoint without {IDENTITY}, from an earlier version of labelfree; choose "
                "another --out, or delete this folder to start again."
            )
        require_same(run.training_folder, run.identity, out)
    return run


def training_identity(config: RunConfig, teachers: Teachers, data: Mapping[str, str], processes: int) -> Identity:
    """Return the identity of a training run: settings, classes, teachers, initial weights and content of the data.

    Settings that may change between resumes are left out: memory, workers, checkpoint interval, TensorBoard, kept
    frames and prediction.
    """
    networks = config.networks
    starts = {
        "networks.backbone_weights": _start_digest(networks.backbone_weights, "backbone"),
        "networks.backbone_weights_3d": _start_digest(networks.backbone_weights_3d, "backbone-3d"),
    }
    entries = _teacher_entries(teachers) | starts | settings_entries(config)
    return Identity(entries | {"--processes": processes} | dict(data))


def _data_entries(
    scenes: Sequence[Scene], pairing: PairingConfig, fabric: Fabric, corrections: CorrectionSet
) -> dict[str, str]:
    """Return the digest of each scene by name; each of several processes reads every n-th scene.

    Raises an `InputError` if corrections are those of other points.
    """
    processes = fabric.world_size
    mine = range(fabric.global_rank, len(scenes), processes)
    shown = fabric.is_global_zero and len(scenes) > FEW_SCENES
    found: list[tuple[str, str]] = []
    with together(fabric), Progress("read scenes", len(mine), enabled=shown) as progress:
        for index in mine:
            scene = scenes[index]
            corrections.labels(scene)
            found.append((f"scene '{scene.name}'", scene_digest(scene, pairing)))
            progress.advance()
    parts = gathered(fabric, found)
    return dict(parts[index % processes][index // processes] for index in range(len(scenes)))


def labels_identity(config: RunConfig, teachers: Teachers) -> Identity:
    """Return the identity of a folder that `labelfree label` writes: teachers, classes, label and pairing settings."""
    settings = settings_entries(config).items()
    labels = {name: value for name, value in settings if name.partition(".")[0] in {"labels", "pairing"}}
    return Identity({"command": "labelfree label"} | _teacher_entries(teachers) | labels)


def scene_digest(scene: Scene, pairing: PairingConfig) -> str:
    """Return a digest of the parts of a scene that training reads: points, features, images, depth and poses."""
    digest = hashlib.sha256(points_digest(scene.points_world).encode())
    digest.update(point_features(scene).tobytes())
    for frame in scene.frames:
        digest.update(frame_key(frame, "", pairs_by_depth(frame, pairing)).encode())
    return digest.hexdigest()[:DIGEST_LENGTH]


def _teacher_entries(teachers: Teachers) -> dict[str, object]:
    return {
        "--classes": ", ".join(teachers.vocabulary.names),
        "class synonyms": text_digest(json.dumps(teachers.vocabulary.synonyms)),
        "--clip": f"{teachers.namer.describe()} ({text_digest(teachers.namer.fingerprint())})",
        "--sam": f"{teachers.masks.describe()} ({text_digest(teachers.masks.fingerprint())})",
    }


def _start_digest(weights: str | None, part: str) -> str | None:
    """Return a digest of the content of initial weights, whatever their path; None for random weights."""
    start = starting_weights(weights, part)
    return None if start is None else f"weights {weights_digest(start)[:DIGEST_LENGTH]}"
