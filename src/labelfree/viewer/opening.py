"""A run folder or a data set, opened for the viewer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from labelfree.config.reading import read_settings
from labelfree.corrections.store import correction_file
from labelfree.data.collection import SceneCollection
from labelfree.errors import InputError
from labelfree.files.presence import is_there
from labelfree.labelling.labellers import load_networks
from labelfree.results.export import LEGEND_FILE
from labelfree.run import NETWORKS, SETTINGS
from labelfree.teachers.opening import load_teachers
from labelfree.viewer.layers import Sources
from labelfree.viewer.session import SceneSession
from labelfree.vocabulary import Vocabulary


@dataclass(frozen=True)
class ViewedRun:
    """What is viewed: the sources of a run, its folder, and sentences about what it lacks."""

    sources: Sources
    folder: Path | None = None
    """Run folder, which holds the corrections; None for data without a run."""
    notes: tuple[str, ...] = field(default=())


def is_run(folder: Path) -> bool:
    """Return whether a folder was written by `run`, `train`, `label` or `demo`."""
    return is_there(folder / SETTINGS)


def open_run_folder(folder: Path, cache: Path, device: torch.device) -> ViewedRun:
    """Return the networks and teachers of a run; what it lacks, or cannot be loaded, becomes a note."""
    networks = load_networks(folder / NETWORKS, device) if (folder / NETWORKS).is_dir() else None
    vocabulary = _legend(folder) if networks is None else networks.vocabulary
    sources = Sources(vocabulary) if networks is None else Sources(vocabulary, None, networks.net_2d, networks.net_3d)
    notes = [] if networks is not None else ["no trained networks: no prediction and no confidence"]
    try:
        teachers = load_teachers(read_settings(folder / SETTINGS), vocabulary, cache, device)
        sources = replace(sources, teachers=teachers)
    except InputError as error:
        notes.append(f"no labels of CLIP and SAM, no segments and no search: {error}")
    return ViewedRun(sources, folder, tuple(notes))


def open_plain_data(scenes: SceneCollection) -> ViewedRun:
    """Return data without a run: input colours and, if there is any, ground truth."""
    classes = scenes.classes
    vocabulary = None if classes is None else Vocabulary.from_names(classes)
    return ViewedRun(Sources(vocabulary), None, ("data without a run: no labels; give the folder of a run",))


def scene_opener(viewed: ViewedRun, scenes: SceneCollection, writable: bool) -> Callable[[str], SceneSession]:
    """Return a function that opens a scene of the data by its name, with the corrections of the run."""

    def opened(name: str) -> SceneSession:
        scene = scenes[scenes.names.index(name)]
        if scene.images_only:
            raise InputError(f"{name}: has images but no points, which the viewer shows; give scenes with points.")
        file = None if viewed.folder is None else correction_file(viewed.folder, name)
        return SceneSession(scene, viewed.sources, file, writable)

    return opened


def _legend(folder: Path) -> Vocabulary:
    """Return the classes of a folder of `labelfree label`."""
    for path in (folder / "points" / LEGEND_FILE, *sorted(folder.glob(f"*/refined/{LEGEND_FILE}"))):
        if is_there(path):
            return Vocabulary.from_file(path)
    raise InputError(f"{folder}: holds neither {NETWORKS} nor labelled points; give the folder of a finished run.")
