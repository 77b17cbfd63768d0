"""A program that trains toy networks in the processes that it starts, or in those of torchrun; for tests of jobs.

training_job.py OUT PROCESSES [RANK STEP]: process RANK is killed at step STEP.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from lightning_fabric import Fabric

from helpers.toy_training import SCENES, toy_networks, toy_plan, weights
from labelfree.errors import InputError
from labelfree.runtime.devices import make_fabric
from labelfree.runtime.launch import planned
from labelfree.runtime.together import leave
from labelfree.training import fit
from labelfree.training.checkpoint import Position
from labelfree.training.cotraining import train

NETWORKS = "networks.pt"


def trained(fabric: Fabric, out: Path) -> dict[str, torch.Tensor]:
    networks = toy_networks()
    train(fabric, networks, SCENES[:4], toy_plan(epochs=3), out)
    return weights(networks)


def main(out: Path, processes: int | None, rank: int = -1, step: int = -1) -> None:
    fabric = make_fabric("cpu", planned(processes), "float32")

    def die(record: Mapping[str, object], position: Position, folder: Path) -> None:
        if fabric.global_rank == rank and position.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    vars(fit)["require_finite"] = die
    found = trained(fabric, out)
    if fabric.is_global_zero:
        torch.save(found, out / NETWORKS)
    leave(fabric)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]) or None, *map(int, sys.argv[3:]))
    except InputError as error:
        print(f"labelfree: {error}", file=sys.stderr)
        sys.exit(2)
