"""Read a folder of images with label maps and no 3D data: for prediction and evaluation, not for training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.data.description import count_value, refuse_unknown, text_value
from labelfree.data.integrity import check_image
from labelfree.data.layout import Count, Layout, OpenedDataset, ReadOptions, Survey, SurveyProgress
from labelfree.data.lidar_rig.description import raw_classes, raw_ignored, says_layout
from labelfree.data.lidar_rig.reader import RawLabels
from labelfree.data.lidar_rig.sweeps import class_table
from labelfree.data.patterns import Pattern
from labelfree.data.poses import pinhole
from labelfree.errors import InputError, shown
from labelfree.files.decoding import picture_size
from labelfree.files.documents import read_yaml
from labelfree.raster import ImageFile
from labelfree.scene import Frame, Scene
from labelfree.vocabulary import IGNORE_LABEL, Vocabulary

NAME = "images"
IMAGES, LABELS = ("images", "image", "color", "rgb"), ("labels", "label")
"""Names of the folders that are searched; without `--layout` only the first of each is recognised."""
IMAGE_ENDINGS, LABEL_ENDINGS = "*.{png,jpg,jpeg,bmp,webp,tif,tiff}", "*.png"
CLASSES_FILE = "classes.txt"
ALONE = "--layout images reads its images alone, to predict and evaluate"
"""Hint for a folder of images that cannot be read as a 3D capture."""
SIGNS_OF_3D = (
    "depth",
    "pose",
    "intrinsic",
    "traj",
    "calib",
    "camera",
    "groundtruth",
    "color",
    "velodyne",
    "transforms",
)
"""Prefixes of file and folder names that only a 3D capture has."""
FILES_OF_3D = (".ply", ".las", ".laz", ".pcd", ".log", ".sens", ".bin")


@dataclass(frozen=True)
class FolderDescription:
    """The layout of a folder of images; in patterns `*` stands for the image's name."""

    images: str
    """Pattern of the images."""
    labels: str | None = None
    """Pattern of the label maps: one id per pixel, 255 = ignored."""
    classes: Mapping[int, str] | None = None
    """Class names of label ids; ids with the same name are merged. None: the ids are those of the run's classes."""
    ignored: tuple[int, ...] = ()
    """Label ids besides 255 that are ignored in the evaluation."""
    name: str | None = None
    """Name of the scene; the name of its folder if not given."""
    root: str | None = None
    """Folder of the data, relative to the description; `--root` overrides it."""
    every: int = 1
    """Take every n-th image."""

    def names(self) -> tuple[str, ...] | None:
        """Return the class names, in the order of their first id."""
        return None if self.classes is None else tuple(dict.fromkeys(self.classes.values()))


KEYS = tuple(entry.name for entry in fields(FolderDescription))


@dataclass(frozen=True)
class LabelledImage:
    """An image and its label map, if there is one."""

    name: str
    path: Path
    labels: Path | None

    def fault(self, thorough: bool = False) -> str | None:
        """Return what is wrong with the first file that cannot be read or is damaged; None if both are fine."""
        try:
            for path in (self.path, self.labels):
                if path is not None:
                    picture_size(path)
                    check_image(path, thorough)
        except InputError as error:
            return str(error)
        return None


@dataclass(frozen=True)
class FolderSource:
    """A scene of the images of one folder, without points."""

    name: str
    images: tuple[LabelledImage, ...]
    table: NDArray[np.int64] = field(repr=False, compare=False)

    def build(self) -> Scene:
        """Return a scene with one frame per image; all cameras stand at the origin."""
        frames = tuple(self._frame(image) for image in self.images)
        return Scene(self.name, np.zeros((0, 3), np.float32), frames, images_only=True)

    def faults(self, thorough: bool = False) -> tuple[str, ...]:
        """Return a sentence for each image whose files cannot be read."""
        return tuple(fault for image in self.images if (fault := image.fault(thorough)) is not None)

    def _frame(self, image: LabelledImage) -> Frame:
        size = picture_size(image.path)
        intrinsics = pinhole(size[1], size[1], size[1] / 2, size[0] / 2)
        labels = None if image.labels is None else RawLabels(image.labels, self.table)
        return Frame(image.name, ImageFile(image.path), intrinsics, np.eye(4), size, labels=labels)


def recognises(path: Path) -> bool:
    """Return whether a description has this layout, or a folder contains `images/`, `labels/` and no sign of 3D data.

    A capture that only lacks its poses or depth maps does not count: it has other files or folder names of a capture.
    """
    if not path.is_dir():
        return says_layout(path, NAME)
    if (
        not (path / IMAGES[0]).is_dir()
        or not (path / LABELS[0]).is_dir()
        or any(_is_3d(entry) for entry in path.iterdir())
    ):
        return False
    patterns = (f"{IMAGES[0]}/{IMAGE_ENDINGS}", f"{LABELS[0]}/{LABEL_ENDINGS}")
    return all(Pattern(pattern).find(path) for pattern in patterns)


def _is_3d(entry: Path) -> bool:
    name = entry.name.lower()
    return name.startswith(SIGNS_OF_3D) or name == "k.txt" or entry.suffix.lower() in FILES_OF_3D


def open_image_folder(path: Path, root: Path | None, options: ReadOptions) -> OpenedDataset:
    """Open the images of a folder or a description; `every` and `limit` count images."""
    description, source, notes = _source(path, root, options)
    return OpenedDataset((source,), description.names(), notes)


