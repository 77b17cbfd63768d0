"""Fit the consensus namer of a run on its training scenes, and keep it in the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.numpy import load, save
from torch import Tensor

from labelfree.config.consensus import ConsensusConfig
from labelfree.errors import InputError
from labelfree.files.checksum import checked_file, read_checked
from labelfree.labelling.consensus import ConsensusNamer, fit_consensus
from labelfree.labelling.scene_evidence import SceneEvidence, scene_evidence
from labelfree.method.extensions.shape_namer import namer_arrays, namers_from
from labelfree.run import Run
from labelfree.runtime.progress import Progress
from labelfree.runtime.together import zero_first
from labelfree.scene import Scene
from labelfree.teachers.teachers import Teachers

CONSENSUS = "consensus.safetensors"
"""The namer and the probabilities of the training scenes' segments, in the training folder."""


def consensus_file(folder: Path, epoch: int = 0) -> Path:
    """Return the file of the consensus from which an epoch on is trained."""
    return folder / (f"consensus-{epoch}.safetensors" if epoch else CONSENSUS)


def fitted(run: Run) -> tuple[ConsensusNamer, tuple[Tensor, ...]]:
    """Return the namer and the log probabilities [G, K] of each training scene; process 0 fits them once."""
    path, config = consensus_file(run.training_folder), run.config.consensus

    def make() -> tuple[ConsensusNamer, tuple[Tensor, ...]]:
        stored = read_consensus(path, config)
        if stored is None or len(stored[1]) != len(run.scenes):
            stored = fit_consensus(all_evidence(run.scenes, run.teachers, config), config, run.config.seed)
            write_consensus(path, *stored)
        return stored

    return zero_first(run.fabric, make)


def all_evidence(scenes: Sequence[Scene], teachers: Teachers, config: ConsensusConfig) -> list[SceneEvidence]:
    """Return the evidence about every scene."""
    found = []
    with Progress("segment", len(scenes)) as progress:
        for scene in scenes:
            if not scene.frames:
                raise InputError(f"Scene '{scene.name}' has no images: system consensus needs them to name segments.")
            found.append(scene_evidence(scene, teachers, config))
            progress.advance()
    return found


def write_consensus(path: Path, namer: ConsensusNamer, log_p: Sequence[Tensor]) -> None:
    """Write a namer and the log probabilities of scenes."""
    arrays = {f"namer.{name}": value for name, value in namer_arrays(namer.namers).items()}
    arrays |= {"prior": namer.prior.numpy(), "shape_prior": namer.shape_prior.numpy()}
    arrays |= {f"scene.{index}": each.float().contiguous().numpy() for index, each in enumerate(log_p)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with checked_file(path, key=path.name) as file:
        file.write(save(arrays))


def read_consensus(path: Path, config: ConsensusConfig) -> tuple[ConsensusNamer, tuple[Tensor, ...]] | None:
    """Return what `write_consensus` wrote, or None if it is missing or damaged."""
    content = read_checked(path, path.name)
    if content is None:
        return None
    arrays = {name: torch.from_numpy(value) for name, value in load(content).items()}
    prefix = "namer."
    namers = namers_from({n.removeprefix(prefix): v.numpy() for n, v in arrays.items() if n.startswith(prefix)})
    scenes = sum(name.startswith("scene.") for name in arrays)
    namer = ConsensusNamer(config, arrays["prior"], arrays["shape_prior"], namers)
    return namer, tuple(arrays[f"scene.{index}"] for index in range(scenes))
