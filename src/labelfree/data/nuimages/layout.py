"""Open nuImages: annotated images of a split with the 11 classes that they share with nuScenes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.data.integrity import check_image
from labelfree.data.layout import Count, Layout, OpenedDataset, ReadOptions, Survey, SurveyProgress
from labelfree.data.nuimages.rle import decode
from labelfree.data.numbers import LARGEST_SIDE, whole_number
from labelfree.data.nuscenes.lidarseg import MERGED
from labelfree.data.nuscenes.metadata import Record, field, side_field, small_table, table_rows, text_field
from labelfree.data.nuscenes.records import intrinsics_of
from labelfree.data.sources import checked_sources
from labelfree.errors import InputError
from labelfree.files.documents import one_line
from labelfree.raster import ImageFile
from labelfree.scene import Frame, Scene
from labelfree.vocabulary import IGNORE_LABEL

SPLITS = ("train", "val", "test", "mini")
OFFICIAL = {"train": 67279, "val": 16445, "test": 9752, "mini": 50}
"""Annotated images, as published."""
NOT_ANNOTATED = ("other_flat", "sidewalk", "terrain", "manmade", "vegetation")
CLASSES = tuple(name for name in MERGED if name not in NOT_ANNOTATED)
"""The 11 shared classes, in nuScenes' order."""


@dataclass(frozen=True)
class Mask:
    """One annotated object or surface."""

    where: str
    counts: str
    size: tuple[int, int]
    label: int


@dataclass(frozen=True)
class AnnotatedLabels:
    """A label map painted out of masks: surfaces first, then objects in the order of their tokens (the devkit's)."""

    masks: tuple[Mask, ...]
    size: tuple[int, int]

    def load(self) -> NDArray[Any]:
        """Return uint8 [H, W], 255 where nothing is annotated."""
        labels = np.full(self.size, IGNORE_LABEL, np.uint8)
        for mask in self.masks:
            if mask.size != self.size:
                raise InputError(
                    f"{mask.where}: the mask is of {mask.size[1]}x{mask.size[0]} pixels, the image "
                    f"{self.size[1]}x{self.size[0]}; unpack the metadata archive again."
                )
            try:
                labels[decode(mask.counts, mask.size)] = mask.label
            except ValueError as error:
                raise InputError(
                    f"{mask.where}: its mask cannot be read ({error}); unpack the archive again."
                ) from error
        return labels

    def digest(self) -> str:
        """Return the SHA-256 of the packed masks."""
        text = "".join(f"{mask.counts}{mask.label}{mask.size}" for mask in self.masks)
        return hashlib.sha256(text.encode()).hexdigest()

    def describe(self) -> str:
        """Return the place of the first mask, for errors."""
        return self.masks[0].where if self.masks else "no annotations"


@dataclass(frozen=True)
class PictureSource:
    """One annotated image: a scene of one frame, without points."""

    path: Path
    size: tuple[int, int]
    intrinsics: tuple[tuple[float, float, float], ...]
    masks: tuple[Mask, ...]

    @property
    def name(self) -> str:
        """Return the name of the image."""
        return self.path.stem

    def build(self) -> Scene:
        """Return the image with its labels; its camera is at the origin."""
        labels = AnnotatedLabels(self.masks, self.size)
        try:
            frame = Frame("key", ImageFile(self.path), np.array(self.intrinsics), np.eye(4), self.size, labels=labels)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error
        return Scene(self.name, np.zeros((0, 3), np.float32), (frame,), images_only=True)

    def faults(self, thorough: bool = False) -> tuple[str, ...]:
        """Return whether the image is missing, truncated or of another size."""
        if not self.path.is_file():
            return (f"{self.path}: the image is missing; unpack its archive again.",)
        try:
            real = check_image(self.path, thorough, "unpack its archive again")
        except InputError as error:
            return (str(error),)
        if real != self.size:
            stated = f"sample_data.json says {self.size[1]}x{self.size[0]}"
            return (f"{self.path}: is {real[1]}x{real[0]} pixels, {stated}; keep the original images.",)
        return ()


def recognises(path: Path) -> bool:
    """Whether a folder holds a split's tables of masks."""
    return any((path / f"v1.0-{split}" / "object_ann.json").is_file() for split in SPLITS)


