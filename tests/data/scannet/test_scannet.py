"""ScanNet in its genuine layout, written from lab rooms: .sens, frames of 25k, labels in all forms, splits, damage."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.scannet_tree import NAME, by_segments, frames
from helpers.steep_camera import steep_rotation
from labelfree.data.checking.check import check_collection
from labelfree.data.collection import open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.data.scannet.labels import TSV
from labelfree.data.scannet.layout import SCANNET
from labelfree.data.scannet.sens import SensFile, open_sens, write_sens
from labelfree.data.scannet.splits import ANNOTATED_SCENES, VAL_SCENES, split_of
from labelfree.errors import InputError
from labelfree.scene import Scene
from labelfree.vocabulary import Vocabulary
from labelfree_lab.layouts.scannet import IMAGE_SIZE
from labelfree_lab.rooms.cameras import walk
from labelfree_lab.rooms.dataset import tracked_cameras
from labelfree_lab.rooms.render import render
from labelfree_lab.rooms.room import CLASS_NAMES, build_room, experiment_room_seed
from labelfree_lab.rooms.style import LIVED_IN


def names_of(scene: Scene, labels: np.ndarray) -> set[str]:
    return {Vocabulary.parse("scannet20").names[label] for label in np.unique(labels) if label != 255}


def assert_as_rendered(scene: Scene) -> None:
    """Compare frames with a new rendering of the room: pose, depth, colours, labels."""
    seed = experiment_room_seed(7, 0)
    room = build_room(seed, LIVED_IN)
    cameras = walk(room, 3, IMAGE_SIZE)
    to_scannet = [Vocabulary.parse("scannet20").index(name) for name in CLASS_NAMES]
    for frame, camera, tracked in zip(scene.frames, cameras, tracked_cameras(cameras, LIVED_IN, seed)):
        view = render(room, camera)
        np.testing.assert_allclose(frame.world_to_camera, tracked.world_to_camera, atol=1e-5)
        assert frame.size == (72, 96)
        np.testing.assert_allclose(frame.intrinsics[:2], camera.intrinsics[:2] * 0.75, rtol=1e-5)
        depth = frame.load_depth_m()
        assert depth is not None
        assert abs(np.median(depth) - np.median(view.depth_m)) < 0.1
        labels = frame.load_labels()
        assert labels is not None
        assert labels.shape == IMAGE_SIZE  # their own resolution, not that of the depth maps
        known = view.classes != 255
        assert np.array_equal(labels[known], np.array(to_scannet)[view.classes[known]])
        assert (labels[~known] == 255).all()
        assert frame.load_image().shape == (72, 96, 3)


def test_frames_of_25k(written: Path) -> None:
    scenes = open_scenes(written)
    assert scenes.names == (NAME, "scene0001_00")
    assert scenes.classes == Vocabulary.parse("scannet20").names
    scene = scenes[0]
    assert [frame.name for frame in scene.frames] == ["000000", "000100", "000200"]
    assert_as_rendered(scene)
    assert scene.labels is not None
    assert {"wall", "floor"} <= names_of(scene, scene.labels)
    assert [report.problems for report in check_collection(scenes)] == [(), ()]


def test_sens_files(by_sens: Path) -> None:
    scene = open_scenes(by_sens, options=ReadOptions(every=1))[0]
    assert [frame.name for frame in scene.frames] == ["000000", "000001", "000002"]
    assert_as_rendered(scene)
    assert len(open_scenes(by_sens)[0].frames) == 1  # every 100th unless asked
    assert len(open_scenes(by_sens, options=ReadOptions(every=1, limit=2))[0].frames) == 2


@pytest.mark.parametrize("mesh", [True, False])
def test_z_is_up_even_if_every_camera_looks_down(tree: Path, mesh: bool) -> None:
    for path in frames(tree, "pose").glob("*.txt"):
        pose = np.loadtxt(path)
        pose[:3, :3] = steep_rotation().T
        np.savetxt(path, pose)
    if not mesh:
        shutil.rmtree(tree / "scans")
    scene = open_scenes(tree)[0]
    assert replace(scene, z_up=False).up_world().tolist() == [0, 1, 0]
    assert scene.up_world().tolist() == [0, 0, 1]


def test_points_carry_the_labels_of_their_pixels(written: Path) -> None:
    scene = open_scenes(written)[0]
    assert scene.labels is not None
    frame = scene.frames[1].resized(IMAGE_SIZE)
    seen = scene.points_world @ frame.world_to_camera[:3, :3].T + frame.world_to_camera[:3, 3]
    image = seen @ frame.intrinsics.T
    depth, labels = frame.load_depth_m(), frame.load_labels()
    assert depth is not None
    assert labels is not None
    same = total = 0
    for (u, v, z), label in zip(image, scene.labels):
        if z > 0.1 and 0 <= u / z < 128 and 0 <= v / z < 96:
            row, column = int(v / z), int(u / z)
            if abs(depth[row, column] - z) < 0.05 and label != 255:
                same, total = same + int(labels[row, column] == label), total + 1
    assert total > 300
    assert same / total > 0.9


def test_labels_by_segments_and_groups(tree: Path) -> None:
    expected = open_scenes(tree)[0].labels
    (tree / "scans" / NAME / f"{NAME}_vh_clean_2.labels.ply").unlink()
    found = open_scenes(tree)[0].labels
    assert expected is not None
    assert found is not None
    assert np.array_equal(found, expected)
    (tree / "scans" / NAME / f"{NAME}.aggregation.json").unlink()
    assert open_scenes(tree)[0].labels is None  # a scan of the test split


def test_labels_that_need_the_label_file_are_left_unread_without_it(tree: Path) -> None:
    by_segments(tree)
    (tree / TSV).unlink()
    scenes = open_scenes(tree)
    assert scenes[0].labels is None
    assert f"2 scans have labels that need {TSV}, which is missing: they are not read" in scenes.notes
    assert scenes.sources[0].faults() == ()


def test_without_a_mesh_the_depth_maps_are_fused(tree: Path) -> None:
    shutil.rmtree(tree / "scans")
    scene = open_scenes(tree)[0]
    assert len(scene) > 1000
    assert open_scenes(tree / "scannet_frames_25k").names == (NAME, "scene0001_00")
    assert open_scenes(tree / "scannet_frames_25k" / NAME).names == (NAME,)


def test_a_scan_alone(written: Path) -> None:
    assert open_scenes(written / "scans" / NAME, options=ReadOptions(every=1)).names == (NAME,)


def export(sens: SensFile, folder: Path, colour: str = "jpg") -> None:
    """What ScanNet's reader in Python writes."""
    for kind in ("color", "depth", "pose", "intrinsic"):
        (folder / kind).mkdir(parents=True)
    for index, frame in enumerate(sens.frames):
        Image.fromarray(sens.colour(index).load()).save(folder / "color" / f"{index}.{colour}")
        Image.fromarray(sens.depth(index).load()).save(folder / "depth" / f"{index}.png")
        np.savetxt(folder / "pose" / f"{index}.txt", frame.camera_to_world)
    for kind, matrix in (("depth", sens.intrinsics_depth), ("color", sens.intrinsics_colour)):
        np.savetxt(folder / "intrinsic" / f"intrinsic_{kind}.txt", np.pad(matrix, (0, 1)))


