"""Every public function that takes a path takes it as text too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import labelfree
from labelfree.config.networks import Segmenter2DConfig
from labelfree.config.reading import read_settings
from labelfree.data.captures.layout import CAPTURES
from labelfree.data.captures.writing import write_scene
from labelfree.data.collection import layout_of, open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.data.ply import read_ply, write_ply
from labelfree.labelling.labellers import load_networks
from labelfree.nets.segmenters import Segmenter2D
from labelfree.results.export import save_legend, save_results

NAMES = labelfree.Vocabulary.from_names(("wall", "floor"))
CLOUD = labelfree.Prediction(np.zeros(2, np.uint8), NAMES, points_world=np.eye(3, dtype=np.float32)[:2], name="cloud")
EXAMPLE = Path(__file__).parents[1] / "examples" / "hololens-rgbd.yaml"


def opened(folder: str, room: str) -> None:
    described = Path(folder) / "own.yaml"
    described.write_text("every: 2\ncloud: null\n")
    options = ReadOptions(cache_dir=f"{folder}/clouds")  # type: ignore[arg-type]
    assert len(open_scenes(str(described), root=room, options=options)[0].frames) == 2
    assert list((Path(folder) / "clouds").glob("*.npz"))


def networks(folder: str, room: str) -> None:
    Segmenter2D(Segmenter2DConfig(backbone="resnet18", width=8, text_width=8), torch.eye(2, 8), NAMES).save_pretrained(
        f"{folder}/2d"
    )
    assert Segmenter2D.from_pretrained(f"{folder}/2d").vocabulary == NAMES
    assert load_networks(folder, torch.device("cpu")).net_2d is not None


def trained(folder: str, room: str) -> None:
    tiny = ("--train.epochs=1", "--train.images_per_scene=1", "--labels.image_size=[48,64]")
    config = labelfree.recipe("quick", *tiny)
    teachers = labelfree.load_teachers(config, NAMES, f"{folder}/cache")
    labelfree.cotrain([open_scenes(room, options=ReadOptions(limit=1))[0]], NAMES, config, f"{folder}/out", teachers)
    assert (Path(folder) / "out" / "networks" / "3d" / "config.json").is_file()


def settings(folder: str, room: str) -> None:
    path = Path(folder) / "own.yaml"
    path.write_text("seed: 3\n")
    assert labelfree.recipe(path).seed == labelfree.recipe(str(path)).seed == read_settings(str(path)).seed == 3


def clouds(folder: str, room: str) -> None:
    write_ply(f"{folder}/a.ply", np.eye(3))
    assert len(read_ply(f"{folder}/a.ply").points) == 3


def scene(folder: str, room: str) -> None:
    frame = open_scenes(room)[0].frames[0]
    depth = frame.load_depth_m()
    assert depth is not None
    write_scene(f"{folder}/a", [frame.load_image()], [depth], frame.intrinsics, [frame.world_to_camera], np.eye(3))
    assert len(open_scenes(f"{folder}/a")[0]) == 3


def results(folder: str, room: str) -> None:
    assert len(labelfree.save_prediction(CLOUD, f"{folder}/a")) == 2
    assert labelfree.Vocabulary.from_file(f"{folder}/a/classes.json") == NAMES
    save_legend(NAMES, f"{folder}/b")
    save_results(f"{folder}/results.json", ())
    assert layout_of(room) is CAPTURES


@pytest.mark.parametrize("call", [opened, networks, trained, settings, clouds, scene, results])
def test_paths_as_text(call: Callable[[str, str], None], room: Path, tmp_path: Path) -> None:
    call(str(tmp_path), str(room))