def _source(
    path: Path, root: Path | None, options: ReadOptions
) -> tuple[FolderDescription, FolderSource, tuple[str, ...]]:
    if options.split is not None:
        raise InputError(f"{path}: a folder of images has no splits; leave '{options.split}' out.")
    description, base = _described(path, root)
    found = Pattern(description.images).find(base)
    if not found:
        raise InputError(
            f"{base}: no image matches '{description.images}'; give the folder with --root DIR, or check key 'images'."
        )
    labels = {} if description.labels is None else Pattern(description.labels).find_for(base, found)
    images = [LabelledImage(name, file, labels.get(name)) for name, file in found.items()]
    images = images[:: options.stride(description.every)][: options.limit]
    notes = list(_notes(base, description, images, [labels[name] for name in labels if name not in found]))
    if options.skip_broken:
        faults = {image.name: fault for image in images if (fault := image.fault()) is not None}
        images = [image for image in images if image.name not in faults]
        notes += [f"image '{name}' is left out: {fault}" for name, fault in faults.items()]
        if not images:
            raise InputError(f"{base}: no image is left after leaving out the broken ones; {notes[-1]}")
    table = class_table(description.classes, description.ignored)
    if IGNORE_LABEL not in (description.classes or {}):
        table[IGNORE_LABEL] = IGNORE_LABEL
    return description, FolderSource(description.name or base.resolve().name, tuple(images), table), tuple(notes)


def _notes(base: Path, description: FolderDescription, images: list[LabelledImage], stray: list[Path]) -> Iterator[str]:
    labelled = sum(image.labels is not None for image in images)
    yield f"{base}: {len(images)} images, {labelled} with label maps, no points: predict and evaluate, no training"
    if 0 < labelled < len(images):
        without = next(image.path for image in images if image.labels is None)
        yield f"{len(images) - labelled} images such as {without} have no label map and are not measured"
    if stray:
        yield f"{len(stray)} label maps such as {stray[0]} belong to no image"


def _described(path: Path, root: Path | None) -> tuple[FolderDescription, Path]:
    if path.is_dir():
        if root is not None:
            raise InputError(f"--root {root} is for a description file, but {path} is itself a folder; leave it out.")
        return _default(path), path
    data = _keys(path)
    stated = data.get("root")
    base = root or (path.parent / text_value(stated, f"{path}: root") if stated is not None else path.parent)
    if not base.is_dir():
        raise InputError(f"{base}: the folder of images does not exist; give it with --root DIR.")
    return _description(data, path, base), base


def images_of(folder: Path) -> str | None:
    """Return the pattern of the images in a subfolder or in the folder itself; None if there are none."""
    named = next((name for name in IMAGES if (folder / name).is_dir()), None)
    pattern = IMAGE_ENDINGS if named is None else f"{named}/{IMAGE_ENDINGS}"
    return pattern if Pattern(pattern).matches_in(folder) else None


def _default(folder: Path) -> FolderDescription:
    images = images_of(folder)
    labels = next((name for name in LABELS if (folder / name).is_dir()), None)
    if images is None:
        raise InputError(
            f"{folder}: holds no images, neither in {', '.join(f'{name}/' for name in IMAGES)} nor itself; describe "
            f"it in a YAML file with layout: {NAME} and images: (docs/datasets.md)."
        )
    file = folder / CLASSES_FILE
    return FolderDescription(
        images,
        None if labels is None else f"{labels}/{LABEL_ENDINGS}",
        dict(enumerate(Vocabulary.from_file(file).names)) if file.is_file() else None,
    )


def _keys(path: Path) -> dict[str, Any]:
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected keys such as 'images' and 'labels', found {type(data).__name__}.")
    data.pop("layout", None)
    refuse_unknown(data, KEYS, str(path))
    return data


def _description(data: dict[str, Any], path: Path, base: Path) -> FolderDescription:
    def text(key: str) -> str | None:
        return None if data.get(key) is None else text_value(data[key], f"{path}: {key}")

    every = count_value(data.get("every", 1), f"{path}: every")
    ignored = raw_ignored(data.get("ignored", []), f"{path}: ignored")
    classes = _classes(data.get("classes"), path, base)
    images, labels = text("images") or f"{IMAGES[0]}/{IMAGE_ENDINGS}", text("labels")
    if labels is None and "labels" not in data and (base / LABELS[0]).is_dir():
        labels = f"{LABELS[0]}/{LABEL_ENDINGS}"
    return FolderDescription(images, labels, classes, ignored, text("name"), text("root"), every)


def _classes(value: Any, path: Path, base: Path) -> dict[int, str] | None:
    if isinstance(value, dict):
        return raw_classes(value, f"{path}: classes")
    if isinstance(value, list):
        if not all(isinstance(name, str) for name in value):
            raise InputError(f"{path}: classes is {shown(value)}, expected a name for each label id.")
        return dict(enumerate(value))
    file = base / (CLASSES_FILE if value is None else text_value(value, f"{path}: classes"))
    if value is None and not file.is_file():
        return None
    return dict(enumerate(Vocabulary.from_file(file).names))


def survey_image_folder(path: Path, root: Path | None, options: ReadOptions, progress: SurveyProgress) -> Survey:
    """Count the images and check their files."""
    description, source, notes = _source(path, root, options)
    problems = []
    for place, image in enumerate(source.images):
        fault = image.fault(thorough=True)
        problems += [] if fault is None else [fault]
        progress(place + 1, len(source.images))
    labelled = sum(image.labels is not None for image in source.images)
    counts = (Count("images", len(source.images)), Count("label maps", labelled))
    return Survey(NAME, counts, tuple(problems), notes, len(source.images), description.names())


IMAGE_FOLDER = Layout(NAME, recognises, open_image_folder, survey_image_folder, images_only=True)
