"""`labelfree train DATA --out RUN`: label the images, then train the networks of setting `system`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from labelfree.cli.arguments import (
    add_inputs,
    cache_dir,
    open_data,
    require_depth,
    require_points,
    tell,
    vocabulary,
)
from labelfree.cli.out_folder import check_out
from labelfree.cli.preflight import preflight, require_sound
from labelfree.cli.run_config import run_config
from labelfree.cli.run_data import DATA_FILE, add_corrections, given_corrections, given_run_data, write_run_data
from labelfree.errors import InputError
from labelfree.files.leftovers import remove_leftovers
from labelfree.files.outputs import OutputFolder
from labelfree.files.run_lock import run_lock
from labelfree.run import open_run
from labelfree.runtime.devices import make_fabric
from labelfree.runtime.launch import is_child, planned
from labelfree.runtime.together import leave, together
from labelfree.training.shared_labelling import label_scenes
from labelfree.training.systems import train_system
from labelfree.weights.stored import CHECKPOINT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add DATA, classes, teachers, run folder, seed, processes and --resume."""
    add_inputs(parser)
    parser.add_argument("--out", type=Path, required=True, help="run folder: checkpoint, metrics, networks")
    parser.add_argument("--seed", type=int, default=None, help="seed of all random choices (default: the recipe's)")
    parser.add_argument(
        "--processes",
        type=int,
        default=None,
        help="training processes on this machine, one per GPU (default: 1, or those of torchrun or srun)",
    )
    add_corrections(parser)
    parser.add_argument(
        "--resume", action="store_true", help="fail if --out holds no checkpoint; training resumes from one in any case"
    )


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Label and train; the same command resumes after an interruption."""
    config = run_config(options, overrides)
    checkpoint = options.out / "training" / CHECKPOINT
    if options.resume and not checkpoint.is_file():
        raise InputError(f"{checkpoint}: no such checkpoint to resume from; leave out --resume to start.")
    check_out(options.out, options.data)
    check_out(cache_dir(options), options.data, "--cache")
    with run_lock(options.out, "train"):
        remove_leftovers(options.out)

        # Check the data
        require_points(options)
        require_depth(options, config)
        scenes = open_data(options)
        names = vocabulary(options, scenes)
        launch = planned(options.processes)
        if not is_child():
            require_sound(scenes)
            notes = preflight(config, scenes, names, options.out, cache_dir(options), launch.total, measured=False)
            tell(notes)

        # Open the run
        fabric = make_fabric(options.device, launch, config.train.precision)
        fixed, cache = given_corrections(options, scenes.names, names), cache_dir(options)
        this_run = open_run(scenes, names, config, options.out, fabric=fabric, cache=cache, corrections=fixed)
        with together(fabric):
            if fabric.is_global_zero:
                OutputFolder(options.out).claim(options.out / file for file in (*this_run.files(), DATA_FILE))
                write_run_data(options.out, given_run_data(options))
        this_run.begin()

        # Label and train
        label_scenes(this_run.fabric, this_run.scenes, this_run.teachers)
        labeller = train_system(this_run, labelled=True)
        leave(fabric)
    if fabric.is_global_zero:
        print(f"{labeller.name}: {labeller.note}; the trained networks are in {this_run.networks_folder}")
    return 0
