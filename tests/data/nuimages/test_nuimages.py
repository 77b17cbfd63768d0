"""nuImages: run-length masks against a slow twin, and pictures of the street in the genuine layout."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelfree.data.checking.check import check_collection
from labelfree.data.collection import open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.data.nuimages.layout import CLASSES, NUIMAGES
from labelfree.data.nuimages.rle import decode, encode
from labelfree.errors import InputError
from labelfree.vocabulary import Vocabulary
from labelfree_lab.layouts.nuimages import FIRST_STREET, write_nuimages
from labelfree_lab.streets.route import DriveSize, street_drive

SIZE = DriveSize(key_frames=1, image_size=(42, 78), azimuths=30)


def slow_decode(counts: str, size: tuple[int, int]) -> np.ndarray:
    """Read the characters one by one, as the C code of cocoapi does."""
    text, place = base64.b64decode(counts), 0
    runs: list[int] = []
    while place < len(text):
        number, shift, more = 0, 0, True
        while more:
            character = text[place] - 48
            number |= (character & 0x1F) << (5 * shift)
            more = bool(character & 0x20)
            place, shift = place + 1, shift + 1
            if not more and character & 0x10:
                number |= -1 << (5 * shift)
        if len(runs) > 2:
            number += runs[-2]
        runs.append(number)
    flat: list[bool] = []
    for index, run in enumerate(runs):
        flat += [index % 2 == 1] * run
    return np.array(flat, bool).reshape(size[1], size[0]).T


@pytest.mark.parametrize("seed", range(6))
def test_masks_come_back_and_agree_with_the_slow_twin(seed: int) -> None:
    random = np.random.default_rng(seed)
    height, width = int(random.integers(1, 60)), int(random.integers(1, 90))
    mask = random.random((height, width)) < (0.02, 0.5, 0.98, 0.0, 1.0, 0.3)[seed]
    if seed == 5:  # long runs
        mask = np.kron(mask, np.ones((7, 9), bool)).astype(bool)
    packed = encode(mask)
    assert np.array_equal(decode(packed, mask.shape), mask)
    assert np.array_equal(slow_decode(packed, mask.shape), mask)


def test_a_known_mask() -> None:
    """A 3x3 cross by hand: columns 010, 111, 010 are the runs 1 1 1 3 1 1 1; later ones less those two before."""
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
    text = bytes(48 + (value & 0x1F) for value in (1, 1, 1, 2, 0, -2, 0))
    assert encode(cross) == base64.b64encode(text).decode()
    assert np.array_equal(decode(base64.b64encode(text).decode(), (3, 3)), cross)


@pytest.mark.parametrize("counts", ["!!", base64.b64encode(b"\x01").decode(), base64.b64encode(b"P").decode(), ""])
def test_what_is_no_mask(counts: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(counts, (3, 3))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("street") / "nuimages"
    write_nuimages(folder, 5, 2, SIZE)
    return folder


@pytest.fixture
def tree(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "nuimages"))


def test_pictures_come_back_with_the_shared_classes(written: Path) -> None:
    assert len(CLASSES) == 11
    scenes = open_scenes(written, options=ReadOptions(split="val"))
    assert len(scenes) == 6
    assert scenes.classes == CLASSES
    key = next(iter(street_drive(5, FIRST_STREET + 1, SIZE)))
    names = Vocabulary.parse("nuscenes16")
    asked = scenes.counted_by(names)
    for scene, picture in zip(asked, key.pictures):
        assert scene.images_only
        assert len(scene) == 0
        (frame,) = scene.frames
        labels = frame.load_labels()
        assert labels is not None
        shared = np.isin(picture.classes, [names.index(name) for name in CLASSES])
        assert np.array_equal(labels[shared], picture.classes[shared])
        assert (labels[~shared] == 255).all()
        np.testing.assert_allclose(frame.intrinsics, picture.camera.intrinsics)
    assert asked.measured == CLASSES
    assert check_collection(scenes)[0].problems == ()


def test_splits_and_survey(written: Path) -> None:
    with pytest.raises(InputError, match="holds the splits train, val, and none is named"):
        open_scenes(written)
    with pytest.raises(InputError, match="'test' is not among them"):
        open_scenes(written, options=ReadOptions(split="test"))
    assert len(open_scenes(written, options=ReadOptions(split="train", every=2, limit=2))) == 2
    survey = NUIMAGES.survey(written, None, ReadOptions(split="val"), lambda done, total: None)
    assert [(count.found, count.official) for count in survey.counts] == [(6, 16445)]
    assert survey.problems == ()


def rewrite(tree: Path, table: str, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    path = tree / "v1.0-val" / f"{table}.json"
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))


def no_table(tree: Path) -> None:
    (tree / "v1.0-val" / "surface_ann.json").unlink()


def no_picture(tree: Path) -> None:
    for path in tree.glob("samples/*/*"):
        path.unlink()


def other_picture(tree: Path) -> None:
    for path in tree.glob("samples/*/*"):
        Image.new("RGB", (10, 10)).save(path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_table, r"surface_ann\.json: no such file"),
        (no_picture, r"\.jpg: the image is missing"),
        (other_picture, r"\.jpg: is 10x10 pixels, sample_data\.json says 78x42"),
        (
            lambda t: rewrite(t, "sample", lambda r: r[0].update(key_camera_token="0" * 32)),
            r"sample\.json: refers to 0{32}",
        ),
        (lambda t: rewrite(t, "sample", lambda r: r[0].pop("key_camera_token")), r"has no 'key_camera_token'"),
        (
            lambda t: rewrite(t, "calibrated_sensor", lambda r: r.clear()),
            r"a sensor that calibrated_sensor\.json does not",
        ),
        (lambda t: rewrite(t, "category", lambda r: r.clear()), r"refers to category \w{32}, which is unknown"),
        (lambda t: rewrite(t, "surface_ann", lambda r: r[0]["mask"].pop("size")), r"has a mask without size or counts"),
        (lambda t: rewrite(t, "surface_ann", lambda r: r[0]["mask"].update(counts="AA==")), r"its mask cannot be read"),
        (lambda t: rewrite(t, "surface_ann", lambda r: r[0]["mask"].update(size=[3, 3])), r"mask is of 3x3 pixels"),
    ],
)
def test_damage_is_one_sentence(damage: Callable[[Path], None], words: str, tree: Path) -> None:
    damage(tree)

    def read() -> None:
        scenes = open_scenes(tree, options=ReadOptions(split="val"))
        for source in scenes.sources:
            for fault in source.faults():
                raise InputError(fault)
            source.build().frames[0].load_labels()

    with pytest.raises(InputError, match=words) as caught:
        read()
    assert "\n" not in str(caught.value)
