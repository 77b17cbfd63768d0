"""`labelfree demo`: the full method in the lab, compared with the labels it starts from."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from labelfree.cli.arguments import command_line, with_preset_colours
from labelfree.cli.out_folder import check_out
from labelfree.cli.preflight import preflight
from labelfree.cli.run_config import facts, notices, require_cotraining
from labelfree.cli.terminal import say
from labelfree.config.reading import read_settings
from labelfree.config.recipe_files import recipe_path
from labelfree.config.run_config import RunConfig
from labelfree.data.collection import SceneCollection, open_scenes
from labelfree.evaluation.measure import measure
from labelfree.evaluation.method_results import MethodResult, comparison_table
from labelfree.files.leftovers import remove_leftovers
from labelfree.files.outputs import OutputFolder
from labelfree.files.run_lock import run_lock
from labelfree.labelling.labellers import NetworkLabels, TeacherLabels
from labelfree.results.curves import read_metrics
from labelfree.results.export import claim_scenes, save_results
from labelfree.results.report import ReportContent
from labelfree.results.run_report import report, save_predictions
from labelfree.run import Run, open_run
from labelfree.runtime.devices import make_fabric
from labelfree.teachers.label_frames import label_frames
from labelfree.teachers.teachers import Teachers
from labelfree.training.systems import cotrain, cotrain_run
from labelfree.vocabulary import Vocabulary
from labelfree_lab.rooms.dataset import LabSize, write_lab
from labelfree_lab.shapes.primitives import CLASS_NAMES
from labelfree_lab.teachers.oracle import TruthLabels

DEMO_ROOMS, DEMO_HELD_OUT = 28, 8
"""Training and held-out rooms: as many as two cores take in three minutes; a table has 48 and 20."""
ROOMS_REPORTED = 3
"""Held-out rooms whose predictions are written."""


@dataclass
class Clock:
    """Durations of labelling, training and evaluation in seconds."""

    label: float = 0.0
    train: float = 0.0
    evaluate: float = 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments: seed, sizes and output folder."""
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="run folder")
    parser.add_argument("--seed", type=int, default=0, help="seed of the rooms and of everything random")
    parser.add_argument("--recipe", default="rooms", help="settings: rooms, or a YAML file")
    parser.add_argument("--oracle", action="store_true", help="also train the same networks on ground truth")
    parser.add_argument("--rooms", type=int, default=DEMO_ROOMS, help="training rooms")
    parser.add_argument("--held-out", type=int, default=DEMO_HELD_OUT, help="held-out rooms")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Build rooms, label, train, evaluate and report; the same command resumes after an interruption."""
    config = replace(read_settings(recipe_path(options.recipe), overrides), seed=options.seed)
    require_cotraining(config, "demo")
    check_out(options.out)
    with run_lock(options.out, "demo"):
        remove_leftovers(options.out)
        return _demo(options, config)


def _demo(options: argparse.Namespace, config: RunConfig) -> int:
    # Data
    size = replace(LabSize(), train_rooms=options.rooms, held_out_rooms=options.held_out)
    out, clock = Path(options.out), Clock()
    folders = write_lab(out / "data", options.seed, size)
    train_scenes, held_out = open_scenes(folders.train), open_scenes(folders.held_out)
    names = with_preset_colours(Vocabulary.from_names(CLASS_NAMES))
    for note in preflight(config, train_scenes, names, out, out / "cache", measured=False):
        say(note)

    # Labels
    fabric = make_fabric(options.device, precision=config.train.precision)
    started = time.monotonic()
    this_run = open_run(train_scenes, names, config, out, fabric=fabric)
    teachers = this_run.teachers
    claim_scenes(OutputFolder(out), held_out.names[:ROOMS_REPORTED], (*this_run.files(), "results.json", "report.html"))
    this_run.begin()
    label_frames(train_scenes, teachers, fabric.device, "label training rooms")
    label_frames(held_out, teachers, fabric.device, "label held-out rooms")
    clock.label, started = time.monotonic() - started, time.monotonic()

    # Training
    networks = NetworkLabels(*cotrain_run(this_run, labelled=True))
    clock.train, started = time.monotonic() - started, time.monotonic()

    # Evaluation
    clip, voted = TeacherLabels(teachers, voted=False), TeacherLabels(teachers, voted=True)
    methods = measure(held_out, (clip, voted, networks), names, "held-out rooms")
    clock.evaluate = time.monotonic() - started
    if options.oracle:
        methods += (_oracle(train_scenes, held_out, names, config, out, teachers),)

    # Results
    print(comparison_table(methods).markdown())
    extra = {"seed": options.seed, "seconds": asdict(clock), "delivered": networks.name}
    save_results(out / "results.json", methods, extra)
    shares = save_predictions(held_out[:ROOMS_REPORTED], networks, out)
    timings = tuple(asdict(clock).items())
    content = _content(this_run, methods, timings, size)
    report(out / "report.html", replace(content, shares=shares), held_out, voted, networks)
    print(f"report: {out / 'report.html'}   numbers: {out / 'results.json'}")
    return 0


def _oracle(
    train_scenes: SceneCollection,
    held_out: SceneCollection,
    names: Vocabulary,
    config: RunConfig,
    out: Path,
    teachers: Teachers,
) -> MethodResult:
    """Return the result of the same networks trained on ground truth with the same budget: an upper bound."""
    only_truth = replace(config.switch, pool_2d=("clip_2d",), pool_3d=("clip_3d",))
    config = replace(config, labels=replace(config.labels, refine=False), switch=only_truth)
    truth = replace(teachers, namer=TruthLabels(teachers.namer.text), labels=config.labels, cache=None)
    networks = cotrain(train_scenes, names, config, out / "oracle", truth)
    labeller = NetworkLabels(*networks, "oracle", "the same networks trained on ground truth")
    return replace(measure(held_out, (labeller,), names, "held-out rooms")[0], uses_truth=True)


def _lessons(config: RunConfig) -> str:
    """Return what the networks start from, and whether the loss is the paper's."""
    start = config.networks.backbone_weights
    told = "The networks start from features of image tags that name the same classes."
    if start != "rooms":
        told = f"The 2D network starts from {start or 'random weights'}."
    return told + (" Rare classes weigh more in the loss than in the paper." if config.train.class_balance else "")


def _content(
    run: Run, methods: tuple[MethodResult, ...], timings: tuple[tuple[str, float], ...], size: LabSize
) -> ReportContent:
    rooms = f"{size.train_rooms} rooms of {size.train_views} images to train on, {size.held_out_rooms} held out"
    return ReportContent(
        title="labelfree: the offline lab",
        summary=(
            f"The full method on procedural rooms ({rooms}), by the same code as real data: tiny CLIP labels the "
            "pixels, a majority vote inside the masks of tiny SAM refines the labels, and two networks are trained on "
            "them. Every number below is measured on the held-out rooms.",
            "No network sees a label of a pixel or of a point. Tiny CLIP learned from captions that name the classes, "
            f"tiny SAM from masks without classes. {_lessons(run.config)}",
        ),
        notices=notices(run.config, run.teachers, None),
        command=command_line(),
        vocabulary=run.vocabulary,
        methods=methods,
        metrics=read_metrics(run.metrics_file),
        timings=timings,
        facts=facts(run.config, run.teachers),
    )
