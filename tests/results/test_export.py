from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from labelfree.data.ply import read_ply
from labelfree.errors import DataWarning, InputError
from labelfree.labelling.inference import of_points
from labelfree.labelling.projection import project_labels
from labelfree.method.pairing import Pairs
from labelfree.prediction import Prediction, without_guesses
from labelfree.results import export
from labelfree.results.export import overlay, save_prediction
from labelfree.scene import Scene
from labelfree.vocabulary import Vocabulary

AB = Vocabulary(("a", "b"), colours=((250, 0, 0), (0, 0, 250)))


def test_cloud_gives_ply_array_and_legend(tmp_path: Path) -> None:
    points = np.array([[0, 0, 0], [1, 2, 3], [4, 5, 6]], np.float32)
    labels = np.array([0, 1, 255], np.uint8)
    scores = np.array([0.5, 0.25, 0.0], np.float32)
    files = save_prediction(Prediction(labels, AB, scores, points, "room 1"), tmp_path)
    assert [path.name for path in files] == ["room 1.ply", "room 1.npy"]
    cloud = read_ply(files[0])
    np.testing.assert_array_equal(cloud.points, points)
    np.testing.assert_array_equal(cloud.colours, [[250, 0, 0], [0, 0, 250], [128, 128, 128]])
    np.testing.assert_array_equal(cloud.labels, labels)
    np.testing.assert_array_equal(np.load(files[1]), labels)
    assert Vocabulary.from_file(tmp_path / "classes.json") == AB
    assert not list(tmp_path.glob(".*"))


def test_points_that_no_image_saw_are_marked(tmp_path: Path) -> None:
    scene = Scene("s", np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]], np.float32), ())
    nobody = torch.zeros(0, dtype=torch.int64)
    view = Pairs(torch.tensor([1]), torch.tensor([0]), torch.tensor([0]))
    none = Pairs(*[nobody] * 3), np.zeros((1, 1), np.uint8)
    found = project_labels(scene, [(view, np.array([[1]], np.uint8)), none], AB)
    ply, array = save_prediction(found, tmp_path)
    assert b"property uchar seen\n" in ply.read_bytes()
    np.testing.assert_array_equal(np.load(array), [1, 1, 1])  # the protocol's labels: those of a neighbour
    seen = read_ply(ply).seen
    assert seen is not None
    assert seen.tolist() == [False, True, False]
    assert without_guesses(found).labels.tolist() == [255, 1, 255]
    assert without_guesses(replace(found, seen=None)).labels.tolist() == [1, 1, 1]


def test_points_of_the_file_that_were_dropped_have_no_label(tmp_path: Path) -> None:
    points: NDArray[Any] = np.array([[0, 0, 0], [np.nan, 0, 0], [2, 0, 0]], np.float64)
    with pytest.warns(DataWarning, match="1 of 3 points"):
        scene = Scene("s", points, ())
    found = of_points(scene, np.array([0, 1], np.uint8), AB, np.array([0.5, 1], np.float32), np.array([True, False]))
    ply, array = save_prediction(found, tmp_path)
    np.testing.assert_array_equal(np.load(array), [0, 255, 1])
    cloud = read_ply(ply)
    np.testing.assert_array_equal(cloud.points, [[0, 0, 0], [np.nan] * 3, [2, 0, 0]])
    assert cloud.points.dtype == np.float64
    assert cloud.seen is not None
    assert cloud.seen.tolist() == [True, False, False]


def test_picture_gives_labels_and_overlay(tmp_path: Path) -> None:
    labels = np.array([[0, 255], [0, 1]], np.uint8)
    files = save_prediction(Prediction(labels, AB, name="walk/0003"), tmp_path, np.full((4, 4, 3), 100, np.uint8))
    assert [path.name for path in files] == ["walk_0003.png", "walk_0003_overlay.png"]
    with Image.open(files[0]) as picture:
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.asarray(picture), labels)
    with Image.open(files[1]) as picture:
        assert picture.size == (2, 2)


def test_overlay_blends_darkens_edges_and_leaves_the_unlabelled() -> None:
    labels = np.array([[0, 0, 255, 1]], np.uint8)
    blended = overlay(np.full((1, 4, 3), 100, np.uint8), labels, AB)
    np.testing.assert_array_equal(blended[0, 0], [190, 40, 40])
    np.testing.assert_array_equal(blended[0, 2], [100, 100, 100])
    np.testing.assert_array_equal(blended[0, 3], np.rint(np.array([40, 40, 190]) * 0.35))


def test_overlay_of_every_label_and_value_is_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "BAND_PIXELS", 1000)
    labels = np.repeat(np.array([0, 1, 255, 1, 0, 255], np.uint8), 3)[:, None].repeat(256, axis=1)
    image = np.arange(256, dtype=np.uint8)[None, :, None].repeat(len(labels), axis=0).repeat(3, axis=2)
    blend = 0.4 * image.astype(np.float32) + 0.6 * AB.palette()[labels]
    blend[3::3] *= 0.35  # each third row begins with another label
    blend[labels == 255] = image[labels == 255]
    np.testing.assert_array_equal(overlay(image, labels, AB), np.rint(blend).astype(np.uint8))


def test_an_overlay_takes_little_more_memory_than_the_picture() -> None:
    """A whole picture in float64 took 16 GB for 169 million pixels, and most of a minute."""
    image, labels = np.zeros((1500, 1000, 3), np.uint8), np.zeros((1500, 1000), np.uint8)
    tracemalloc.start()
    overlay(image, labels, AB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * image.nbytes


def test_legend_is_not_overwritten_by_other_classes(tmp_path: Path) -> None:
    labels = np.zeros((1, 1), np.uint8)
    save_prediction(Prediction(labels, AB, name="x"), tmp_path)
    save_prediction(Prediction(labels, AB, name="y"), tmp_path)
    with pytest.raises(InputError, match=r"classes\.json: this folder holds predictions of other classes"):
        save_prediction(Prediction(labels, Vocabulary(("a", "c")), name="z"), tmp_path)
    assert len(json.loads((tmp_path / "classes.json").read_text())["classes"]) == 2


def test_refuses_what_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a name"):
        save_prediction(Prediction(np.zeros((1, 1), np.uint8), AB), tmp_path)
    with pytest.raises(InputError, match="has no points"):
        save_prediction(Prediction(np.zeros(3, np.uint8), AB, name="room"), tmp_path)
