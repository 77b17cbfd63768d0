from __future__ import annotations

import gc
import shutil
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.damage import single_bit_flips
from helpers.toy_disk import KEPT, NAMES, Disk, Masks, Namer
from helpers.toy_training import SCENES, cpu, lines, toy_networks, toy_plan, weights
from labelfree import InputError, Scene
from labelfree.config.labels import LabelConfig, PairingConfig
from labelfree.files.atomic import write_png
from labelfree.raster import MapFile
from labelfree.teachers.teachers import Teachers
from labelfree.training.cotraining import train
from labelfree.training.kept_frames import read_frame, write_frame
from labelfree.training.labelled_scenes import LabelledScenes
from labelfree.training.samples import LabelledFrame, LabelledScene


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path, [])


def plain(labels: LabelConfig = KEPT) -> LabelConfig:
    return replace(labels, keep_frames=False)


def assert_same(found: Sequence[LabelledScene], expected: Sequence[LabelledScene]) -> None:
    for scene, other in zip(found, expected, strict=True):
        assert (scene.points == other.points).all()
        for frame, twin in zip(scene.frames, other.frames, strict=True):
            for each in fields(LabelledFrame):
                mine, its = np.asarray(getattr(frame, each.name)), np.asarray(getattr(twin, each.name))
                assert mine.dtype == its.dtype
                assert np.array_equal(mine, its), each.name


@pytest.mark.parametrize("rule", ["auto", "lidar"])
def test_kept_frames_are_those_made_anew_bit_for_bit(disk: Disk, rule: Any) -> None:
    scenes, pairing = disk.scenes(), PairingConfig(rule)
    expected = list(disk.labelled(scenes, plain(), pairing))
    assert min(len(frame.pair_point) for scene in expected for frame in scene.frames) > 20
    assert not (disk.folder / "cache").exists()
    assert_same(disk.labelled(scenes, pairing=pairing), expected)
    assert len(disk.entries()) == 6
    disk.decoded.clear()
    again = disk.labelled(scenes, pairing=pairing)
    assert_same(again, expected)
    assert disk.decoded == []
    assert isinstance(base(again[0].frames[0].image), np.memmap)


def base(array: Any) -> Any:
    while not isinstance(array, np.memmap) and array.base is not None:
        array = array.base
    return array


def test_teachers_without_a_cache_keep_nothing(disk: Disk) -> None:
    scenes = disk.scenes(1)
    by_hand = LabelledScenes(scenes, Teachers(Namer(), Masks(), NAMES, KEPT, PairingConfig()))
    assert_same(by_hand, disk.labelled(scenes, plain()))
    assert disk.entries() == []


def repaint(disk: Disk, name: str) -> None:
    path = disk.folder / name
    write_png(path, MapFile(path).load() // 2)


def moved(scene: Scene) -> Scene:
    return replace(scene, points_world=scene.points_world * np.float32(1.001))


def turned(scene: Scene) -> Scene:
    pose = np.eye(4)
    pose[1, 3] = 0.2
    return replace(scene, frames=tuple(replace(frame, world_to_camera=pose) for frame in scene.frames))


def renamed(scene: Scene) -> Scene:
    return replace(scene, name="renamed")


def zoomed(scene: Scene) -> Scene:
    zoom = np.diag([1.2, 1.2, 1.0])
    return replace(scene, frames=tuple(replace(frame, intrinsics=zoom @ frame.intrinsics) for frame in scene.frames))


@pytest.mark.parametrize("name", ["0-0.png", "0-0-depth.png"])
def test_an_altered_file_is_another_entry(disk: Disk, name: str) -> None:
    list(disk.labelled(disk.scenes(1)))
    repaint(disk, name)
    assert_same(disk.labelled(disk.scenes(1)), disk.labelled(disk.scenes(1), plain()))
    assert len(disk.entries()) == 3


@pytest.mark.parametrize("alter", [moved, turned, zoomed, renamed])
def test_an_altered_scene_has_entries_of_its_own(disk: Disk, alter: Callable[[Scene], Scene]) -> None:
    (scene,) = disk.scenes(1)
    list(disk.labelled([scene]))
    altered = [alter(scene)]
    assert_same(disk.labelled(altered), disk.labelled(altered, plain()))
    assert len(disk.entries()) == 4


@pytest.mark.parametrize(
    "settings",
    [
        {"labels": replace(KEPT, image_size=(18, 24))},
        {"labels": replace(KEPT, refine=False)},
        {"pairing": PairingConfig(tolerance_m=0.01)},
        {"pairing": PairingConfig("lidar", border_px=3)},
        {"namer": Namer("another")},
    ],
)
def test_other_settings_have_entries_of_their_own(disk: Disk, settings: dict[str, Any]) -> None:
    scenes = disk.scenes(1)
    list(disk.labelled(scenes))
    anew = disk.labelled(scenes, **{**settings, "labels": plain(settings.get("labels", KEPT))})
    assert_same(disk.labelled(scenes, **settings), anew)
    assert len(disk.entries()) == 4


def test_what_decides_the_target_alone_shares_entries(disk: Disk) -> None:
    list(disk.labelled(disk.scenes(1)))
    other = replace(KEPT, latent_target="none")
    assert_same(disk.labelled(disk.scenes(1), other), disk.labelled(disk.scenes(1), plain(other)))
    assert len(disk.entries()) == 2


def test_depth_that_decides_nothing_is_no_part_of_the_key(disk: Disk) -> None:
    pairing = PairingConfig("lidar")
    list(disk.labelled(disk.scenes(1), pairing=pairing))
    repaint(disk, "0-0-depth.png")
    list(disk.labelled(disk.scenes(1), pairing=pairing))
    assert len(disk.entries()) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:7],
        lambda content: content[:-1],
        lambda content: content[:-12],  # as long as an entry with one pair less
        lambda content: content + bytes(12),
        lambda content: bytes(len(content)),  # what a file system may leave after the power went off
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: content[:-1] + bytes([content[-1] ^ 128]),
    ],
)
def test_a_damaged_entry_is_made_anew(disk: Disk, damage: Callable[[bytes], bytes]) -> None:
    scenes = disk.scenes(1)
    expected = list(disk.labelled(scenes))
    intact = [path.read_bytes() for path in disk.entries()]
    for path, content in zip(disk.entries(), intact):
        path.write_bytes(damage(content))
    assert_same(disk.labelled(scenes), expected)
    assert [path.read_bytes() for path in disk.entries()] == intact


