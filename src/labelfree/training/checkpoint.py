"""Checkpoints that hold everything a run needs to go on exactly where it stopped."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from labelfree.atomic import temporary_name
from labelfree.errors import InputError
from labelfree.training.weight_average import WeightAverage

CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"


@dataclass
class Position:
    """How far training has come: the next step to take."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimiser: Optimizer,
    position: Position,
    config_digest: str,
    average: WeightAverage | None = None,
) -> None:
    """Write both networks, their average, the optimiser, the position and the random state, atomically."""
    state = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "position": vars(position),
        "random_state": torch.get_rng_state(),
        "config": config_digest,
        "average": None if average is None else average.mean,
    }
    path = folder / CHECKPOINT
    temporary = temporary_name(path)
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_checkpoint(
    folder: Path,
    model: nn.Module,
    optimiser: Optimizer,
    config_digest: str,
    average: WeightAverage | None = None,
) -> Position | None:
    """Restore what `save_checkpoint` wrote and return where to go on; None when there is no checkpoint."""
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: not a readable checkpoint ({error}); delete it to start training anew.") from error
    if state["config"] != config_digest:
        raise InputError(
            f"{path}: belongs to a run with other settings or other data; choose another --out folder or delete it."
        )
    model.load_state_dict(state["model"])
    if average is not None:
        average.mean.update(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    torch.set_rng_state(state["random_state"])
    return Position(**state["position"])


class MetricsLog:
    """One JSON object per training step in `metrics.jsonl`; what lies beyond the checkpoint is cut off on resuming."""

    def __init__(self, folder: Path, position: Position, enabled: bool = True, tensorboard: bool = False) -> None:
        self.path = folder / METRICS
        self.enabled = enabled
        self.board = _tensorboard(folder, position) if enabled and tensorboard else None
        if not enabled:
            return
        kept = [line for line in self._lines() if json.loads(line)["step"] < position.step]
        temporary = temporary_name(self.path)
        temporary.write_text("".join(kept), encoding="utf-8")
        os.replace(temporary, self.path)

    def write(self, record: dict[str, float | int | str]) -> None:
        """Append one record."""
        if self.enabled:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        if self.board is not None:
            for name, value in record.items():
                if isinstance(value, float):
                    self.board.add_scalar(name, value, int(record["step"]))

    def _lines(self) -> list[str]:
        if not self.path.is_file():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [line for line in lines if line.endswith("\n")]  # a killed run may leave half a line


def _tensorboard(folder: Path, position: Position) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "train.tensorboard is on but TensorBoard is missing: pip install 'labelfree[tensorboard]'."
        ) from error
    return SummaryWriter(str(folder), purge_step=position.step)
