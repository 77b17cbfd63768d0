"""Labelled images in COCO's format of instances, with masks as compressed run lengths."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from labelfree.files.atomic import atomic_file
from labelfree.results.formats.pictures import LabelledPicture, Masks, write_json_list
from labelfree.results.formats.regions import Region, column_counts
from labelfree.vocabulary import Vocabulary

FILE = "annotations.json"
FIRST_CATEGORY = 1
"""Id of the category of label 0: COCO's ids begin with 1, and many programs take 0 for the background."""
INFO = {"description": "labels predicted by labelfree", "version": "1.0"}


def write_coco(folder: Path, pictures: Iterable[LabelledPicture], vocabulary: Vocabulary, masks: Masks) -> int:
    """Write `annotations.json` with one annotation per mask; return the number of annotations."""
    images: list[dict[str, Any]] = []

    def annotations() -> Iterator[dict[str, Any]]:
        number = 0
        for picture in pictures:
            images.append(image_record(len(images) + 1, picture))
            for region in masks.of(picture):
                number += 1
                yield annotation(number, len(images), region, picture.size)

    with atomic_file(folder / FILE) as file:
        file.write(_members({"info": INFO, "licenses": [], "categories": categories(vocabulary)}))
        file.write(b'"annotations":')
        count = write_json_list(file, annotations())
        file.write(b',\n"images":')
        write_json_list(file, images)
        file.write(b"}\n")
    return count


def _members(values: dict[str, Any]) -> bytes:
    """Return the beginning of a JSON object, up to the comma after these members."""
    return json.dumps(values)[:-1].encode("utf-8") + b",\n"


def categories(vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """Return the categories: ids from 1 on, in the order of the labels."""
    return [
        {"id": FIRST_CATEGORY + label, "name": name, "supercategory": ""} for label, name in enumerate(vocabulary.names)
    ]


def image_record(number: int, picture: LabelledPicture) -> dict[str, Any]:
    """Return the record of an image."""
    height, width = picture.size
    return {"id": number, "file_name": picture.file_name, "height": height, "width": width}


def annotation(number: int, image: int, region: Region, size: tuple[int, int]) -> dict[str, Any]:
    """Return the record of a mask, with its mean confidence as `score` if there is one."""
    counts = compressed(column_counts(region.mask, (region.top, region.left), size))
    record: dict[str, Any] = {
        "id": number,
        "image_id": image,
        "category_id": FIRST_CATEGORY + region.label,
        "segmentation": {"size": list(size), "counts": counts},
        "area": region.area,
        "bbox": list(region.box),
        "iscrowd": 0,
    }
    return record if region.score is None else record | {"score": round(region.score, 6)}


def compressed(counts: Sequence[int]) -> str:
    """Return run lengths as COCO's string: from the fourth on, each is the difference to the one before the last.

    A number is written in groups of 5 bits, the lowest first, as the letter 48 + group, plus 32 if more groups follow.
    """
    letters = bytearray()
    for place, count in enumerate(counts):
        rest = count - counts[place - 2] if place > 2 else count
        while True:
            group, rest = rest & 0x1F, rest >> 5
            last = rest == (-1 if group & 0x10 else 0)
            letters.append(48 + group + (0 if last else 32))
            if last:
                break
    return letters.decode("ascii")
