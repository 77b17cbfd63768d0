"""Labelled images in COCO's panoptic format: a PNG of segment ids per image, and a JSON file about them.

Labels have no instances, so that every class is `stuff`: one segment per class and image.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.files.atomic import atomic_file, write_png
from labelfree.results.formats.coco import FIRST_CATEGORY, INFO, categories, image_record
from labelfree.results.formats.pictures import LabelledPicture, Masks
from labelfree.vocabulary import Vocabulary

FILE = "panoptic.json"
PNG_FOLDER = "panoptic"


def write_panoptic(folder: Path, pictures: Iterable[LabelledPicture], vocabulary: Vocabulary) -> int:
    """Write `panoptic.json` and a PNG per image into `panoptic`; return the number of segments."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for picture in pictures:
        images.append(image_record(len(images) + 1, picture))
        name = png_name(picture.file_name)
        write_png(folder / PNG_FOLDER / name, segment_picture(picture))
        annotations.append({"image_id": len(images), "file_name": name, "segments_info": segments(picture)})
    classes = [
        category | {"isthing": 0, "color": list(colour)}
        for category, colour in zip(categories(vocabulary), vocabulary.colours)
    ]
    content = {"info": INFO, "licenses": [], "images": images, "annotations": annotations, "categories": classes}
    with atomic_file(folder / FILE) as file:
        file.write(json.dumps(content).encode("utf-8"))
    return sum(len(annotation["segments_info"]) for annotation in annotations)


def png_name(image: str) -> str:
    """Return the name of an image's PNG inside the folder `panoptic`."""
    return PurePosixPath(image).with_suffix(".png").as_posix()


def segment_picture(picture: LabelledPicture) -> NDArray[np.uint8]:  # [H, W, 3]
    """Return the segment ids, R + 256 G + 65536 B: 1 + label, and 0 for pixels without a label."""
    ids = picture.prediction.labels.astype(np.uint32) + FIRST_CATEGORY
    ids[picture.prediction.labels == picture.prediction.vocabulary.ignore] = 0
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=2).astype(np.uint8)


def segments(picture: LabelledPicture) -> list[dict[str, Any]]:
    """Return the record of each segment of an image."""
    found = []
    for region in Masks("class").of(picture):
        number = FIRST_CATEGORY + region.label
        record: dict[str, Any] = {
            "id": number,
            "category_id": number,
            "area": region.area,
            "bbox": list(region.box),
            "iscrowd": 0,
        }
        found.append(record if region.score is None else record | {"score": round(region.score, 6)})
    return found
