"""Output of the teachers' training commands: a JSONL log, a checkpoint to resume from, the shipped weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from labelfree.files.atomic import atomic_file
from labelfree.training.checkpoint import read_state, write_state


def append_record(path: Path, record: Mapping[str, float | int | str]) -> None:
    """Append one line to the log; floats keep five significant digits."""
    rounded = {key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in record.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps(rounded) + "\n")


def save_checkpoint(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    """Write model, optimiser and step; random draws need no state, since they depend on the step alone."""
    write_state(path, {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step})


def load_checkpoint(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer | None = None) -> int:
    """Restore the model and, if given, the optimiser; return the number of steps done, 0 without a checkpoint."""
    state = read_state(path)
    if state is None:
        return 0
    model.load_state_dict(state["model"])
    if optimiser is not None:
        optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def write_half_precision(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write weights as 16-bit safetensors, atomically."""
    halves = {
        name: tensor.detach().half().contiguous() if tensor.is_floating_point() else tensor.contiguous()
        for name, tensor in weights.items()
    }
    with atomic_file(path) as file:
        file.write(save(halves, metadata={"format": "pt"}))


def warm_cosine(step: int, steps: int, warm_up: int, floor: float = 0.02) -> float:
    """Return the factor on the learning rate: a linear rise over `warm_up` steps, then half a cosine to `floor`."""
    if step < warm_up:
        return (step + 1) / warm_up
    done = min(1.0, (step - warm_up) / max(1, steps - warm_up))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))
