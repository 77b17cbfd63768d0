"""The work of `labelfree run`: check, label, train, predict and report."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence

from labelfree.cli.arguments import (
    cache_dir,
    command_line,
    given_data,
    open_data,
    tell,
    told,
    vocabulary,
)
from labelfree.cli.preflight import preflight, require_sound
from labelfree.cli.run_config import facts, notices
from labelfree.cli.terminal import say
from labelfree.config.run_config import RunConfig
from labelfree.data.checking.check import render_reports
from labelfree.data.collection import SceneCollection, layout_of
from labelfree.data.next_step import real_work_command
from labelfree.errors import InputError
from labelfree.evaluation.delivery import choose, short_training
from labelfree.evaluation.measure import measure
from labelfree.evaluation.method_results import MethodResult
from labelfree.files.outputs import OutputFolder
from labelfree.files.run_lock import rank
from labelfree.labelling.labellers import Labeller, NetworkLabels, TeacherLabels
from labelfree.results.curves import read_metrics
from labelfree.results.export import claim_scenes, save_results
from labelfree.results.report import ReportContent
from labelfree.results.run_report import report, save_predictions
from labelfree.run import Run, open_run
from labelfree.runtime.devices import make_fabric
from labelfree.runtime.launch import is_child, planned
from labelfree.runtime.together import leave, together
from labelfree.training.schedule import steps_per_epoch
from labelfree.training.shared_labelling import label_scenes
from labelfree.training.systems import delivered, train_networks
from labelfree.vocabulary import Vocabulary

REPORTS = ("results.json", "report.html")


def carry_out(options: argparse.Namespace, config: RunConfig) -> int:
    """Carry out the command with checked options; return the exit code."""
    marks = [("check", time.monotonic())]

    # Check
    opened = open_data(options, tell=False)
    names = vocabulary(options, opened)
    scenes = told(opened.counted_by(names))
    launch = planned(options.processes)
    if not is_child():
        reports = require_sound(opened)
        if rank() == 0:
            print(render_reports(reports, max_rows=0))
        tell(preflight(config, scenes, names, options.out, cache_dir(options), launch.total))

    # Open the run
    fabric = make_fabric(options.device, launch, config.train.precision)
    this_run = open_run(scenes, names, config, options.out, fabric=fabric, cache=cache_dir(options))
    with together(fabric):
        if fabric.is_global_zero:
            claim_scenes(OutputFolder(options.out), scenes.names, (*this_run.files(), *REPORTS))
    this_run.begin()

    # Label, train
    marks.append(("label", time.monotonic()))
    label_scenes(this_run.fabric, this_run.scenes, this_run.teachers)
    marks.append(("train", time.monotonic()))
    networks = train_networks(this_run, labelled=True)
    leave(fabric)
    marks.append(("predict", time.monotonic()))
    if fabric.is_global_zero:
        _deliver(options, this_run, scenes, networks, marks)
    return 0


def _deliver(
    options: argparse.Namespace,
    this_run: Run,
    scenes: SceneCollection,
    networks: NetworkLabels,
    marks: list[tuple[str, float]],
) -> None:
    """Write the labels that the run delivers, `results.json` and the report."""
    config, teachers, names = this_run.config, this_run.teachers, this_run.vocabulary

    # Predict and measure
    clip, voted = TeacherLabels(teachers, voted=False), TeacherLabels(teachers, voted=True)
    own = delivered(this_run, networks)
    delivery = choose(voted, own, scenes, names)
    steps = config.train.epochs * steps_per_epoch(len(scenes), config.train, this_run.fabric.world_size)
    doubts = short_training(steps, config.train.epochs)
    shares = save_predictions(scenes, delivery.labeller, options.out, config.predict.unseen)
    if delivery.labeller is not own:
        shares += save_predictions(scenes, networks, this_run.networks_folder)
    labellers = (clip, voted, networks) if own is networks else (clip, voted, networks, own)
    methods, unmeasured = _measured(scenes, labellers, names)
    marks.append(("end", time.monotonic()))

    # Write results and report
    timings = tuple((name, after - start) for (name, start), (_, after) in itertools.pairwise(marks))
    save_results(
        options.out / "results.json",
        methods,
        {"seed": config.seed, "seconds": dict(timings), **delivery.to_dict(names)},
    )
    real_work = real_work_command(given_data(options), layout_of(options.data, options.layout), options.out)
    content = ReportContent(
        title=f"labelfree: {options.data.stem}",
        summary=(
            f"{len(scenes)} scene(s) with {sum(len(scene.frames) for scene in scenes)} images and "
            f"{sum(len(scene) for scene in scenes):,} points were labelled with {len(names)} classes. "
            "Training used no ground truth.",
        ),
        notices=(*unmeasured, delivery.reason, *doubts, *notices(config, teachers, real_work)),
        command=command_line(),
        vocabulary=names,
        methods=methods,
        metrics=read_metrics(this_run.metrics_file),
        timings=timings,
        facts=facts(config, teachers),
        shares=shares,
    )
    report(options.out / "report.html", content, scenes, voted, networks)
    for sentence in (delivery.reason, *doubts):
        print(sentence)
    print(f"labelled clouds, images, networks and report.html are in {options.out}")


def _measured(
    scenes: SceneCollection, labellers: Sequence[Labeller], names: Vocabulary
) -> tuple[tuple[MethodResult, ...], tuple[str, ...]]:
    """Return the results and no notice, or no results and the reason; the report is written in both cases."""
    try:
        return measure(scenes, labellers, names, "the capture itself", scenes.measured), ()
    except InputError as error:
        say(error)
        return (), (f"Nothing was measured: {error}",)