def open_nuimages(path: Path, root: Path | None, options: ReadOptions) -> OpenedDataset:
    """Open the annotated images of a split; `every` and `limit` count images."""
    if root is not None:
        raise InputError(f"--root {root} is for a description file, but {path} is itself a dataset; leave it out.")
    split = _split(path, options.split)
    sources = _sources(path, path / f"v1.0-{split}")[:: options.stride()][: options.limit]
    note = f"nuImages v1.0-{split}: {len(sources)} annotated images, no points; {len(CLASSES)} classes are measured"
    notes = (
        (note,) if any(source.masks for source in sources) else (note, "nothing is annotated: nothing can be measured")
    )
    return OpenedDataset(sources, CLASSES, notes)


def _split(path: Path, split: str | None) -> str:
    there = [name for name in SPLITS if (path / f"v1.0-{name}" / "object_ann.json").is_file()]
    if split is None and len(there) == 1:
        return there[0]
    if split not in there:
        said = "none is named" if split is None else f"'{split}' is not among them"
        raise InputError(f"{path}: holds the splits {', '.join(there)}, and {said}; give --split {there[0]}.")
    return split


def _sources(path: Path, folder: Path) -> tuple[PictureSource, ...]:
    data, mounted = small_table(folder / "sample_data.json"), small_table(folder / "calibrated_sensor.json")
    masks = _masks(folder)
    found = []
    for sample in small_table(folder / "sample.json").values():
        token = str(field(folder / "sample.json", sample, "key_camera_token"))
        if token not in data:
            raise InputError(f"{folder / 'sample.json'}: refers to {token}, which sample_data.json does not have.")
        row = data[token]
        where = folder / "sample_data.json"
        calibration = mounted.get(str(field(where, row, "calibrated_sensor_token")))
        if calibration is None:
            raise InputError(f"{where}: row {token} refers to a sensor that calibrated_sensor.json does not have.")
        size = (side_field(where, row, "height"), side_field(where, row, "width"))
        file = path / text_field(where, row, "filename")
        matrix = intrinsics_of(folder / "calibrated_sensor.json", calibration)
        found.append(PictureSource(file, size, tuple(map(tuple, matrix.tolist())), tuple(masks.get(token, ()))))
    return tuple(found)


def _masks(folder: Path) -> dict[str, list[Mask]]:
    """Return the masks of each image as the devkit paints them: surfaces as they come, then objects by token.

    What is not shared with nuScenes becomes 255.
    """
    label_of = {name: number for number, names in enumerate(MERGED[c] for c in CLASSES) for name in names}
    categories = {
        token: label_of.get(str(row.get("name")), IGNORE_LABEL)
        for token, row in small_table(folder / "category.json").items()
    }
    found: dict[str, list[Mask]] = {}
    for table in ("surface_ann", "object_ann"):
        path = folder / f"{table}.json"
        rows = (row for some in table_rows(path) for row in some)
        for row in sorted(rows, key=_token) if table == "object_ann" else rows:
            mask = row.get("mask")
            if mask is None:
                continue  # some objects were given a box alone
            category = str(field(path, row, "category_token"))
            if category not in categories:
                raise InputError(f"{path}: row {row['token']} refers to category {category}, which is unknown.")
            try:
                packed = Mask(f"{path}, row {row['token']}", str(mask["counts"]), _size(mask), categories[category])
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{path}: row {row['token']} has a mask without size or counts ({one_line(error)}); unpack the "
                    "metadata archive again."
                ) from error
            found.setdefault(str(field(path, row, "sample_data_token")), []).append(packed)
    return found


def _token(row: Record) -> str:
    return str(row["token"])


def _size(mask: Record) -> tuple[int, int]:
    height, width = mask["size"]
    return whole_number(height, 1, LARGEST_SIDE), whole_number(width, 1, LARGEST_SIDE)


def survey_nuimages(path: Path, root: Path | None, options: ReadOptions, progress: SurveyProgress) -> Survey:
    """Count the annotated images and look at their files."""
    opened = open_nuimages(path, root, options)
    sources: Sequence[Any] = opened.sources
    problems: list[str] = []
    for _, found in checked_sources(sources, progress):
        problems += found
    split = _split(path, options.split)
    whole = options.every is None and options.limit is None
    count = Count("annotated images", len(sources), OFFICIAL[split] if whole else None)
    return Survey("nuimages", (count,), tuple(problems), opened.notes, len(sources), CLASSES)


NUIMAGES = Layout("nuimages", recognises, open_nuimages, survey_nuimages, "nuscenes", images_only=True)
