"""`predict`, and the other verbs that write: inputs stay as they are, formats are read alike, bad images are named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image
from torch.nn import functional

from labelfree.cli.main import main
from labelfree.config.networks import Segmenter2DConfig, Segmenter3DConfig
from labelfree.data.ply import read_ply
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
from labelfree.vocabulary import Vocabulary

CLASSES = Vocabulary(("wall", "floor", "chair"), colours=((1, 2, 3), (4, 5, 6), (7, 8, 9)))
CONFIG_2D = Segmenter2DConfig("resnet18", width=8, aspp_channels=8, text_width=16, latent_width=6, image_size=(48, 64))
CONFIG_3D = Segmenter3DConfig(
    "MinkUNet14A", planes=(4, 4, 4, 4, 4, 4, 4, 4), first_width=4, voxel_m=0.2, text_width=16, latent_width=6
)
COLOURS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
SHADES = np.repeat(COLOURS[..., :1], 3, axis=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small networks with random weights."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    text = functional.normalize(torch.randn(3, 16), dim=1)
    Segmenter2D(CONFIG_2D, text, CLASSES).save_pretrained(folder / "networks" / "2d")
    Segmenter3D(CONFIG_3D, text, CLASSES).save_pretrained(folder / "networks" / "3d")
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for place, name in enumerate(("a.png", "b.png")):
        Image.fromarray(np.roll(COLOURS, place, 2)).save(folder / name)
    return folder


def predict(run: Path, given: Path, out: Path, *more: str) -> int:
    return main(["predict", str(run), str(given), "--out", str(out), "--device", "cpu", *more])


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pixels(path: Path) -> NDArray[Any]:
    with Image.open(path) as image:
        return np.array(image)


def refused(code: int, capsys: pytest.CaptureFixture[str], *words: str) -> None:
    assert code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    for word in words:
        assert word in error


def test_input_images_are_never_replaced(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(images)
    (tmp_path / "link").symlink_to(images)
    for out in (images, tmp_path / "link", images / ".." / "images"):
        refused(predict(run, images, out), capsys, "give another --out")
    refused(predict(run, images / "a.png", images), capsys, "a.png: is an input")
    assert content(images) == before


def test_outputs_that_became_inputs_are_not_replaced(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(run, images, tmp_path / "out") == 0
    before = content(tmp_path / "out")
    refused(predict(run, tmp_path / "out" / "a.png", tmp_path / "out"), capsys, "is an input")
    assert content(tmp_path / "out") == before


def test_input_cloud_is_never_replaced(
    run: Path, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(room / "cloud.ply", tmp_path)
    before = content(tmp_path)
    refused(predict(run, tmp_path / "cloud.ply", tmp_path), capsys, "cloud.ply", "give another --out")
    assert content(tmp_path) == before
    for _ in range(2):
        assert predict(run, tmp_path / "cloud.ply", tmp_path / "out") == 0
    assert len(read_ply(tmp_path / "out" / "cloud.ply").points) == len(read_ply(room / "cloud.ply").points)


def test_files_of_somebody_else_stay(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "photos"
    out.mkdir()
    (out / "b.png").write_text("a photo")
    refused(predict(run, images, out), capsys, "b.png: already exists", "move or delete")
    assert content(out) == {"b.png": b"a photo"}
    (out / "b.png").unlink()
    for _ in range(2):
        assert predict(run, images, out) == 0


def test_files_of_somebody_else_stay_beside_a_scene(
    run: Path, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pixels" / "room").mkdir(parents=True)
    photo = tmp_path / "pixels" / "room" / "000002.png"
    photo.write_text("a photo")
    refused(predict(run, room, tmp_path), capsys, "000002.png: already exists")
    assert photo.read_text() == "a photo"
    assert not (tmp_path / "points").exists()
    photo.unlink()
    for _ in range(2):
        assert predict(run, room, tmp_path) == 0


def test_images_of_one_stem_are_kept_apart(run: Path, images: Path, tmp_path: Path) -> None:
    Image.fromarray(255 - COLOURS).save(images / "a.bmp")
    Image.fromarray(COLOURS).save(images / "b_overlay.png")
    assert predict(run, images, tmp_path / "all") == 0
    names = ("a.bmp", "a.png", "b.png", "b_overlay.png")
    assert {path.name for path in (tmp_path / "all").glob("*.png")} == {
        f"{name}{ending}.png" for name in names for ending in ("", "_overlay")
    }
    for name in names:
        assert predict(run, images / name, tmp_path / name) == 0
        alone = tmp_path / name / f"{Path(name).stem}.png"
        np.testing.assert_array_equal(pixels(tmp_path / "all" / f"{name}.png"), pixels(alone))


def test_names_that_cannot_be_kept_apart_are_refused(
    run: Path, room: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("c?.png", "c_.png"):
        shutil.copy(images / "a.png", images / name)
    refused(predict(run, images, tmp_path / "out"), capsys, "c_.png", "c?.png", "rename one")
    for name in ("room?1", "room_1"):
        shutil.copytree(room, tmp_path / "rooms" / name)
    refused(predict(run, tmp_path / "rooms", tmp_path / "out"), capsys, "'room?1' and 'room_1'")
    assert not (tmp_path / "out").exists()


def save_turned(path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(np.rot90(COLOURS)).save(path, exif=exif)


def save_palette(path: Path) -> None:
    Image.fromarray(COLOURS).quantize(256, dither=Image.Dither.NONE).save(path)


SAVED = {
    "palette.png": (save_palette, COLOURS),
    "turned.png": (save_turned, COLOURS),
    "shades.png": (lambda path: Image.fromarray(SHADES[..., 0].astype(np.uint16) * 257).save(path), SHADES),
    "shades.tif": (lambda path: Image.fromarray(SHADES[..., 0] / np.float32(255)).save(path), SHADES),
}


@pytest.mark.parametrize("name", SAVED)
def test_an_image_has_the_same_labels_in_every_format(run: Path, tmp_path: Path, name: str) -> None:
    save, expected = SAVED[name]
    save(tmp_path / name)
    Image.fromarray(expected).save(tmp_path / "plain.png")
    for given in (name, "plain.png"):
        assert predict(run, tmp_path / given, tmp_path / "out") == 0
    for ending in ("", "_overlay"):
        found = pixels(tmp_path / "out" / f"{Path(name).stem}{ending}.png")
        np.testing.assert_array_equal(found, pixels(tmp_path / "out" / f"plain{ending}.png"))


def test_check_and_predict_take_the_same_images(run: Path, room: Path, tmp_path: Path) -> None:
    capture = tmp_path / "capture"
    shutil.copytree(room, capture)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    changes: tuple[Callable[[Image.Image], Image.Image], ...] = (
        lambda image: image.convert("P"),
        lambda image: Image.fromarray(np.array(image.convert("L")).astype(np.uint16) * 257),
        lambda image: image.convert("LA"),
        lambda image: image.transpose(Image.Transpose.ROTATE_180),
    )
    for path, change in zip(sorted((capture / "color").iterdir()), changes):
        image = Image.fromarray(pixels(path))
        options: dict[str, Any] = {"exif": exif} if path.stem == "000003" else {}
        change(image).save(path, **options)
    assert main(["check", str(capture)]) == 0
    assert predict(run, capture, tmp_path / "changed") == 0
    assert predict(run, room, tmp_path / "plain") == 0
    labels, expected = tmp_path / "changed/pixels/capture/000003.png", tmp_path / "plain/pixels/room/000003.png"
    np.testing.assert_array_equal(pixels(labels), pixels(expected))


def test_bad_images_are_named_and_the_others_labelled(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert predict(run, images, out) == 0
    labels = pixels(out / "b.png")
    (images / "a.png").write_bytes((images / "a.png").read_bytes()[:60])
    (images / "empty.png").touch()
    (images / "folder.png").mkdir()
    os.mkfifo(images / "pipe.jpg")
    (out / "b.png").unlink()
    refused(
        predict(run, images, out), capsys, "a.png: cannot be read", "empty.png: is empty", "folder.png: is a folder",
        "pipe.jpg: is a pipe", "4 of 5 images",
    )  # fmt: skip
    np.testing.assert_array_equal(pixels(out / "b.png"), labels)
    assert sorted(path.name for path in out.glob("*.png")) == ["b.png", "b_overlay.png"]
    refused(predict(run, images / "pipe.jpg", out), capsys, "pipe.jpg: is a pipe or device")


@pytest.mark.parametrize("file", ["settings.yaml", "room/clip/000001.png"])
def test_label_writes_over_nothing(file: str, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out" / file
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    refused(main(["label", str(room), "--out", str(tmp_path / "out")]), capsys, f"{path}: already exists")
    assert {name: data for name, data in content(tmp_path / "out").items() if name != ".run.lock"} == {file: b"mine"}
