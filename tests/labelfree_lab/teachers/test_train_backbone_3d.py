"""The start of the lab's 3D network: lessons from two small rooms, training that resumes, weights that load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from labelfree import Vocabulary
from labelfree.config.networks import Segmenter3DConfig
from labelfree.config.reading import read_settings
from labelfree.config.recipe_files import recipe_path
from labelfree.errors import InputError
from labelfree.method.latent_consistency import random_orthogonal
from labelfree.nets.segmenters import Segmenter3D
from labelfree_lab.rooms.style import CLEAN, LIVED_IN
from labelfree_lab.teachers import train_backbone_3d
from labelfree_lab.teachers.point_lessons import (
    Lesson,
    LessonPlan,
    image_features,
    read_lesson,
    room_scene,
    write_lessons,
)
from labelfree_lab.teachers.train_backbone_3d import SHAPE, SHAPES, Settings, Student, export, join_lessons, main, train
from labelfree_lab.teachers.worlds import ROOMS, STREETS, WORLDS, World

WIDTH = 12
PLAN = LessonPlan(ROOMS, ROOMS.weights("backbone"), views=2)


def lesson(seed: int, points: int = 300) -> Lesson:
    random = np.random.default_rng(seed)
    return Lesson(
        random.uniform(0, 2, (points, 3)).astype(np.float32),
        random.uniform(-1, 1, (points, 3)).astype(np.float32),
        np.arange(0, points, 2),
        random.normal(size=(points // 2, WIDTH)).astype(np.float16),
    )


def written(folder: Path, seeds: range) -> list[Path]:
    paths = [folder / f"room-{seed}.npz" for seed in seeds]
    for seed, path in zip(seeds, paths):
        np.savez(path, **vars(lesson(seed)))
    return paths


def new_student(shape: Segmenter3DConfig = SHAPE) -> Student:
    torch.manual_seed(0)
    return Student(torch.from_numpy(lesson(9).features).float(), shape)


def test_a_lesson_carries_the_image_backbones_features_to_the_points_it_sees(tmp_path: Path) -> None:
    (path,) = write_lessons(tmp_path, PLAN, [2_000_000])
    first = read_lesson(path)
    assert first.points.shape == (len(first.colours), 3)
    assert first.features.shape == (len(first.seen), 192)
    assert len(first.seen) > 0.5 * len(first.points)
    assert np.isfinite(first.features).all()
    before = path.stat().st_mtime_ns
    write_lessons(tmp_path, PLAN, [2_000_000])
    assert path.stat().st_mtime_ns == before


def test_joined_lessons_keep_features_at_their_points() -> None:
    lessons = [lesson(1), lesson(2, points=100)]
    voxels, seen, features = join_lessons(lessons, None)
    assert len(seen) == len(features) == 200
    assert torch.equal(seen[150:], torch.from_numpy(lessons[1].seen) + 300)
    own, _, _ = join_lessons([lessons[1]], None)
    torch.testing.assert_close(voxels.features[voxels.inverse[seen[150:]]], own.features[own.inverse[lessons[1].seen]])


@pytest.mark.usefixtures("one_thread")
def test_an_interrupted_training_goes_on_exactly(tmp_path: Path) -> None:
    rooms, tuning = written(tmp_path, range(3)), written(tmp_path, range(3, 4))
    settings = Settings(steps=4, warm_up=1, probe_every=2)
    whole, halves = new_student(), new_student()
    train(whole, rooms, tuning, settings, tmp_path / "whole")
    train(halves, rooms, tuning, Settings(steps=2, warm_up=1, probe_every=2), tmp_path / "other")
    assert not torch.equal(whole.head.weight, halves.head.weight)
    again = new_student()
    (tmp_path / "again").mkdir()
    stopped = _Stopped(rooms, after=4)
    with pytest.raises(KeyboardInterrupt):
        train(again, stopped, tuning, settings, tmp_path / "again")
    resumed = new_student()
    train(resumed, rooms, tuning, settings, tmp_path / "again")
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values()))


class _Stopped(list[Path]):
    """Rooms that stop answering in the third step."""

    def __init__(self, rooms: list[Path], after: int) -> None:
        super().__init__(rooms)
        self.left = after

    def __getitem__(self, index: object) -> Path:  # type: ignore[override]
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return list(self)[int(index)]  # type: ignore[call-overload]


@pytest.mark.parametrize(("world", "recipe", "channels"), [(ROOMS, "rooms", 3), (STREETS, "streets", 1)])
def test_what_is_exported_is_what_the_worlds_3d_network_starts_from(
    world: World, recipe: str, channels: int, tmp_path: Path
) -> None:
    student = new_student(SHAPES[world.name])
    export(student, tmp_path)
    networks = read_settings(recipe_path(recipe)).networks
    text = random_orthogonal(8, 2).T.contiguous()
    net = Segmenter3D(networks.net_3d.with_inputs(channels, 8), text, Vocabulary(("a", "b")))
    assert net.load_backbone(tmp_path) == []
    assert net.config.voxel_m == student.shape.voxel_m
    halved = student.network.conv0p1s1.kernel.half().float()
    assert torch.equal(net.network.conv0p1s1.kernel, halved)


def test_a_network_of_another_shape_is_refused(tmp_path: Path) -> None:
    export(new_student(), tmp_path)
    plain = replace(SHAPE, texture=not SHAPE.texture).with_inputs(3, 8)
    other = Segmenter3D(plain, random_orthogonal(8, 2).T.contiguous(), Vocabulary(("a", "b")))
    with pytest.raises(InputError, match=r"1 of another shape, first 'conv0p1s1.kernel'"):
        other.load_backbone(tmp_path)


def test_points_without_colour_start_but_for_the_first_convolution(tmp_path: Path) -> None:
    export(new_student(), tmp_path)
    grey = Segmenter3D(SHAPE.with_inputs(1, 8), random_orthogonal(8, 2).T.contiguous(), Vocabulary(("a", "b")))
    assert grey.load_backbone(tmp_path) == ["conv0p1s1.kernel"]


def test_image_features_have_the_stride_of_the_labs_2d_network(room: Path) -> None:
    from labelfree.data.collection import open_scenes

    frame = open_scenes(room)[0].frames[0]
    height, width = frame.load_image().shape[:2]
    assert image_features(frame, PLAN.backbone).shape == (192, -(-height // 8), -(-width // 8))


def test_a_lessons_room_has_the_style_of_its_world_and_no_labels() -> None:
    clean, lived_in = (room_scene(2_000_000, 2, style) for style in (CLEAN, LIVED_IN))
    assert len(clean) != len(lived_in)
    for scene in (clean, lived_in):
        assert scene.labels is None
        assert all(frame.labels is None for frame in scene.frames)
    moved = [not np.array_equal(a.world_to_camera, b.world_to_camera) for a, b in zip(clean.frames, lived_in.frames)]
    assert all(moved)


def test_every_world_has_a_shape() -> None:
    assert set(SHAPES) == set(WORLDS)


@pytest.mark.parametrize(
    ("start", "read", "written_to"),
    [("tags", "rooms-backbone", "rooms-backbone-3d"), ("selfsup", "rooms-selfsup", "rooms-selfsup-3d")],
)
def test_each_kind_of_start_has_its_own_image_backbone_and_folder(
    start: str, read: str, written_to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Path] = {}

    def lessons(folder: Path, plan: LessonPlan, seeds: range, processes: int = 1) -> list[Path]:
        asked["read"] = plan.backbone
        return written(tmp_path, range(2))

    monkeypatch.setattr(train_backbone_3d, "write_lessons", lessons)
    monkeypatch.setattr(train_backbone_3d, "train", lambda *_: None)
    monkeypatch.setattr(train_backbone_3d, "export", lambda student, out: asked.update(out=out))
    main(["--work", str(tmp_path), "--start", start, "--rooms", "2"])
    assert (asked["read"].name, asked["out"].name) == (read, written_to)
