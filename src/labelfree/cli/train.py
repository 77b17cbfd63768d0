"""`labelfree train DATA --out RUN`: label what is not yet labelled, then train both networks, or what `system` says."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from labelfree.cli.arguments import (
    add_classes,
    add_data,
    add_teachers,
    cache_dir,
    open_data,
    require_depth,
    require_points,
    require_sound,
    vocabulary,
)
from labelfree.cli.settings import run_config, save_settings
from labelfree.errors import InputError
from labelfree.pipeline import label_frames, load_teachers, make_fabric
from labelfree.systems import train_system
from labelfree.training.checkpoint import CHECKPOINT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DATA, classes, teachers, where to write."""
    add_data(parser)
    add_classes(parser)
    add_teachers(parser)
    parser.add_argument("--out", type=Path, required=True, help="run folder: checkpoint, metrics, networks")
    parser.add_argument("--seed", type=int, default=None, help="seed of everything random")
    parser.add_argument("--processes", type=int, default=1, help="processes (GPUs) to train on")
    parser.add_argument("--resume", action="store_true", help="insist on going on from a checkpoint in --out")


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Train; the same command after an interruption goes on where it stopped."""
    config = run_config(options, overrides)
    require_points(options)
    require_depth(options, config)
    scenes = open_data(options)
    names = vocabulary(options, scenes)
    checkpoint = options.out / "training" / CHECKPOINT
    if options.resume and not checkpoint.is_file():
        raise InputError(f"{checkpoint}: there is no checkpoint to resume; leave out --resume to start.")
    require_sound(scenes)
    save_settings(config, options.out)
    fabric = make_fabric(options.device, options.processes, config.train.precision)
    teachers = load_teachers(config.teachers, config.labels, names, cache_dir(options), fabric.device)
    label_frames(scenes, teachers, config.labels, fabric.device)
    labeller = train_system(scenes, names, config, options.out, teachers, fabric)
    print(f"{labeller.name}: {labeller.note}; what was trained is in {options.out / 'networks'}")
    return 0
