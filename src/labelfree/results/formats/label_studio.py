"""Labelled images as predictions of Label Studio, with masks in the run lengths of its brush."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from labelfree.files.atomic import atomic_file, write_text
from labelfree.results.formats.pictures import LabelledPicture, Masks, write_json_list
from labelfree.results.formats.regions import Region, line_counts
from labelfree.vocabulary import Vocabulary

FILE, CONFIG_FILE = "tasks.json", "label-config.xml"
CONTROL, IMAGE = "tag", "image"
"""Names of the brush and of the image in the labelling configuration."""
CHANNELS = 4
"""The brush stores pixels as red, green, blue and opacity."""
LENGTH_BITS = (3, 4, 8, 16)
"""Numbers of bits in which the length of a run can be stored."""


def write_label_studio(folder: Path, pictures: Iterable[LabelledPicture], vocabulary: Vocabulary, masks: Masks) -> int:
    """Write `tasks.json` with one prediction per image, and `label-config.xml`; return the number of masks."""
    count = 0

    def tasks() -> Iterable[dict[str, Any]]:
        nonlocal count
        for picture in pictures:
            regions = masks.of(picture)
            count += len(regions)
            yield task(picture, regions)

    write_text(folder / CONFIG_FILE, labelling_config(vocabulary))
    with atomic_file(folder / FILE) as file:
        write_json_list(file, tasks())
        file.write(b"\n")
    return count


def task(picture: LabelledPicture, regions: Sequence[Region]) -> dict[str, Any]:
    """Return the task of an image, with its masks as one prediction."""
    prediction: dict[str, Any] = {
        "model_version": "labelfree",
        "result": [_result(number, region, picture) for number, region in enumerate(regions)],
    }
    scores = [region.score for region in regions if region.score is not None]
    if scores:
        prediction["score"] = round(sum(scores) / len(scores), 6)
    return {"data": {IMAGE: picture.file_name}, "predictions": [prediction]}


def _result(number: int, region: Region, picture: LabelledPicture) -> dict[str, Any]:
    height, width = picture.size
    name = picture.prediction.vocabulary.names[region.label]
    counts = line_counts(region.mask, (region.top, region.left), picture.size)
    record: dict[str, Any] = {
        "id": f"mask-{number}",
        "type": "brushlabels",
        "from_name": CONTROL,
        "to_name": IMAGE,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": list(brush_runs(counts)), "brushlabels": [name]},
    }
    return record if region.score is None else record | {"score": round(region.score, 6)}


def brush_runs(counts: Sequence[int]) -> bytes:
    """Return run lengths of pixels, the first of zeros, in the bits of Label Studio's brush.

    The head is the number of values (32 bits), the bits of a value - 1 (5 bits), and the four numbers of bits of a
    length - 1 (4 bits each). Then each run has a 1, the place of its number of bits (2 bits), its length - 1, and the
    value: 255 or 0.
    """
    bits = [f"{CHANNELS * sum(counts):032b}", f"{8 - 1:05b}", *(f"{width - 1:04b}" for width in LENGTH_BITS)]
    longest = 1 << LENGTH_BITS[-1]
    for place, count in enumerate(counts):
        value = 255 * (place % 2)
        left = CHANNELS * count
        while left:
            length = min(left, longest)
            choice = next(choice for choice, width in enumerate(LENGTH_BITS) if length <= 1 << width)
            bits.append(f"1{choice:02b}{length - 1:0{LENGTH_BITS[choice]}b}{value:08b}")
            left -= length
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def labelling_config(vocabulary: Vocabulary) -> str:
    """Return the labelling configuration of a project with these classes, for Settings > Labelling Interface."""
    labels = "".join(
        f'    <Label value={quoteattr(name)} background="#{red:02x}{green:02x}{blue:02x}"/>\n'
        for name, (red, green, blue) in zip(vocabulary.names, vocabulary.colours)
    )
    return (
        f'<View>\n  <Image name="{IMAGE}" value="${IMAGE}" zoom="true"/>\n'
        f'  <BrushLabels name="{CONTROL}" toName="{IMAGE}">\n{labels}  </BrushLabels>\n</View>\n'
    )