def test_frames_without_pairs(disk: Disk) -> None:
    scenes = [replace(scene, points_world=scene.points_world + np.float32(50)) for scene in disk.scenes(1)]
    for _ in range(2):
        assert_same(disk.labelled(scenes), disk.labelled(scenes, plain()))
    assert len(disk.labelled(scenes)[0].frames[0].pair_point) == 0


def test_a_disk_that_takes_nothing_is_named(disk: Disk) -> None:
    scenes = disk.labelled(disk.scenes(1))
    assert scenes.kept_frames is not None
    (scenes.kept_frames.folder / "about.json").unlink()
    scenes.kept_frames.folder.rmdir()
    scenes.kept_frames.folder.write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"cannot be written .* labels\.keep_frames=false"):
        scenes[0]


OPEN = replace(KEPT, keep_frames=None)


def test_by_default_frames_are_kept_once_scenes_leave_memory(disk: Disk) -> None:
    scenes = disk.scenes(3)
    expected = list(disk.labelled(scenes, plain()))
    for memory_gb, epochs, entries in ((4.0, 3, 0), (0.0, 1, 0), (0.0, 3, 6)):
        labelled = disk.labelled(scenes, OPEN, memory_gb=memory_gb)
        labelled.epochs = epochs
        for _ in range(epochs):
            assert_same(list(labelled), expected)
        assert len(disk.entries()) == entries
    disk.decoded.clear()
    assert_same(list(labelled), expected)
    assert disk.decoded == []


def test_by_default_a_tenth_of_the_disk_stays_free(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled = disk.labelled(disk.scenes(2), OPEN)
    labelled.epochs = 2
    for free, entries in ((9, 0), (11, 4)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: shutil._ntuple_diskusage(100, 100 - free, free))
        list(labelled), list(labelled)
        assert len(disk.entries()) == entries


def test_several_at_once_make_the_same(disk: Disk) -> None:
    scenes = disk.scenes(4)
    expected = list(disk.labelled(scenes, plain()))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: list(disk.labelled(scenes)), range(4)))
    for each in found:
        assert_same(each, expected)
    (folder,) = {path.parent for path in disk.entries()}
    assert len(disk.entries()) == 8
    assert len(list(folder.iterdir())) == 8 + 1  # about.json, and nothing half-written


def test_trainings_are_the_same_with_and_without_and_with_worker_processes(disk: Disk) -> None:
    scenes = disk.scenes(5)
    results = []
    cases = (("plain", plain(), 0), ("open", OPEN, 2), ("first", KEPT, 2), ("later", KEPT, 2), ("alone", KEPT, 0))
    for name, labels, workers in cases:
        plan = toy_plan(epochs=2)
        networks = toy_networks()
        scenes_labelled = disk.labelled(scenes, labels)
        scenes_labelled.epochs = 2
        plan = replace(plan, train=replace(plan.train, workers=workers))
        train(cpu(), networks, scenes_labelled, plan, disk.folder / name)
        assert len(disk.entries()) == (0 if name == "plain" else 10)
        results.append((weights(networks), lines(disk.folder / name)))
    assert len(disk.entries()) == 10
    (expected, metrics), *others = results
    for found, its_metrics in others:
        assert its_metrics == metrics
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_memory_stays_flat_over_many_frames(disk: Disk) -> None:
    labels = replace(KEPT, image_size=(64, 96))
    one = disk.labelled(disk.scenes(1), plain(labels))[0].frames[0].nbytes()
    scenes = disk.labelled(disk.scenes(100), labels, memory_gb=10 * one / 1e9)
    for _ in ("made", "mapped"):
        tracemalloc.start()
        marks = []
        for index in range(100):
            assert len(scenes[index].frames) == 2
            if index in (29, 99):
                gc.collect()
                marks.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert marks[1] - marks[0] < 2 * one  # after 140 frames more
        assert open_maps(disk) <= 12


def open_maps(disk: Disk) -> int:
    if sys.platform != "linux":
        return 0
    return Path("/proc/self/maps").read_text().count(f"{disk.folder}/cache/frames-")


def test_a_flipped_bit_never_gives_another_frame(tmp_path: Path) -> None:
    frame = SCENES[0].frames[0]
    write_frame(tmp_path / "0.frame", replace(frame, target=None))
    for damage in single_bit_flips(tmp_path / "0.frame"):
        assert read_frame(tmp_path / "0.frame", frame.labels.shape) is None, damage
    assert read_frame(tmp_path / "0.frame", frame.labels.shape) is not None
