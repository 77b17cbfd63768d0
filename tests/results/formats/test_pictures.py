"""The formats of annotation tools, decoded with pycocotools or by decoders written from the formats' definitions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from labelfree.prediction import Prediction
from labelfree.results.formats.coco import compressed, write_coco
from labelfree.results.formats.coco_panoptic import write_panoptic
from labelfree.results.formats.cvat import write_cvat
from labelfree.results.formats.label_studio import brush_runs, write_label_studio
from labelfree.results.formats.pictures import LabelledPicture, Masks
from labelfree.vocabulary import Vocabulary

NAMES = Vocabulary(("wall", "door \"<&>'", "größe"), colours=((255, 0, 16), (0, 0, 0), (1, 2, 3)))


def pictures() -> list[LabelledPicture]:
    random = np.random.default_rng(0)
    found = []
    for number, size in enumerate([(24, 31), (7, 5), (1, 1)]):
        coarse = random.choice(np.array([0, 1, 2, 255], np.uint8), size, p=[0.6, 0.2, 0.1, 0.1])
        scores = random.random(size, dtype=np.float32)
        found.append(LabelledPicture(f"room <1>/{number:03d}.jpg", Prediction(coarse, NAMES, scores)))
    found.append(LabelledPicture("empty.jpg", Prediction(np.full((4, 4), 255, np.uint8), NAMES)))
    return found


@pytest.mark.parametrize("per", ["region", "class"])
def test_pycocotools_reads_the_same_label_maps(tmp_path: Path, per: Any) -> None:
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO

    count = write_coco(tmp_path, pictures(), NAMES, Masks(per))
    coco = COCO(tmp_path / "annotations.json")
    assert [coco.cats[number]["name"] for number in (1, 2, 3)] == list(NAMES.names)
    assert len(coco.anns) == count > 3
    for number, picture in enumerate(pictures(), start=1):
        image = coco.imgs[number]
        assert (image["file_name"], image["height"], image["width"]) == (picture.file_name, *picture.size)
        labels = np.full(picture.size, 255, np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=number)):
            mask = coco.annToMask(annotation).astype(bool)
            labels[mask] = annotation["category_id"] - 1
            assert annotation["area"] == mask.sum()
            rows, columns = np.nonzero(mask)
            left, top = int(columns.min()), int(rows.min())
            assert annotation["bbox"] == [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1]
            scores = picture.prediction.scores
            assert scores is not None
            assert annotation["score"] == pytest.approx(float(scores[mask].mean()), abs=1e-5)
        np.testing.assert_array_equal(labels, picture.prediction.labels)


def test_compressed_run_lengths_are_those_of_pycocotools() -> None:
    mask_module = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(0)
    for size in ((1, 1), (5, 4), (60, 50), (500, 400)):
        for share in (0.0, 0.001, 0.5, 1.0):
            mask = np.asfortranarray(random.random(size) < share).astype(np.uint8)
            stated = mask_module.encode(mask)["counts"].decode()
            edges = np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=0, append=2))
            counts = np.diff(edges, prepend=0)
            assert compressed(counts[: len(counts)].tolist()) == stated


def test_panoptic_files_agree_with_each_other_and_the_labels(tmp_path: Path) -> None:
    write_panoptic(tmp_path, pictures(), NAMES)
    content = json.loads((tmp_path / "panoptic.json").read_text())
    assert [category["isthing"] for category in content["categories"]] == [0, 0, 0]
    assert len(content["annotations"]) == len(content["images"]) == 4
    for image, annotation, picture in zip(content["images"], content["annotations"], pictures()):
        assert annotation["image_id"] == image["id"]
        with Image.open(tmp_path / "panoptic" / annotation["file_name"]) as png:
            red, green, blue = np.asarray(png).astype(np.int64).transpose(2, 0, 1)
        ids = red + 256 * green + 256**2 * blue
        labels = np.full(picture.size, 255, np.uint8)
        for segment in annotation["segments_info"]:
            labels[ids == segment["id"]] = segment["category_id"] - 1
            assert segment["area"] == (ids == segment["id"]).sum()
        assert set(np.unique(ids)) - {0} == {segment["id"] for segment in annotation["segments_info"]}
        np.testing.assert_array_equal(labels, picture.prediction.labels)


def cvat_mask(runs: str, width: int, height: int) -> NDArray[np.bool_]:
    """Decode a mask as CVAT does: alternating runs of background and mask, row by row in the bounding box."""
    pixels: list[bool] = []
    for place, length in enumerate(runs.split(",")):
        pixels += [place % 2 == 1] * int(length)
    pixels += [False] * (width * height - len(pixels))
    return np.array(pixels).reshape(height, width)


def test_the_cvat_decoder_reads_the_example_of_the_format() -> None:
    """The mask of CVAT's page `XML annotation format`: a round spot in a box of 13 x 15 pixels."""
    runs = "3, 5, 7, 7, 5, 9, 3, 11, 2, 11, 2, 12, 1, 12, 1, 26, 1, 12, 1, 12, 2, 11, 3, 9, 5, 7, 7, 5, 3"
    mask = cvat_mask(runs, 13, 15)
    for axis in (0, 1):
        assert np.any(mask, axis=axis).take([0, -1]).all()
    assert mask[7].all()


