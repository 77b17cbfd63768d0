"""`labelfree run DATA --classes ... --out RUN`: check, label, train, predict and report in one command.

Nothing here imports PyTorch, which takes seconds, so that the command refuses wrong options and answers at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from labelfree.cli.arguments import add_inputs, cache_dir, reading_line, require_depth, require_points
from labelfree.cli.out_folder import check_out
from labelfree.cli.run_config import require_cotraining, run_config
from labelfree.cli.run_data import add_corrections
from labelfree.files.leftovers import remove_leftovers
from labelfree.files.run_lock import rank, run_lock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add DATA, classes, teachers, run folder, seed and processes."""
    add_inputs(parser)
    parser.add_argument("--out", type=Path, required=True, help="run folder: networks, predictions, report")
    parser.add_argument("--seed", type=int, default=None, help="seed of all random choices (default: the recipe's)")
    parser.add_argument(
        "--processes",
        type=int,
        default=None,
        help="training processes on this machine, one per GPU (default: 1, or those of torchrun or srun)",
    )
    add_corrections(parser)


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Check, label, train, predict and report; the same command resumes after an interruption."""
    config = run_config(options, overrides)
    require_cotraining(config, "run")
    require_points(options)
    require_depth(options, config)
    check_out(options.out, options.data)
    check_out(cache_dir(options), options.data, "--cache")
    with run_lock(options.out, "run"):
        remove_leftovers(options.out)
        if rank() == 0:
            print(reading_line(options), flush=True)
        from labelfree.cli.run_work import carry_out

        return carry_out(options, config)
