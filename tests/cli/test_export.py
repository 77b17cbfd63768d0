"""`export`: a run's labels in other formats, names and sizes of original images, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from labelfree.cli.main import main
from labelfree.data.point_files import POINT_FORMATS, read_points
from labelfree.prediction import Prediction
from labelfree.results.export import save_prediction
from labelfree.results.formats.points import save_points
from labelfree.vocabulary import Vocabulary

NAMES = Vocabulary(("wall", "floor", "box"))
UTM = np.array([456789.123, 5432100.456, 312.0])


def labels(size: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([0, 1, 2, 255], np.uint8), size)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The labels that a run leaves: two scenes with clouds and images, one frame named like an overlay."""
    folder = tmp_path / "run"
    random = np.random.default_rng(0)
    for number, scene in enumerate(("hall", "room")):
        points = random.uniform(0, 20, (50, 3)) + UTM
        points[4] = np.nan if scene == "hall" else points[3]
        scores, seen = random.random(50, dtype=np.float32), random.random(50) < 0.5
        save_prediction(Prediction(labels((50,), number), NAMES, scores, points, scene, seen), folder / "points")
        for frame in ("000", "001", "001_overlay"):
            picture = Prediction(labels((12, 16), len(frame) + number), NAMES, name=frame)
            save_prediction(picture, folder / "pixels" / scene, np.zeros((12, 16, 3), np.uint8))
    return folder


def said(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("labelfree: ")]
    return lines[-1]


