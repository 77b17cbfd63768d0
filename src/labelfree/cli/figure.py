"""`labelfree figure RUN DATA`: draw the paper's qualitative figures of a finished run as two PNG files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from labelfree.cli.arguments import add_reading, open_data
from labelfree.config.reading import read_settings
from labelfree.config.run_config import RunConfig
from labelfree.errors import InputError
from labelfree.files.atomic import write_png
from labelfree.files.outputs import OutputFolder
from labelfree.labelling.labellers import load_networks
from labelfree.results.figure import FigureSources, clouds_figure, frames_figure
from labelfree.run import NETWORKS
from labelfree.runtime.devices import pick_device
from labelfree.teachers.opening import load_teachers

CACHES_LOOKED_FOR = 3
"""Number of folders above a run that are searched for its cache: beside the run, or above a table's `runs/`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add RUN, DATA, the number of scenes and the output folder."""
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("data", type=Path, help="scenes to show, preferably held-out ones")
    add_reading(parser)
    parser.add_argument(
        "--scenes",
        type=int,
        default=4,
        help="number of scenes, evenly spaced; one image and one cloud each (default: 4)",
    )
    parser.add_argument(
        "--to", type=Path, default=None, help="folder for figure-2d.png and figure-3d.png (default: RUN)"
    )
    parser.add_argument("--cache", type=Path, default=None, help="folder of teacher outputs (default: the run's cache)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Draw input, SAM, CLIP, w/o CNS, ours and ground truth side by side, for images and for clouds."""
    if options.scenes < 1:
        raise InputError(f"--scenes is {options.scenes}: give 1 or more.")
    config, device = _settings(options.run), pick_device(options.device)
    sources = _sources(options, config, device)
    to = Path(options.to or options.run)
    nets = {"figure-2d.png": sources.net_2d, "figure-3d.png": sources.net_3d}
    OutputFolder(to, "give another --to").claim(to / name for name, net in nets.items() if net is not None)

    # Choose the scenes
    scenes = open_data(options).counted_by(sources.teachers.vocabulary)
    places = np.linspace(0, len(scenes) - 1, min(options.scenes, len(scenes))).round().astype(int)
    shown = [scenes[int(place)] for place in places]

    # Draw the figures
    if sources.net_2d is not None:
        write_png(to / "figure-2d.png", frames_figure(shown, sources))
        print(f"images: {to / 'figure-2d.png'}")
    if sources.net_3d is not None:
        write_png(to / "figure-3d.png", clouds_figure(shown, sources))
        print(f"clouds: {to / 'figure-3d.png'}")
    return 0


def _settings(run_folder: Path) -> RunConfig:
    settings = run_folder / "settings.yaml"
    if not settings.is_file():
        raise InputError(
            f"{settings}: no such file; give the folder of a run made by 'train', 'run', 'demo' or 'table'."
        )
    config = read_settings(settings)
    if config.system != "cns" or config.predict.refine:
        raise InputError(f"{settings}: figures need networks; give a run of system cns without predict.refine.")
    return config


def _sources(options: argparse.Namespace, config: RunConfig, device: torch.device) -> FigureSources:
    networks = load_networks(options.run / NETWORKS, device)
    teachers = load_teachers(config, networks.vocabulary, _cache(options), device)
    return FigureSources(teachers, networks.net_2d, networks.net_3d)


def _cache(options: argparse.Namespace) -> Path:
    """Return --cache, else the cache folder found beside or above the run, else a new one beside it."""
    if options.cache is not None:
        return Path(options.cache)
    run_folder = Path(options.run).resolve()
    places = [run_folder, *run_folder.parents[:CACHES_LOOKED_FOR]]
    found = (place / "cache" for place in places if (place / "cache").is_dir())
    return next(found, run_folder.parent / "cache")
