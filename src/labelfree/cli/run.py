"""`labelfree run DATA --classes ... --out RUN`: everything, on your own capture, in one command."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from pathlib import Path

from labelfree.cli.arguments import (
    add_classes,
    add_data,
    add_teachers,
    cache_dir,
    command_line,
    given_data,
    open_data,
    require_depth,
    require_points,
    require_sound,
    told,
    vocabulary,
)
from labelfree.cli.settings import facts, notices, require_cotraining, run_config, save_settings
from labelfree.comparison import NetworkLabels, TeacherLabels, measure
from labelfree.data.check import render_reports
from labelfree.data.collection import layout_of
from labelfree.data.next_step import real_work_command
from labelfree.pipeline import cotrain, label_frames, load_teachers, make_fabric
from labelfree.reporting import RunResults, report, save_predictions
from labelfree.results.curves import read_metrics
from labelfree.results.export import save_results
from labelfree.training.checkpoint import METRICS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DATA, classes, teachers, where to write."""
    add_data(parser)
    add_classes(parser)
    add_teachers(parser)
    parser.add_argument("--out", type=Path, required=True, help="run folder: networks, predictions, report")
    parser.add_argument("--seed", type=int, default=None, help="seed of everything random")
    parser.add_argument("--processes", type=int, default=1, help="processes (GPUs) to train on")


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Check, label, train, predict, report; the same command after an interruption goes on where it stopped."""
    config = run_config(options, overrides)
    require_cotraining(config, "run")
    require_points(options)
    require_depth(options, config)
    opened = open_data(options, tell=False)
    names = vocabulary(options, opened)
    scenes = told(opened.counted_by(names))
    marks = [("check", time.monotonic())]
    print(render_reports(require_sound(opened), max_rows=0))
    save_settings(config, options.out)
    fabric = make_fabric(options.device, options.processes, config.train.precision)
    teachers = load_teachers(config.teachers, config.labels, names, cache_dir(options), fabric.device)
    marks.append(("label", time.monotonic()))
    label_frames(scenes, teachers, config.labels, fabric.device)
    marks.append(("train", time.monotonic()))
    net_2d, net_3d = cotrain(scenes, names, config, options.out, teachers, fabric)
    marks.append(("predict", time.monotonic()))
    if not fabric.is_global_zero:
        return 0
    networks = NetworkLabels(net_2d, net_3d)
    shares = save_predictions(scenes, networks, options.out)
    voted = TeacherLabels(teachers, config.labels, config.pairing, names, voted=True)
    clip = TeacherLabels(teachers, config.labels, config.pairing, names, voted=False)
    methods = measure(scenes, (clip, voted, networks), names, "the capture itself", scenes.measured)
    marks.append(("end", time.monotonic()))
    timings = tuple((name, after - start) for (name, start), (_, after) in itertools.pairwise(marks))
    save_results(options.out / "results.json", methods, {"seed": config.seed, "seconds": dict(timings)})
    real_work = real_work_command(given_data(options), layout_of(options.data, options.layout), options.out)
    results = RunResults(
        title=f"labelfree: {options.data.stem}",
        summary=(
            f"{len(scenes)} scene(s) with {sum(len(scene.frames) for scene in scenes)} images and "
            f"{sum(len(scene) for scene in scenes):,} points were labelled with {len(names)} classes, without a label.",
        ),
        notices=notices(config, teachers, real_work),
        command=command_line(),
        vocabulary=names,
        methods=methods,
        metrics=read_metrics(options.out / "training" / METRICS),
        timings=timings,
        facts=facts(config, teachers),
    )
    report(options.out / "report.html", results, scenes, voted, networks, shares)
    print(f"labelled clouds, images, networks and report.html are in {options.out}")
    return 0
