"""Two processes share the frames to label and the scenes to read; each is labelled and read once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from lightning_fabric import Fabric
from numpy.typing import NDArray

from helpers.process_group import ProcessGroup
from helpers.toy_disk import KEPT, NAMES, RGBD, Disk, Masks, Namer
from helpers.toy_training import cpu
from labelfree import Frame
from labelfree.config.run_config import RunConfig
from labelfree.run import Run, open_run
from labelfree.teachers.cache import TeacherCache
from labelfree.teachers.teachers import Teachers
from labelfree.training import shared_labelling
from labelfree.training.shared_labelling import FRAMES_PER_PART, Part, label_scenes, shares


@dataclass
class CachedNamer(Namer):
    """A teacher that computes the labels that its cache lacks, and lists them."""

    cache: TeacherCache | None = None
    made: list[str] = field(default_factory=list)

    def labels(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint8]:
        if self.cache is None:
            self.made.append(frame.image.digest())
            return super().labels(frame, size)
        shelf = self.cache.shelf("labels")
        found = shelf.picture(frame.image.digest())
        if found is None:
            self.made.append(frame.image.digest())
            found = super().labels(frame, size)
            shelf.put_picture(frame.image.digest(), found)
        return found


def opened(fabric: Fabric, folder: Path, scenes: int, frames: int, cached: bool) -> tuple[Run, CachedNamer]:
    cache = TeacherCache(folder / "cache") if cached else None
    namer = CachedNamer(cache=cache)
    teachers = Teachers(namer, Masks(), NAMES, KEPT, RGBD, cache)
    config = replace(RunConfig(), labels=replace(KEPT, latent_width=64))
    return open_run(Disk(folder, []).scenes(scenes, frames), NAMES, config, folder / "run", teachers, fabric), namer


def labelled(
    fabric: Fabric, folder: Path, scenes: int, frames: int, cached: bool = True
) -> tuple[list[str], str, list[str]]:
    run, namer = opened(fabric, folder, scenes, frames, cached)
    label_scenes(run.fabric, run.scenes, run.teachers)
    made = list(namer.made)
    if cached:  # everything is there now, for all processes
        namer.made.clear()
        for scene in run.scenes:
            for frame in scene.frames:
                run.teachers.clip_labels(frame)
        assert namer.made == []
    return made, run.identity.digest(), list(run.identity.entries)


@pytest.mark.parametrize(("scenes", "frames"), [(9, 1), (1, 20)], ids=["whole scenes", "parts of a scene"])
def test_each_frame_is_labelled_in_one_process(
    process_group: ProcessGroup, scenes: int, frames: int, tmp_path: Path
) -> None:
    drawn = Disk(tmp_path, []).scenes(scenes, frames)
    expected = sorted(frame.image.digest() for scene in drawn for frame in scene.frames)
    (first, *identity), (second, *other) = process_group.run(labelled, tmp_path, scenes, frames)
    assert sorted(first + second) == expected
    assert identity == other


def test_the_identity_is_that_of_one_process(process_group: ProcessGroup, tmp_path: Path) -> None:
    run, _ = opened(cpu(), tmp_path, 5, 1, cached=True)
    _, _, names = process_group.run(labelled, tmp_path, 5, 1)[1]
    assert names == list(run.identity.entries)


def test_without_a_cache_nothing_is_labelled_in_advance(process_group: ProcessGroup, tmp_path: Path) -> None:
    Disk(tmp_path, []).scenes(2, 1)
    assert [made for made, *_ in process_group.run(labelled, tmp_path, 2, 1, False)] == [[], []]


def test_a_single_process_labels_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(shared_labelling, "label_frames", lambda scenes, *_: calls.append(len(scenes)))
    run, _ = opened(cpu(), tmp_path, 3, 1, cached=True)
    label_scenes(run.fabric, run.scenes, run.teachers)
    assert calls == [3]


def test_few_scenes_are_shared_in_parts(tmp_path: Path) -> None:
    scenes = Disk(tmp_path, []).scenes(2, FRAMES_PER_PART + 1)
    first, rest = (0, FRAMES_PER_PART), (FRAMES_PER_PART, 2 * FRAMES_PER_PART)
    assert shares(scenes, 2) == [Part(0, *first), Part(0, *rest), Part(1, *first), Part(1, *rest)]
    assert shares(scenes * 4, 2) == [Part(index) for index in range(8)]