@pytest.mark.parametrize("kind", POINT_FORMATS)
def test_clouds(run: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    if kind in ("las", "laz"):
        pytest.importorskip("lazrs")
    assert main(["export", str(run), "--format", kind]) == 0
    told = capsys.readouterr().err
    for scene in ("hall", "room"):
        stored = read_points(run / "points" / f"{scene}.ply")
        found = read_points(run / "export" / kind / f"{scene}.{kind}")
        whole = np.isfinite(stored.points).all(axis=1)
        kept = whole if kind in ("las", "laz") else np.ones_like(whole)
        np.testing.assert_allclose(found.points, stored.points[kept], rtol=0, atol=1e-3)
        for name in ("labels", "scores", "seen"):
            np.testing.assert_array_equal(getattr(found, name), getattr(stored, name)[kept], err_msg=name)
    assert ("1 points that are not finite are left out" in told) == (kind in ("las", "laz"))
    assert Vocabulary.from_file(run / "export" / kind / "classes.json").names == NAMES.names


def test_segments_of_points(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = np.arange(50, dtype=np.int32) % 7 - 1
    for scene in ("hall", "room"):
        stored = read_points(run / "points" / f"{scene}.ply")
        nothing = Prediction(np.zeros(50, np.uint8), NAMES, None, stored.points, scene, segments=numbers)
        (tmp_path / "segments").mkdir(exist_ok=True)
        save_points(nothing, tmp_path / "segments" / f"{scene}.ply")
    given = ["export", str(run), "--format", "pcd", "--segments", str(tmp_path / "segments")]
    assert main(given) == 0
    np.testing.assert_array_equal(read_points(run / "export" / "pcd" / "room.pcd").segments, numbers)
    (tmp_path / "segments" / "room.ply").unlink()
    assert main(given) == 2
    assert "has no segments of 'room'" in said(capsys)


def test_pycocotools_opens_a_run(run: Path) -> None:
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO

    assert main(["export", str(run), "--format", "coco"]) == 0
    coco = COCO(run / "export" / "coco" / "annotations.json")
    assert len(coco.imgs) == 6
    for image in coco.imgs.values():
        found = np.full((12, 16), 255, np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            found[coco.annToMask(annotation) == 1] = annotation["category_id"] - 1
        with Image.open(run / "pixels" / image["file_name"]) as stored:
            np.testing.assert_array_equal(found, np.asarray(stored))


def test_other_formats_of_masks(run: Path, tmp_path: Path) -> None:
    for kind in ("coco-panoptic", "cvat", "label-studio"):
        assert main(["export", str(run), "--format", kind, "--out", str(tmp_path / kind)]) == 0
    assert len(list((tmp_path / "coco-panoptic" / "panoptic").rglob("*.png"))) == 6
    images = ElementTree.parse(tmp_path / "cvat" / "annotations.xml").findall("image")
    assert [image.get("name") for image in images][:2] == ["hall/000.png", "hall/001.png"]
    tasks = json.loads((tmp_path / "label-studio" / "tasks.json").read_text())
    assert [len(task["predictions"][0]["result"]) for task in tasks] == [3] * 6  # a mask per class


def test_masks_take_names_and_sizes_of_the_images(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = sorted((room / "color").iterdir())
    for frame in frames:
        picture = Prediction(labels((48, 64), 0), NAMES, name=frame.stem)
        save_prediction(picture, tmp_path / "run" / "pixels" / "room")
        save_prediction(picture, tmp_path / "predicted", np.zeros((48, 64, 3), np.uint8))
    for folder, number in (("run", 0), ("predicted", 1)):
        out = tmp_path / f"coco{number}"
        given = ["export", str(tmp_path / folder), "--format", "coco", "--data", str(room), "--prefix", "s3://scan/"]
        assert main([*given, "--out", str(out), "--per", "class", "--least-pixels", "2"]) == 0
        images = json.loads((out / "annotations.json").read_text())["images"]
        assert [image["file_name"] for image in images] == [f"s3://scan/color/{frame.name}" for frame in frames]
        assert {(image["height"], image["width"]) for image in images} == {(96, 128)}
    save_prediction(Prediction(labels((4, 4), 0), NAMES, name="other"), tmp_path / "run" / "pixels" / "room")
    given = ["export", str(tmp_path / "run"), "--format", "cvat", "--data", str(room), "--out", str(tmp_path / "x")]
    assert main(given) == 2
    assert "has no image for" in said(capsys)


def test_a_second_export_replaces_the_first_but_no_other_file(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--format", "coco"]) == 0
    assert main(["export", str(run), "--format", "coco"]) == 0
    other = run / "mine"
    other.mkdir()
    for name, kind in (("annotations.xml", "cvat"), ("room.pcd", "pcd"), ("tasks.json", "label-studio")):
        (other / name).write_text("mine")
        assert main(["export", str(run), "--format", kind, "--out", str(other)]) == 2
        assert "is not overwritten" in said(capsys)
        assert (other / name).read_text() == "mine"
    before = (run / "points" / "room.ply").read_bytes()
    assert main(["export", str(run), "--format", "ply", "--out", str(run / "points")]) == 2
    assert "is an input, which would be overwritten" in said(capsys)
    assert (run / "points" / "room.ply").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/none", "--format", "coco"], "no such folder"),
        (["{tmp}/run/pixels/room/000.png", "--format", "coco"], "is a file"),
        (["{tmp}", "--format", "coco"], "holds no labelled images"),
        (["{tmp}", "--format", "pcd"], "holds no labelled clouds"),
        (["{tmp}/run", "--format", "coco", "--least-pixels", "0"], "--least-pixels is 0"),
        (["{tmp}/run", "--format", "coco", "--segments", "{tmp}"], "--segments is for points"),
        (["{tmp}/run", "--format", "coco-panoptic", "--per", "region"], "one segment per class"),
        (["{tmp}/run", "--format", "pcd", "--per", "region"], "--per is for images"),
        (["{tmp}/run", "--format", "pcd", "--data", "{tmp}"], "--data is for images"),
        (["{tmp}/run", "--format", "pcd", "--least-pixels", "2"], "--least-pixels is for images"),
        (["{tmp}/run", "--format", "coco", "--out", "{tmp}/run/pixels/room/000.png"], "is a file: give a folder"),
        (["{tmp}/run", "--format", "coco", "--data", "{tmp}/none"], "none"),
    ],
)
def test_bad_input_is_one_sentence(
    run: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *(text.format(tmp=tmp_path) for text in arguments)]) == 2
    assert message in said(capsys)


def test_damaged_predictions_are_one_sentence(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "pixels" / "room" / "000.png"
    Image.fromarray(np.full((4, 4), 7, np.uint8)).save(path)
    assert main(["export", str(run), "--format", "coco"]) == 2
    assert "000.png: holds 7, which is no label of the 3 classes" in said(capsys)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    assert main(["export", str(run), "--format", "coco"]) == 2
    assert "000.png: is no label map" in said(capsys)
    path.write_bytes(b"")
    assert main(["export", str(run), "--format", "coco"]) == 2
    assert "000.png" in said(capsys)
    (run / "points" / "room.npy").write_bytes(b"x")
    assert main(["export", str(run), "--format", "ply"]) == 2
    assert "room.npy" in said(capsys)
    (run / "pixels" / "hall" / "classes.json").write_text('{"classes": ["a", "b", "c", "d"]}')
    assert main(["export", str(run), "--format", "cvat"]) == 2
    assert "have different classes" in said(capsys)


def test_a_missing_extra_is_told_before_the_work(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "laspy", None)
    assert main(["export", str(run), "--format", "laz"]) == 2
    assert "pip install 'labelfree[points]'" in said(capsys)
    assert not (run / "export").exists()
