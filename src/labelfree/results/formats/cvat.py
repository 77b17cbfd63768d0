"""Labelled images in the XML of CVAT, `CVAT for images 1.1`, with masks as run lengths."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from labelfree.files.atomic import atomic_file
from labelfree.results.formats.pictures import LabelledPicture, Masks
from labelfree.results.formats.regions import Region, line_counts
from labelfree.vocabulary import Vocabulary

FILE = "annotations.xml"


def write_cvat(folder: Path, pictures: Iterable[LabelledPicture], vocabulary: Vocabulary, masks: Masks) -> int:
    """Write `annotations.xml` with one mask per region or class; return the number of masks."""
    count = 0
    with atomic_file(folder / FILE) as file:
        file.write(_head(vocabulary).encode("utf-8"))
        for number, picture in enumerate(pictures):
            regions = masks.of(picture)
            count += len(regions)
            height, width = picture.size
            name = quoteattr(picture.file_name)
            file.write(f'  <image id="{number}" name={name} width="{width}" height="{height}">\n'.encode())
            file.write("".join(mask_element(region, vocabulary) for region in regions).encode("utf-8"))
            file.write(b"  </image>\n")
        file.write(b"</annotations>\n")
    return count


def mask_element(region: Region, vocabulary: Vocabulary) -> str:
    """Return the element of a mask: run lengths inside its bounding box, row by row, the first of zeros."""
    left, top, width, height = region.box
    runs = ", ".join(map(str, line_counts(region.mask, (0, 0), (height, width))))
    label = quoteattr(vocabulary.names[region.label])
    return (
        f'    <mask label={label} source="auto" occluded="0" rle="{runs}" left="{left}" top="{top}" '
        f'width="{width}" height="{height}" z_order="0"></mask>\n'
    )


def _head(vocabulary: Vocabulary) -> str:
    labels = "".join(
        f"        <label><name>{escape(name)}</name><color>#{red:02x}{green:02x}{blue:02x}</color><type>mask</type>"
        "<attributes></attributes></label>\n"
        for name, (red, green, blue) in zip(vocabulary.names, vocabulary.colours)
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n'
        f"      <labels>\n{labels}      </labels>\n    </task>\n  </meta>\n"
    )
