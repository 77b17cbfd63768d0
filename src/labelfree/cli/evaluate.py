"""`labelfree evaluate RUN DATA`: measure networks, CLIP's labels and voted labels against ground truth."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from labelfree.cli.arguments import add_data, cache_dir, open_data, told
from labelfree.cli.fusing import add_fuse, fused
from labelfree.config.reading import read_settings
from labelfree.config.run_config import RunConfig
from labelfree.data.collection import SceneCollection, layout_of
from labelfree.errors import InputError
from labelfree.evaluation.measure import measure
from labelfree.evaluation.method_results import class_table, comparison_table
from labelfree.files.outputs import OutputFolder
from labelfree.labelling.labellers import Labeller, TeacherLabels, load_networks
from labelfree.results.export import save_results
from labelfree.runtime.devices import pick_device
from labelfree.scene import Scene
from labelfree.teachers.label_frames import label_frames
from labelfree.teachers.opening import load_teachers
from labelfree.vocabulary import IGNORE_LABEL, Vocabulary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add RUN, DATA and what is measured."""
    parser.add_argument("out", type=Path, metavar="run", help="folder of a finished run")
    add_data(parser)
    parser.add_argument(
        "--networks-only",
        action="store_true",
        help="measure the networks only, not CLIP's labels and the voted labels",
    )
    add_fuse(parser, cache=False)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument(
        "--cache", type=Path, default=None, help="folder of teacher outputs (default: cache beside the run folder)"
    )


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Print the comparison and per-class tables; write evaluation.json into the run folder."""
    config, device = _settings(options.out / "settings.yaml"), pick_device(options.device)
    OutputFolder(options.out, "use another run").claim([options.out / "evaluation.json"])
    networks = load_networks(options.out / "networks", device)
    names = networks.vocabulary
    scenes = _labelled_scenes(options, names)

    # Measure
    labellers: list[Labeller] = [networks]
    if not options.networks_only and not any(scene.frames for scene in scenes):
        print(f"{options.data}: has no images, so only the networks are measured, not the teachers' labels")
    elif not options.networks_only:
        teachers = load_teachers(config, names, cache_dir(options), device)
        label_frames(scenes, teachers, device)
        labellers = [*(TeacherLabels(teachers, voted) for voted in (False, True)), *labellers]
    if options.fuse:
        labellers.append(fused(networks, config, options, device))
    title = f"{options.data}, {options.split}" if options.split else str(options.data)
    methods = measure(scenes, labellers, names, title, scenes.measured)
    if not any(method.modalities() for method in methods):
        raise InputError(f"{options.data}: all ground-truth labels are ignored (255); give labelled data.")

    # Report
    print(comparison_table(methods).markdown())
    measured = {name for method in methods for name, _ in method.modalities()}
    for modality in sorted(measured):
        print(f"\n{modality}\n{class_table(methods, names, modality).markdown()}")
    save_results(options.out / "evaluation.json", methods, {"data": str(options.data)})
    return 0


def _settings(path: Path) -> RunConfig:
    """Read the settings of a run; refuse a run whose labels are not those of its networks."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the folder of a run made by 'labelfree train' or 'run'.")
    config = read_settings(path)
    if config.system not in {"cns", "consensus"} or config.predict.refine:
        raise InputError(
            f"{path}: system is {config.system}, but 'evaluate' measures cns and consensus without predict.refine; "
            "use 'labelfree table'."
        )
    return config


def _labelled_scenes(options: argparse.Namespace, names: Vocabulary) -> SceneCollection:
    """Open the data; refuse ground truth that cannot be measured."""
    scenes = told(open_data(options, tell=False).counted_by(names))
    if scenes.measured == ():
        raise InputError(
            f"{options.data}: none of its classes ({', '.join(scenes.classes or ())}) is a class of the run "
            f"({', '.join(names.names)}); classes are matched by name, so give data or a run with common names."
        )
    if scenes.classes is None and layout_of(options.data, options.layout).images_only:
        _require_known_ids(scenes, names)
    if not any(_has_truth(scene) for scene in scenes):
        raise InputError(
            f"{options.data}: has no ground truth, neither label images nor labelled clouds; give labelled data."
        )
    return scenes


def _has_truth(scene: Scene) -> bool:
    return scene.labels is not None or any(frame.labels is not None for frame in scene.frames)


def _require_known_ids(scenes: Iterable[Scene], names: Vocabulary) -> None:
    """Raise an InputError for the first label map that holds an id which is no class of the run."""
    for frame in (frame for scene in scenes for frame in scene.frames):
        labels = frame.load_labels()
        unknown = np.array([]) if labels is None else labels[(labels >= len(names)) & (labels != IGNORE_LABEL)]
        if unknown.size and frame.labels is not None:
            raise InputError(
                f"{frame.labels.describe()}: holds label {unknown[0]}, but the run has {len(names)} classes; give the "
                f"classes and ids to leave out (ignored: [{unknown[0]}]) in a description with layout: images."
            )
