"""`labelfree prepare ROOT`: validate a whole dataset in one pass before any work."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace

from labelfree.cli.arguments import (
    add_inputs,
    given_data,
    open_data,
    read_options,
    require_depth,
    vocabulary,
)
from labelfree.cli.run_config import run_config
from labelfree.config.run_config import RunConfig
from labelfree.data.collection import layout_of
from labelfree.data.next_step import next_step
from labelfree.data.survey import render, survey
from labelfree.errors import InputError
from labelfree.files.leftovers import scratch_folder
from labelfree.runtime.devices import pick_device
from labelfree.runtime.progress import Progress
from labelfree.teachers.label_frames import label_frames
from labelfree.teachers.opening import load_teachers

PROBLEMS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ROOT, how it is read, the teachers and the timing."""
    add_inputs(parser)
    parser.add_argument(
        "--measure", type=int, default=0, metavar="N", help="time the teachers on N images (default: 0, not timed)"
    )
    parser.set_defaults(recipe=None)


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Print counts, problems, the cost of labelling and the next command; return 2 if there are problems, else 0."""
    if options.measure < 0:
        raise InputError(f"--measure is {options.measure}: give a number of images, or 0 to skip the timing.")
    own = layout_of(options.data, options.layout)
    options.recipe = options.recipe or own.recipe
    config = run_config(options, overrides)
    require_depth(options, config)
    bar: list[Progress] = []

    def progress(done: int, total: int) -> None:
        if not bar:
            bar.append(Progress("survey", total))
            bar[0].__enter__()
        bar[0].advance()
        if done == total:
            bar[0].__exit__(None, None, None)

    found = survey(options.data, options.root, read_options(options), options.layout, progress)
    seconds = _measured(options, config) if options.measure and not found.problems else None
    following = next_step(given_data(options), own, found, options.recipe)
    print(render(found, following, config.labels.image_size, config.labels.latent_width, seconds))
    return PROBLEMS if found.problems else 0


def _measured(options: argparse.Namespace, config: RunConfig) -> float:
    """Return the seconds per image of both teachers, measured on images of the first scene."""
    scenes = open_data(options, tell=False)
    scene = scenes[0]
    few = replace(scene, frames=scene.frames[: options.measure])
    device = pick_device(options.device)
    with scratch_folder() as folder:
        teachers = load_teachers(config, vocabulary(options, scenes), folder, device)
        started = time.monotonic()
        label_frames([few], teachers, device, "measure")
        return (time.monotonic() - started) / max(1, len(few.frames))
