"""Checkpoints of a run: weights, optimiser, position and random state, so that training resumes exactly."""

from __future__ import annotations

import json
import math
import os
import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from labelfree.errors import DataWarning, InputError
from labelfree.files.atomic import UnwritableError, atomic_file
from labelfree.files.checksum import DamagedError, checked_file, open_checked
from labelfree.files.leftovers import temporary_name
from labelfree.files.metrics import METRICS, parse_record, read_lines
from labelfree.training.weight_average import WeightAverage
from labelfree.weights.stored import CHECKPOINT, first_not_finite

PREVIOUS = "checkpoint-previous.pt"
"""The checkpoint before the last one. Training resumes from it if the last one is damaged."""
ANEW = "delete it to start training anew"
DIVERGED = "lower train.learning_rate, or check the data, and run again."
"""The fix named in messages about NaN or infinite losses and weights."""


class Scaling(Protocol):
    """Fabric's precision plugin, which in float16 scales the loss by a factor that training adapts."""

    def state_dict(self) -> dict[str, Any]:
        """Return the factor and its history; empty for other number formats."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a saved factor."""


@dataclass
class Position:
    """The position of a training run: the next step to take."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0


def require_finite(record: Mapping[str, float | int | str], position: Position, folder: Path) -> None:
    """Raise an `InputError` if a loss is NaN or infinite, since every later network would be useless."""
    for name, value in record.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(
                f"{folder}: the loss '{name}' is {value} at step {position.step}, so training stopped; the last "
                f"checkpoint, if any, is kept; {DIVERGED}"
            )


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimiser: Optimizer,
    position: Position,
    config_digest: str,
    average: WeightAverage | None = None,
    scaling: Scaling | None = None,
) -> None:
    """Write networks, average, optimiser, loss scale, position and random state, atomically.

    The checkpoint that it replaces is kept as `PREVIOUS`. Raises an `InputError` if a weight is NaN or infinite.
    """
    path, weights = folder / CHECKPOINT, model.state_dict()
    if (name := first_not_finite(weights)) is not None:
        raise InputError(
            f"{path}: not written, since '{name}' holds NaN or infinite values at step {position.step}; {DIVERGED}"
        )
    state = {
        "model": weights,
        "optimiser": optimiser.state_dict(),
        "position": vars(position),
        "random_state": torch.get_rng_state(),
        "config": config_digest,
        "average": None if average is None else average.mean,
        "scaling": {} if scaling is None else scaling.state_dict(),
    }
    if path.is_file():
        _keep_as(path, folder / PREVIOUS)
    else:
        (folder / PREVIOUS).unlink(missing_ok=True)
    write_state(path, state)


def load_checkpoint(
    folder: Path,
    model: nn.Module,
    optimiser: Optimizer,
    config_digest: str,
    average: WeightAverage | None = None,
    scaling: Scaling | None = None,
) -> Position | None:
    """Restore what `save_checkpoint` wrote and return the next step; None if there is no checkpoint.

    Raises an `InputError` if the checkpoint is damaged or belongs to another run.
    """
    path = folder / CHECKPOINT
    state = _last_intact(path, folder / PREVIOUS)
    if state is None:
        return None
    if state["config"] != config_digest:
        raise InputError(
            f"{path}: belongs to a run with other settings or other data; choose another --out folder or delete it."
        )
    try:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        if average is not None:
            average.restore(state["average"])
        if scaling is not None and state.get("scaling"):
            scaling.load_state_dict(state["scaling"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: does not fit these networks; delete it to start training anew.") from error
    torch.set_rng_state(state["random_state"])
    return Position(**state["position"])


def _last_intact(path: Path, previous: Path) -> dict[str, Any] | None:
    """Return the checkpoint at `path`. If it is damaged, replace it by the previous one and return that."""
    try:
        return read_state(path)
    except InputError:
        with suppress(InputError):
            state = read_state(previous)
            if state is not None:
                warnings.warn(
                    f"{path}: damaged; training resumes from {previous.name}, which is older.",
                    DataWarning,
                    stacklevel=2,
                )
                _keep_as(previous, path)
                return state
        raise


def _keep_as(path: Path, other: Path) -> None:
    """Make `other` a hard link to `path` where the file system supports it; neither is missing at any time."""
    link = temporary_name(other)
    with suppress(OSError):
        os.link(path, link)
        os.replace(link, other)
    link.unlink(missing_ok=True)  # os.replace keeps both names if they are already the same file


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values with a checksum, atomically."""
    with checked_file(path, sync=True) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # torch raises its own error; the OSError is its context
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def read_state(path: Path) -> dict[str, Any] | None:
    """Return what `write_state` wrote; None if there is no file. Raises an `InputError` if the file is damaged."""
    if not path.is_file():
        return None
    try:
        with open_checked(path) as file:
            return dict(torch.load(file, map_location="cpu", weights_only=True))
    except DamagedError as error:
        reason = "its checksum is missing or does not match its content"
        raise InputError(f"{path}: not a readable checkpoint ({reason}); {ANEW}.") from error
    except OSError as error:
        raise InputError(f"{path}: not a readable checkpoint ({error.strerror}); {ANEW}.") from error
    except (RuntimeError, EOFError, ValueError, TypeError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: not a readable checkpoint (it holds more than tensors); {ANEW}.") from error


class MetricsLog:
    """The log `metrics.jsonl`: one JSON object per step. On resume, records after the checkpoint are removed."""

    def __init__(self, folder: Path, position: Position, enabled: bool = True, tensorboard: bool = False) -> None:
        self.path = folder / METRICS
        self.enabled = enabled
        self.board = _tensorboard(folder, position) if enabled and tensorboard else None
        if enabled:
            self._cut(position.step)

    def write(self, record: dict[str, float | int | str]) -> None:
        """Append one record, also to TensorBoard if it is on."""
        if self.enabled:
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
            except OSError as error:
                raise UnwritableError(self.path, error) from error
        if self.board is not None:
            for name, value in record.items():
                if isinstance(value, float):
                    self.board.add_scalar(name, value, int(record["step"]))

    def _cut(self, step: int) -> None:
        """Keep the records of steps before `step`. Lines that are not records are dropped with a warning."""
        kept, damaged = [], 0
        for line in self._lines():
            record = parse_record(line)
            if record is None or "step" not in record:
                damaged += 1
            elif record["step"] < step:
                kept.append(line)
        if damaged:
            dropped = f"{self.path}: dropped {damaged} damaged lines; the curves miss these steps."
            warnings.warn(dropped, DataWarning, stacklevel=2)
        with atomic_file(self.path) as file:
            file.writelines(kept)

    def _lines(self) -> Iterator[bytes]:
        """Yield complete lines; a killed run may leave an incomplete last line."""
        try:
            yield from (line for _, line in read_lines(self.path) if line.endswith(b"\n"))
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror}); delete it.") from error


def _tensorboard(folder: Path, position: Position) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "train.tensorboard is on but TensorBoard is missing: pip install 'labelfree[tensorboard]'."
        ) from error
    return SummaryWriter(str(folder), purge_step=position.step)