@pytest.mark.parametrize(("inside", "mesh"), [(".", True), ("frames", True), ("frames", False)])
@pytest.mark.parametrize("colour", ["jpg", "png"])
def test_an_export_of_scannets_own_reader(inside: str, mesh: bool, colour: str, by_sens: Path) -> None:
    folder = by_sens / "scans" / NAME
    export(open_sens(folder / f"{NAME}.sens"), folder / inside, colour)
    (folder / f"{NAME}.sens").unlink()
    if not mesh:
        for path in folder.glob("*.ply"):
            path.unlink()
        assert len(open_scenes(folder)[0]) > 1000
        return
    scene = open_scenes(folder)[0]
    assert [frame.name for frame in scene.frames] == ["0", "1", "2"]
    assert scene.labels is not None


@pytest.mark.parametrize("depth", ["pgm", "png"])
def test_an_export_of_the_reader_in_c(depth: str, by_sens: Path) -> None:
    folder = by_sens / "scans" / NAME
    sens = open_sens(folder / f"{NAME}.sens")
    by_file = open_scenes(folder, options=ReadOptions(every=1))[0].frames
    depths_m = [frame.load_depth_m() for frame in by_file]
    exported = folder / "exported"
    exported.mkdir()
    for index, frame in enumerate(sens.frames):
        stem = f"frame-{index:06d}"
        Image.fromarray(sens.colour(index).load()).save(exported / f"{stem}.color.jpg", quality=100)
        if depth == "png":
            Image.fromarray(sens.depth(index).load()).save(exported / f"{stem}.depth.png")
        else:
            raw = sens.depth(index).load()
            header = f"P5\n{raw.shape[1]} {raw.shape[0]}\n65535\n".encode()
            (exported / f"{stem}.depth.pgm").write_bytes(header + raw.astype(">u2").tobytes())
        np.savetxt(exported / f"{stem}.pose.txt", frame.camera_to_world)
    numbers = " ".join(map(str, np.pad(sens.intrinsics_depth, (0, 1)).ravel()))
    (exported / "_info.txt").write_text(
        f"m_versionNumber = 4\nm_depthWidth = 96\nm_depthHeight = 72\nm_calibrationDepthIntrinsic = {numbers} \n"
    )
    (folder / f"{NAME}.sens").unlink()
    scene = open_scenes(folder)[0]
    assert [frame.name for frame in scene.frames] == ["000000", "000001", "000002"]
    for ours, frame_of_file, depth_m in zip(scene.frames, by_file, depths_m):
        np.testing.assert_allclose(ours.intrinsics, frame_of_file.intrinsics)
        np.testing.assert_array_equal(ours.load_depth_m(), depth_m)
    with pytest.raises(InputError, match=r"\.sens: no such file"):
        by_file[0].load_depth_m()


