"""Images with label maps and nothing in 3D, through the verbs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.small_capture import make_capture
from helpers.small_recipe import FAST_TEACHERS, NARROW
from labelfree.cli.main import main
from labelfree.data.captures.layout import CAPTURES
from labelfree.data.collection import layout_of, open_scenes
from labelfree.data.image_folder import IMAGE_FOLDER
from labelfree.data.layout import ReadOptions

ROOT = Path(__file__).parents[2]
CAMVID = ROOT.parent / "shared" / "data" / "camvid"
CLASSES = ("wall", "floor", "box")
TINY = ("--train.epochs=1", "--train.images_per_scene=1", "--labels.image_size=[48,64]", *FAST_TEACHERS, *NARROW)


@pytest.fixture(scope="module")
def finished(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose classes are the folder's."""
    out = tmp_path_factory.mktemp("runs") / "one"
    given = ["--classes", "wall, floor, box", "--limit", "1", "--out", str(out)]
    assert main(["train", str(room), *given, *TINY]) == 0
    return out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of 40x30, of which two have label maps: one of another size, one with ignored pixels."""
    path = tmp_path / "export"
    (path / "images").mkdir(parents=True)
    (path / "labels").mkdir()
    for index in range(3):
        Image.fromarray(np.full((30, 40, 3), 60 * index, np.uint8)).save(path / "images" / f"{index}.jpg")
    Image.fromarray(np.full((60, 80), 1, np.uint8)).save(path / "labels" / "0.png")
    labels = np.full((30, 40), 2, np.uint8)
    labels[:10] = 255
    Image.fromarray(labels).save(path / "labels" / "1.png")
    return path


def test_a_folder_is_checked_evaluated_and_predicted(
    folder: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(folder)]) == 0
    assert "images only: predict and evaluate, no training" in capsys.readouterr().out
    assert main(["evaluate", str(finished), str(folder)]) == 0
    said = capsys.readouterr()
    assert "\n2D\n" in said.out
    assert "\n3D\n" not in said.out
    assert "1 images such as" in said.err
    methods = json.loads((finished / "evaluation.json").read_text())["methods"]
    assert set(methods) == {"clip", "clip+sam", "cns"}
    assert np.sum(methods["cns"]["evaluation_2d"]["confusion"]) == 60 * 80 + 20 * 40
    assert main(["predict", str(finished), str(folder), "--out", str(tmp_path / "seen")]) == 0
    assert len(list((tmp_path / "seen" / "pixels" / "export").glob("*_overlay.png"))) == 3
    assert not (tmp_path / "seen" / "points").exists()
    given = [str(folder), "--classes", "wall, floor, box"]
    assert main(["label", *given, "--out", str(tmp_path / "labels"), *FAST_TEACHERS]) == 0
    for verb in ("train", "run"):
        assert main([verb, *given, "--out", str(tmp_path / "no")]) == 2
        assert "has images but no points" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_classes_of_the_folder_are_matched_by_name(folder: Path, finished: Path) -> None:
    (folder / "classes.txt").write_text("lamp\nbox\nwall\n")
    assert main(["evaluate", str(finished), str(folder), "--networks-only"]) == 0
    confusion = json.loads((finished / "evaluation.json").read_text())["methods"]["cns"]["evaluation_2d"]["confusion"]
    counted = np.sum(confusion, axis=1)
    assert counted.tolist() == [20 * 40, 0, 60 * 80]


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ("layout: images\nimages: shots/*.jpg\n", "no image matches 'shots/*.jpg'"),
        ("layout: images\nlabels: labels/*_ids.png\nlabel: 3\n", "unknown key 'label'; did you mean 'labels'"),
        ("layout: images\nlabels: labels/?.png\nignored: [2]\nclasses: [wall]\n", "0.png: label 1 is neither among"),
        ("layout: images\nclasses: names.txt\n", "names.txt: no such file"),
        ("layout: images\nclasses: [1, 2]\n", "classes is [1, 2], expected a name for each label id"),
        ("layout: images\nignored: [-1]\n", "ignored is [-1], expected a list of raw label ids"),
        ("layout: images\nroot: none\n", "the folder of images does not exist"),
    ],
)
def test_a_wrong_description_is_one_sentence(
    stated: str, words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "own.yaml").write_text(stated)
    assert main(["check", str(folder / "own.yaml")]) == 2
    assert words in capsys.readouterr().err


def test_a_description_of_other_folders_and_ids(tmp_path: Path, finished: Path, folder: Path) -> None:
    """As Cityscapes lies on disk: a folder for each city, raw ids of which some are merged and some left out."""
    for kind, ending, source in (("left", "left.jpg", "images/0.jpg"), ("fine", "labelIds.png", "labels/1.png")):
        path = folder / kind / "aachen" / f"000_{ending}"
        path.parent.mkdir(parents=True)
        path.write_bytes((folder / source).read_bytes())
    ids = np.repeat(np.array([0, 7, 8, 26], np.uint8), 10)[None].repeat(30, 0)
    Image.fromarray(ids).save(folder / "fine" / "aachen" / "000_labelIds.png")
    described = tmp_path / "cities.yaml"
    described.write_text(
        "layout: images\nname: cities\nimages: left/*/*_left.jpg\nlabels: fine/*/*_labelIds.png\n"
        "classes: {7: floor, 8: floor, 26: box}\nignored: [0]\n"
    )
    given = ["evaluate", str(finished), str(described), "--root", str(folder), "--networks-only"]
    assert main(given) == 0
    confusion = json.loads((finished / "evaluation.json").read_text())["methods"]["cns"]["evaluation_2d"]["confusion"]
    assert np.sum(confusion, axis=1).tolist() == [0, 600, 300]


def test_an_id_that_is_no_class_stops_before_the_networks(
    folder: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.full((30, 40), 11, np.uint8)).save(folder / "labels" / "1.png")
    assert main(["evaluate", str(finished), str(folder)]) == 2
    said = capsys.readouterr().err
    assert "labels/1.png: holds label 11, but the run has 3 classes" in said
    assert "label:" not in said


def test_broken_files_are_named_and_can_be_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (folder / "images" / "0.jpg", folder / "labels" / "1.png"):
        path.write_bytes(b"")
    for verb in ("check", "prepare"):
        assert main([verb, str(folder)]) == 2
        said = capsys.readouterr().out
        assert "images/0.jpg: is empty" in said
        assert "labels/1.png: is empty" in said
    assert main(["check", str(folder), "--skip-broken"]) == 0
    assert "image '0' is left out" in capsys.readouterr().err
    assert [frame.name for frame in open_scenes(folder, options=ReadOptions(skip_broken=True))[0].frames] == ["2"]


def test_images_alone_have_no_truth(folder: Path, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [str(folder / "images"), "--layout", "images"]
    assert main(["check", str(folder / "images")]) == 2
    assert "--layout images reads its images alone" in capsys.readouterr().err
    assert main(["check", *given]) == 0
    assert main(["evaluate", str(finished), *given]) == 2
    said = capsys.readouterr().err
    assert "has no ground truth" in said
    assert "label:" not in said  # nothing was labelled for it


def test_every_and_limit_count_images(folder: Path) -> None:
    (folder / "own.yaml").write_text("layout: images\nevery: 2\n")
    names = [
        [frame.name for frame in open_scenes(folder / "own.yaml", options=options)[0].frames]
        for options in (ReadOptions(), ReadOptions(every=1), ReadOptions(limit=1))
    ]
    assert names == [["0", "2"], ["0", "1", "2"], ["0"]]


def test_a_capture_without_poses_is_no_folder_of_images(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert layout_of(folder) is IMAGE_FOLDER
    (folder / "depth").mkdir()
    for index in range(3):
        Image.fromarray(np.full((30, 40), 900, np.uint16)).save(folder / "depth" / f"{index}.png")
    assert layout_of(folder) is CAPTURES
    assert main(["check", str(folder)]) == 2
    said = capsys.readouterr().err
    assert "a 3D capture needs a pose for each image" in said
    assert "--layout images reads its images alone" in said
    assert main(["check", str(folder), "--layout", "images"]) == 0
    capture = tmp_path / "capture"
    make_capture(2).write(capture, np.ones((9, 3), np.float32))
    for pose in (capture / "pose").iterdir():
        pose.unlink()
    assert main(["check", str(capture)]) == 2
    said = capsys.readouterr().err
    assert "a 3D capture needs a pose for each image" in said
    assert "--layout images reads its images alone" in said
    assert main(["check", str(capture), "--layout", "images"]) == 0
    assert open_scenes(capture, layout="images").classes == CLASSES


@pytest.mark.skipif(not CAMVID.is_dir(), reason="../shared/data/camvid is not here")
def test_camvid(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert layout_of(CAMVID) is IMAGE_FOLDER
    assert main(["check", str(CAMVID)]) == 0
    scenes = open_scenes(ROOT / "examples" / "camvid.yaml", CAMVID)
    assert len(scenes[0].frames) == 20
    labels = scenes[0].frames[0].load_labels()
    assert labels is not None
    assert labels.shape == (360, 480)
    assert set(np.unique(labels)) <= {*range(11), 255}
    given = ["--root", str(CAMVID), "--limit", "2", "--networks-only"]
    assert main(["evaluate", str(finished), str(ROOT / "examples" / "camvid.yaml"), *given]) == 2
    assert "none of its classes (Sky, Building, " in capsys.readouterr().err
    described = tmp_path / "three.yaml"
    described.write_text(
        "layout: images\nclasses: {1: wall, 3: floor, 8: box}\nignored: [0, 2, 4, 5, 6, 7, 9, 10, 11]\n"
    )
    assert main(["evaluate", str(finished), str(described), *given]) == 0
