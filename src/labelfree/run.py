"""`Run`: what one training run consists of, checked against its folder before anything is written there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric

from labelfree.atomic import write_text
from labelfree.config import RunConfig
from labelfree.errors import InputError
from labelfree.identity import IDENTITY, Identity, require_same, training_identity, write_identity
from labelfree.nets.pretrained import CONFIG_NAME, WEIGHTS_NAME
from labelfree.pipeline import load_teachers, make_fabric
from labelfree.scene import Scene
from labelfree.settings import settings_yaml
from labelfree.training.checkpoint import CHECKPOINT, METRICS
from labelfree.training.labelled_scenes import Teachers
from labelfree.training.plan import MODALITIES
from labelfree.vocabulary import Vocabulary

TRAINING = "training"
NETWORKS = "networks"
SETTINGS = "settings.yaml"


@dataclass(frozen=True, eq=False)
class Run:
    """One training run; made by `open_run`."""

    config: RunConfig
    vocabulary: Vocabulary
    scenes: Sequence[Scene]
    teachers: Teachers
    fabric: Fabric
    out: Path
    """Run folder: `training`, `networks`, `settings.yaml` and what verbs write beside them."""
    identity: Identity
    """Everything that determines the weights."""

    @property
    def training_folder(self) -> Path:
        """Checkpoints, metrics and the identity."""
        return self.out / TRAINING

    def begin(self) -> None:
        """Write settings and identity into the run folder."""
        if self.fabric.is_global_zero:
            write_identity(self.training_folder, self.identity)
            write_text(self.out / SETTINGS, settings_yaml(self.config))

    def files(self) -> tuple[str, ...]:
        """Return the files that training writes, relative to the run folder."""
        networks = (f"{NETWORKS}/{side}/{file}" for side in MODALITIES for file in (CONFIG_NAME, WEIGHTS_NAME))
        return (SETTINGS, *(f"{TRAINING}/{file}" for file in (IDENTITY, CHECKPOINT, METRICS)), *networks)

    @property
    def networks_folder(self) -> Path:
        """Trained networks, in `2d` and `3d`."""
        return self.out / NETWORKS


def open_run(
    scenes: Sequence[Scene],
    vocabulary: Vocabulary,
    config: RunConfig,
    out: Path | str,
    teachers: Teachers | None = None,
    fabric: Fabric | None = None,
) -> Run:
    """Return a new run, or the one that `out` holds if everything that determines its weights is the same.

    Writes nothing; raises an InputError that names what changed if `out` holds another run.
    """
    fabric, out = fabric or make_fabric(precision=config.train.precision), Path(out)
    teachers = teachers or load_teachers(config.teachers, config.labels, vocabulary, out / "cache", fabric.device)
    identity = training_identity(config, vocabulary, teachers, scenes, fabric.world_size)
    run = Run(config, vocabulary, scenes, teachers, fabric, out, identity)
    if (run.training_folder / CHECKPOINT).is_file() and not (run.training_folder / IDENTITY).is_file():
        raise InputError(
            f"{run.training_folder}: a checkpoint without {IDENTITY}, from an earlier version of labelfree; choose "
            "another --out, or delete this folder to start again."
        )
    require_same(run.training_folder, identity, out)
    return run