def test_a_mesh_and_frames_in_a_folder_of_any_name(by_sens: Path, tmp_path: Path) -> None:
    """Without ScanNet's names, and with the calibration of the colour camera alone."""
    scan = by_sens / "scans" / NAME
    folder = tmp_path / "office"
    export(open_sens(scan / f"{NAME}.sens"), folder)
    shutil.copy(scan / f"{NAME}_vh_clean_2.ply", folder / "office.ply")
    expected = open_scenes(folder)[0]
    (folder / "intrinsic" / "intrinsic_depth.txt").unlink()
    scenes = open_scenes(folder)
    assert scenes.names == ("office",)
    np.testing.assert_allclose(scenes[0].frames[0].intrinsics, expected.frames[0].intrinsics, rtol=1e-6)
    assert [report.problems for report in check_collection(scenes)] == [()]
    shutil.move(folder / "office.ply", folder / f"{NAME}_vh_clean_2.ply")
    assert open_scenes(folder).names == (NAME,)


def test_depth_maps_of_another_size_than_their_calibration(by_sens: Path, tmp_path: Path) -> None:
    export(open_sens(by_sens / "scans" / NAME / f"{NAME}.sens"), tmp_path / "small")
    for path in (tmp_path / "small" / "depth").iterdir():
        Image.fromarray(np.array(Image.open(path))[::2, ::2]).save(path)
    with pytest.raises(InputError, match=r"depth maps are 48x36 but the camera's centre lies at 48, 36"):
        open_scenes(tmp_path / "small")[0]


def test_splits(written: Path) -> None:
    assert open_scenes(written, options=ReadOptions(split="train")).names == (NAME,)
    assert open_scenes(written, options=ReadOptions(split="val")).names == ("scene0001_00",)
    with pytest.raises(InputError, match=r"none of its 2 scans is in ScanNet's split 'test'"):
        open_scenes(written, options=ReadOptions(split="test"))
    with pytest.raises(InputError, match=r"--split is 'mine': ScanNet has train, val, test"):
        open_scenes(written, options=ReadOptions(split="mine"))


def test_the_published_splits_divide_scenes(tree: Path) -> None:
    assert len(VAL_SCENES) == 142
    assert max(VAL_SCENES) < ANNOTATED_SCENES
    names = ("scene0568_02", "scene0000_00", "scene0706_00", "scene0707_00", "office")
    assert [split_of(name) for name in names] == ["val", "train", "train", "test", None]
    (tree / "scannetv2_train.txt").unlink()
    assert open_scenes(tree, options=ReadOptions(split="train")).names == (NAME, "scene0001_00")


def test_lost_frames_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "scans" / NAME
    folder.mkdir(parents=True)
    images = [np.full((6, 8, 3), 90, np.uint8)] * 3
    depths = [np.full((3, 4), 1500 + index, np.uint16) for index in range(3)]
    poses = [np.eye(4), np.full((4, 4), -np.inf), np.eye(4)]
    matrix = np.array([[5.0, 0, 4], [0, 5, 3], [0, 0, 1]])
    write_sens(folder / f"{NAME}.sens", images, depths, poses, matrix, np.diag([0.5, 0.5, 1]) @ matrix)
    scenes = open_scenes(tmp_path, options=ReadOptions(every=1))
    scene = scenes[0]
    assert [frame.name for frame in scene.frames] == ["000000", "000002"]
    depth = scene.frames[1].load_depth_m()
    assert depth is not None
    assert np.allclose(depth, 1.502)
    survey = SCANNET.survey(tmp_path, None, ReadOptions(every=1), lambda done, total: None)
    assert survey.notes[:2] == (
        "1 frames without a finite pose are left out",
        "1 scans have no mesh; their depth maps are fused",
    )
    assert survey.problems == ()


def test_survey(written: Path) -> None:
    survey = SCANNET.survey(written, None, ReadOptions(split="val"), lambda done, total: None)
    assert [(count.what, count.found, count.official) for count in survey.counts] == [
        ("scans", 1, 312),
        ("frames", 3, None),
    ]
    assert survey.problems == ()
