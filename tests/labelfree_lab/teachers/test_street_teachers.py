"""The street's teachers in miniature: two steps of each training command on a corpus of two streets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from labelfree.config.teachers import ClipOptions, SamOptions
from labelfree.teachers.clip import DenseClip
from labelfree.teachers.sam import SamTeacher
from labelfree.vocabulary import Vocabulary
from labelfree.weights.stored import read_weights
from labelfree_lab.teachers import train_backbone, train_backbone_3d, train_clip, train_sam
from labelfree_lab.teachers.corpus import open_corpus, write_corpus
from labelfree_lab.teachers.point_lessons import read_lesson
from labelfree_lab.teachers.sam_targets import draw_prompts
from labelfree_lab.teachers.train_backbone import new_tag_net
from labelfree_lab.teachers.worlds import STREETS


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streets") / "corpus"
    write_corpus(folder, 2, 4, 1, STREETS.tuning_seeds, world=STREETS)
    write_corpus(folder.with_name("tuning"), 1, 0, 2, STREETS.tuning_seeds, world=STREETS)
    return folder


@pytest.fixture(scope="module")
def backbone(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `train_backbone` leaves behind after two steps: `work` and `out`."""
    folder = tmp_path_factory.mktemp("backbone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_backbone, "Settings", _Backbone)
        train_backbone.main(_given(corpus, folder))
    return folder


@dataclass(frozen=True)
class _Backbone(train_backbone.Settings):
    batch: int = 8


@dataclass(frozen=True)
class _Clip(train_clip.Settings):
    batch: int = 8
    album: int = 16


@dataclass(frozen=True)
class _Sam(train_sam.Settings):
    batch: int = 2
    prompts: int = 3


def _given(corpus: Path, folder: Path) -> list[str]:
    places = ["--corpus", str(corpus), "--tuning", str(corpus.with_name("tuning")), "--work", str(folder / "work")]
    return [*places, "--out", str(folder / "out"), "--steps", "2", "--threads", str(torch.get_num_threads())]


def _curve(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "out" / "training.jsonl").read_text().splitlines()]


def test_backbone(backbone: Path) -> None:
    assert _curve(backbone)[-1]["step"] == 2
    kept = torch.load(backbone / "work" / "checkpoint.pt", weights_only=True)["model"]
    assert kept["classifier.weight"].shape[0] == len(STREETS.class_names)
    assert "conv1.weight" in read_weights(backbone / "out")


def test_clip(corpus: Path, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_clip, "Settings", _Clip)
    monkeypatch.setattr(train_clip, "TABLE", {})
    tag_net = ["--tag-net", str(backbone / "work" / "checkpoint.pt")]
    train_clip.main([*_given(corpus, tmp_path), *tag_net])
    assert _curve(tmp_path)[-1]["step"] == 2
    teacher = DenseClip.from_pretrained(tmp_path / "out", ClipOptions(attention="value", window=64, stride=32))
    embedded = teacher.embed(Vocabulary.parse("nuscenes16"))
    assert embedded.vectors.shape == (16, 128)
    assert teacher.warnings == []  # no class name is an unknown word
    assert teacher.features(open_corpus(corpus).images[0]).shape[:2] == (12, 22)


def test_sam(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_sam, "Settings", _Sam)
    monkeypatch.setattr(train_sam, "PROBE_PICTURES", 2)
    train_sam.main(_given(corpus, tmp_path))
    assert _curve(tmp_path)[-1]["images"] == 4
    options = SamOptions(points_per_side=2, pred_iou_threshold=0.0, stability_threshold=0.0)
    teacher = SamTeacher.from_pretrained(tmp_path / "out", options)
    assert teacher.side == 176
    picture = open_corpus(corpus).images[0]
    assert teacher.input_size(picture.shape[:2]) == (96, 176)
    assert teacher.mask_ids(picture).shape == (96, 176)


def test_the_sky_is_asked_for_by_no_prompt(corpus: Path) -> None:
    opened = open_corpus(corpus)
    assert (opened.instances[np.asarray(opened.classes) == 255] == 0).all()
    prompts = draw_prompts(np.random.default_rng(0), opened.instances, 200)
    assert (prompts.instances > 0).all()


def test_backbone_3d(backbone: Path, tmp_path: Path) -> None:
    places = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    numbers = ["--rooms", "2", "--steps", "2", "--processes", "1", "--threads", str(torch.get_num_threads())]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_backbone_3d, "TUNING", 1)
        train_backbone_3d.main(["--world", "streets", "--backbone", str(backbone / "out"), *places, *numbers])
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["in_channels"], config["voxel_m"], config["texture"]) == (1, 0.3, True)
    assert read_weights(tmp_path / "out")["conv0p1s1.kernel"].shape[1] == 2  # mean and spread of the intensity
    lesson = read_lesson(next((tmp_path / "work" / "rooms").glob("street-*.npz")))
    assert lesson.colours.shape == (len(lesson.points), 1)
    assert 0 <= lesson.colours.min() <= lesson.colours.max() <= 1
    assert len(lesson.seen) > 0.5 * len(lesson.points)


def test_a_tag_network_has_as_many_classes_as_it_is_given() -> None:
    assert new_tag_net(0, 5).classifier.out_channels == 5