@pytest.mark.parametrize("per", ["region", "class"])
def test_cvat_masks_give_the_labels(tmp_path: Path, per: Any) -> None:
    count = write_cvat(tmp_path, pictures(), NAMES, Masks(per))
    root = ElementTree.parse(tmp_path / "annotations.xml").getroot()
    assert root.tag == "annotations"
    assert root.findtext("version") == "1.1"
    assert [label.text for label in root.iterfind("meta/task/labels/label/name")] == list(NAMES.names)
    assert root.findtext("meta/task/labels/label/color") == "#ff0010"
    images = root.findall("image")
    assert len(root.findall("image/mask")) == count
    assert [image.get("id") for image in images] == ["0", "1", "2", "3"]
    for image, picture in zip(images, pictures()):
        assert image.get("name") == picture.file_name
        assert (int(image.get("height", "")), int(image.get("width", ""))) == picture.size
        labels = np.full(picture.size, 255, np.uint8)
        for mask in image.iterfind("mask"):
            left, top, width, height = (int(mask.get(key, "")) for key in ("left", "top", "width", "height"))
            inside = cvat_mask(mask.get("rle", ""), width, height)
            labels[top : top + height, left : left + width][inside] = NAMES.index(mask.get("label", ""))
        np.testing.assert_array_equal(labels, picture.prediction.labels)


class Bits:
    """Bits of bytes, the highest first, as the brush of Label Studio reads them."""

    def __init__(self, data: list[int]) -> None:
        self.bits, self.place = np.unpackbits(np.array(data, np.uint8)).tolist(), 0

    def take(self, count: int) -> int:
        value = 0
        for bit in self.bits[self.place : self.place + count]:
            value = 2 * value + bit
        self.place += count
        return value


def brush_pixels(data: list[int]) -> list[int]:
    bits = Bits(data)
    total, word = bits.take(32), bits.take(5) + 1
    sizes = [bits.take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        repeated = bits.take(1)
        length = bits.take(sizes[bits.take(2)]) + 1
        if repeated:
            values += [bits.take(word)] * length
        else:
            values += [bits.take(word) for _ in range(length)]
    assert len(values) == total
    assert len(data) == -(-bits.place // 8)
    return values


@pytest.mark.parametrize("counts", [[1], [0, 1], [3, 2, 1], [2, 4, 64, 65, 1], [0, 16384, 5], [40000, 70000, 1]])
def test_brush_runs_decode_to_opaque_and_transparent_pixels(counts: list[int]) -> None:
    values = np.repeat([255 * (place % 2) for place in range(len(counts))], counts)
    assert brush_pixels(list(brush_runs(counts))) == np.repeat(values, 4).tolist()


def test_label_studio_tasks_give_the_labels(tmp_path: Path) -> None:
    write_label_studio(tmp_path, pictures(), NAMES, Masks("class"))
    config = ElementTree.parse(tmp_path / "label-config.xml").getroot()
    brush, image = config.find("BrushLabels"), config.find("Image")
    assert brush is not None
    assert image is not None
    assert [label.get("value") for label in brush] == list(NAMES.names)
    tasks = json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))
    for task, picture in zip(tasks, pictures(), strict=True):
        assert task["data"] == {"image": picture.file_name}
        labels = np.full(picture.size, 255, np.uint8)
        (prediction,) = task["predictions"]
        for result in prediction["result"]:
            assert (result["from_name"], result["to_name"]) == (brush.get("name"), image.get("name"))
            assert (result["original_height"], result["original_width"]) == picture.size
            pixels = np.array(brush_pixels(result["value"]["rle"])).reshape(*picture.size, 4)
            labels[pixels[:, :, 3] == 255] = NAMES.index(result["value"]["brushlabels"][0])
        np.testing.assert_array_equal(labels, picture.prediction.labels)
        assert len({result["id"] for result in prediction["result"]}) == len(prediction["result"])
