"""A run folder as training leaves it, with random networks and the lab's teachers, made without training."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import torch

from helpers.small_recipe import SMALL
from labelfree.cli.run_data import RunData, write_run_data
from labelfree.config.networks import Segmenter3DConfig
from labelfree.config.reading import read_settings, settings_yaml
from labelfree.config.recipe_files import recipe_path
from labelfree.data.collection import open_scenes
from labelfree.files.atomic import write_text
from labelfree.nets.segmenters import Segmenter3D
from labelfree.teachers.opening import load_teachers
from labelfree.viewer.opening import open_run_folder, scene_opener
from labelfree.viewer.page import Page
from labelfree.viewer.serving import LOOPBACK, start
from labelfree.vocabulary import Vocabulary

CLASSES = Vocabulary.from_names(("wall", "floor", "chair", "table"))


def make_run(folder: Path, data: Path, classes: Vocabulary = CLASSES) -> Path:
    """Write settings, data and a 3D network with random weights into a run folder."""
    config = read_settings(recipe_path("rooms"), list(SMALL))
    text = load_teachers(config, classes, folder / "cache").namer.text
    torch.manual_seed(0)
    shape = Segmenter3DConfig(
        "MinkUNet14A", planes=(4,) * 8, first_width=4, voxel_m=0.2, text_width=text.shape[1], latent_width=6
    )
    Segmenter3D(shape, text, classes).save_pretrained(folder / "networks" / "3d")
    write_text(folder / "settings.yaml", settings_yaml(config))
    write_run_data(folder, RunData(data))
    return folder


@contextmanager
def served(folder: Path, data: Path, writable: bool = True) -> Iterator[Page]:
    """Serve a run folder at a free port of this machine, in threads of this process."""
    scenes = open_scenes(data)
    viewed = open_run_folder(folder, folder / "cache", torch.device("cpu"))
    with redirect_stdout(io.StringIO()):
        page = start(LOOPBACK, 0, scenes.names, scenes.names[0], scene_opener(viewed, scenes, writable))
    try:
        yield page
    finally:
        with redirect_stdout(io.StringIO()):
            page.server.stop()
