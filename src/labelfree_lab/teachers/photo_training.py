"""Settings and arguments that the trainings on photographs of the corpus share."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PhotoTraining:
    """How a network is trained on photographs, which are crops of the corpus' images."""

    steps: int
    batch: int
    peak_rate: float
    crop_sides: tuple[int, int]
    """Sides of the photographs, in pixels of the corpus' images."""
    probe_every: int
    warm_up: int = 100
    weight_decay: float = 0.05
    min_share: float = 0.04
    """Share of a photograph that a class must cover to count as visible."""
    seed: int = 0


def photo_training_parser(description: str | None, steps: int) -> argparse.ArgumentParser:
    """Return a parser with the arguments of such a training."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder written by labelfree_lab.teachers.corpus")
    parser.add_argument("--tuning", type=Path, required=True, help="a corpus of other rooms or streets")
    parser.add_argument("--out", type=Path, default=None, help="folder for weights and log (default: the package's)")
    parser.add_argument("--work", type=Path, required=True, help="folder for the checkpoint")
    parser.add_argument("--steps", type=int, default=steps, help="optimiser steps (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=PhotoTraining.seed, help="seed (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all cores)")
    return parser
