"""`LabelledPicture`, what the formats of annotation tools are written from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

from labelfree.prediction import Prediction
from labelfree.results.formats.regions import Per, Region, regions_of


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """The labels of an image, and the name by which the other program finds the image."""

    file_name: str
    prediction: Prediction

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        height, width = self.prediction.labels.shape
        return height, width


@dataclass(frozen=True)
class Masks:
    """The choice of masks."""

    per: Per = "region"
    """One mask per connected region, or per class."""
    least_pixels: int = 1
    """Smaller masks are left out."""

    def of(self, picture: LabelledPicture) -> list[Region]:
        """Return the masks of an image."""
        return regions_of(picture.prediction, self.per, self.least_pixels)


def write_json_list(file: BinaryIO, records: Iterable[Any]) -> int:
    """Write records as a JSON list, one per line, so that they need not be in memory together; return their number."""
    count = 0
    for count, record in enumerate(records, start=1):
        file.write(b"[\n" if count == 1 else b",\n")
        file.write(json.dumps(record, separators=(",", ":"), allow_nan=False).encode("utf-8"))
    file.write(b"[]" if count == 0 else b"\n]")
    return count
