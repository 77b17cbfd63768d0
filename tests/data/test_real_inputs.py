"""A COLMAP model and an MCAP bag of the real walk, written by pycolmap and rosbags, give the walk's own labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from helpers.bags import BagWriter, write_rgbd
from helpers.colmap_workspace import write_depth, write_model
from labelfree import Vocabulary, load_teachers, recipe
from labelfree.cli.main import main
from labelfree.data.collection import open_scenes
from labelfree.labelling.labellers import TeacherLabels
from labelfree.scene import Scene

HOLOLENS = Path(__file__).parents[3] / "shared" / "data" / "hololens-rgbd"
NAMES = Vocabulary.from_names(("wall", "floor", "chair", "table"))
VOXEL_M = 0.02
FRAMES = slice(0, 6, 5)
"""Frames of the walk that see each other."""


def write_walk(folder: Path) -> Path:
    for kind in ("images", "depth"):
        (folder / kind).mkdir(parents=True)
        for path in sorted((HOLOLENS / kind).iterdir())[FRAMES]:
            shutil.copyfile(path, folder / kind / path.name)
    np.savetxt(folder / "poses.txt", np.loadtxt(HOLOLENS / "poses.txt")[FRAMES])
    shutil.copyfile(HOLOLENS / "K.txt", folder / "K.txt")
    return folder


def write_colmap(folder: Path, walk: Path) -> Path:
    names = sorted(path.name for path in (walk / "images").iterdir())
    shutil.copytree(walk / "images", folder / "images")
    for name in names:
        depth = np.array(Image.open(walk / "depth" / name)).astype(np.float32) / np.float32(1000)
        write_depth(folder / "stereo" / "depth_maps" / f"{name}.geometric.bin", depth)
        size = (depth.shape[0], depth.shape[1])
    matrix = np.loadtxt(walk / "K.txt")
    camera = ("PINHOLE", size, (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]))
    poses = [np.linalg.inv(row.reshape(4, 4)) for row in np.loadtxt(walk / "poses.txt")]
    write_model(folder / "sparse", names, poses, camera, np.zeros((1, 3)))
    return folder


def write_bag(folder: Path, walk: Path) -> Path:
    images, depths = (
        [np.array(Image.open(path)) for path in sorted((walk / kind).iterdir())] for kind in ("images", "depth")
    )
    poses = [row.reshape(4, 4) for row in np.loadtxt(walk / "poses.txt")]
    return write_rgbd(BagWriter(folder), images, depths, poses, np.loadtxt(walk / "K.txt"))


def by_voxel(points: NDArray[np.floating], labels: NDArray[np.uint8]) -> dict[tuple[int, ...], int]:
    cells = np.floor(points.astype(np.float64) / VOXEL_M).astype(int)
    return {(int(x), int(y), int(z)): int(label) for (x, y, z), label in zip(cells, labels)}


@pytest.mark.skipif(not HOLOLENS.is_dir(), reason="the real walk is not here")
def test_a_colmap_model_and_a_bag_of_the_walk_give_its_labels(tmp_path: Path) -> None:
    pytest.importorskip("pycolmap")
    pytest.importorskip("rosbags")
    walk = write_walk(tmp_path / "walk")
    bag = write_bag(tmp_path / "bag", walk)
    assert main(["import", "rosbag", str(bag), "--out", str(tmp_path / "imported")]) == 0
    folders = (walk, write_colmap(tmp_path / "colmap", walk), tmp_path / "imported")
    direct, *others = (open_scenes(folder)[0] for folder in folders)
    config = recipe("quick", "--labels.image_size=[60,88]", "--teachers.sam_options.points_per_side=6")
    teachers = load_teachers(config, NAMES, tmp_path / "cache")
    clip, voted = (TeacherLabels(teachers, voted=voted) for voted in (False, True))

    def cells_of(scene: Scene) -> dict[tuple[int, ...], int]:
        return by_voxel(scene.points_world, voted.points(scene).labels)

    expected = cells_of(direct)
    assert len(set(expected.values())) > 1
    for scene in others:
        assert len(scene.frames) == len(direct.frames) == 2
        for frame, same in zip(direct.frames, scene.frames):
            np.testing.assert_array_equal(frame.load_image(), same.load_image())
            np.testing.assert_array_equal(frame.load_depth_m(), same.load_depth_m())
            np.testing.assert_allclose(frame.world_to_camera, same.world_to_camera, atol=1e-5)
            for labeller in (clip, voted):
                np.testing.assert_array_equal(
                    labeller.pixels(direct, frame).labels, labeller.pixels(scene, same).labels
                )
        found = cells_of(scene)
        common = found.keys() & expected.keys()
        share, equal = len(common) / len(expected), np.mean([found[cell] == expected[cell] for cell in common])
        print(f"{scene.name}: {len(expected)} voxels, {share:.5f} in common, labels of {equal:.5f} equal")
        assert share > 0.998  # poses with six decimals are made orthonormal as quaternions: points move by micrometres
        assert equal > 0.999
