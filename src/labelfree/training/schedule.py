"""Steps per epoch and the learning rate over epochs."""

from __future__ import annotations

import math

from labelfree.config.training import TrainConfig


def steps_per_epoch(scenes: int, config: TrainConfig, processes: int = 1) -> int:
    """Return the number of optimiser steps in an epoch."""
    size = min(config.scenes_per_batch, scenes)
    return scenes // size + int(scenes % size >= processes)


def rate_factor(config: TrainConfig, epoch: int) -> float:
    """Return the factor on the learning rate in an epoch: linear warm-up, then CLIP2Scene's cosine decay to zero."""
    if epoch < config.warmup_epochs:
        return (epoch + 1) / (config.warmup_epochs + 1)
    done = (epoch - config.warmup_epochs) / max(1, config.epochs - config.warmup_epochs)
    return 0.5 * (1.0 + math.cos(math.pi * done))
