"""Find and read the predictions that `run`, `label` and `predict` have written into a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.data.point_cloud import PointCloud
from labelfree.data.point_files import POINT_SUFFIXES, read_points
from labelfree.errors import InputError
from labelfree.files.decoding import picture_size
from labelfree.files.documents import read_array, reading
from labelfree.prediction import Prediction
from labelfree.raster import MapFile
from labelfree.results.export import LEGEND_FILE, file_stem
from labelfree.results.formats.pictures import LabelledPicture
from labelfree.results.run_report import at_size
from labelfree.scene import Frame, Scene
from labelfree.vocabulary import Vocabulary

OVERLAY = "_overlay"


@dataclass(frozen=True)
class StoredPicture:
    """The label map of an image; the file is read only on request."""

    path: Path
    scene: str
    """Name of its scene as part of a file name; empty for images that were labelled without a scene."""
    vocabulary: Vocabulary

    @property
    def name(self) -> str:
        """Return the name of the frame as part of a file name."""
        return self.path.stem

    def load(self) -> Prediction:
        """Return the labels. Raises an `InputError` if the file is no label map of these classes."""
        labels = MapFile(self.path).load()
        if labels.ndim != 2 or labels.dtype != np.uint8:
            raise InputError(
                f"{self.path}: is no label map (expected 8-bit labels [H, W], found {labels.dtype} "
                f"{list(labels.shape)}); remove it or write the predictions again."
            )
        return _checked(self.path, labels, self.vocabulary, self.name)


NamedPicture = tuple[StoredPicture, str, tuple[int, int] | None]
"""A label map, the name of its image, and the (height, width) of the image if it is known."""


@dataclass(frozen=True)
class StoredCloud:
    """A labelled cloud; its files are read only on request."""

    path: Path
    vocabulary: Vocabulary

    @property
    def name(self) -> str:
        """Return the name of the scene as part of a file name."""
        return self.path.stem

    def load(self, segments: Path | None = None) -> Prediction:
        """Return the labels, with the segments of the cloud of the same name in the folder `segments`.

        Raises an `InputError` if a file cannot be read, or if the files have different points.
        """
        cloud = read_points(self.path)
        labels = cloud.labels
        stored = read_array(self.path.with_suffix(".npy"))
        if stored.shape == (len(cloud.points),):  # LAS leaves out points that are not finite
            labels = stored
        if labels is None:
            raise InputError(f"{self.path}: has {len(cloud.points):,} points but no label for each; predict it again.")
        prediction = _checked(self.path, np.asarray(labels), self.vocabulary, self.name)
        segments_of_points = cloud.segments if segments is None else _segments(self, cloud, segments)
        return replace(
            prediction,
            points_world=cloud.points,
            scores=cloud.scores,
            seen=cloud.seen,
            segments=segments_of_points,
            support=cloud.support,
        )


def stored_pictures(folder: Path) -> list[StoredPicture]:
    """Return the label maps of a run folder (`pixels/SCENE`) or of a folder that `predict` wrote.

    Raises an `InputError` if there are none.
    """
    _require_folder(folder)
    pixels = folder / "pixels"
    with reading(folder):
        scenes = sorted(path for path in pixels.iterdir() if path.is_dir()) if pixels.is_dir() else []
        found = [picture for scene in scenes for picture in _pictures(scene, scene.name)] + _pictures(folder, "")
    if not found:
        raise InputError(
            f"{folder}: holds no labelled images (pixels/SCENE/*.png beside {LEGEND_FILE}); give the folder of a "
            "finished run, or one that 'labelfree predict' wrote."
        )
    return found


def stored_clouds(folder: Path) -> list[StoredCloud]:
    """Return the labelled clouds of a run folder (`points`) or of a folder that `predict` wrote.

    Raises an `InputError` if there are none.
    """
    _require_folder(folder)
    with reading(folder):
        found = [cloud for place in (folder / "points", folder) for cloud in _clouds(place)]
    if not found:
        raise InputError(
            f"{folder}: holds no labelled clouds (points/*.ply beside {LEGEND_FILE}); give the folder of a finished "
            "run, or one that 'labelfree predict' wrote."
        )
    return found


def one_vocabulary(folder: Path, found: Sequence[StoredPicture] | Sequence[StoredCloud]) -> Vocabulary:
    """Return the classes of predictions. Raises an `InputError` if they differ."""
    first = found[0]
    other = next((one for one in found if one.vocabulary.names != first.vocabulary.names), None)
    if other is not None:
        raise InputError(
            f"{folder}: {first.path.parent} and {other.path.parent} have different classes; export them one by one."
        )
    return first.vocabulary


def labelled_pictures(
    found: Sequence[StoredPicture], frames: Sequence[NamedPicture] | None, prefix: str
) -> Iterator[LabelledPicture]:
    """Yield the labels of images: at the size and with the name of the original image if `frames` tells them."""
    plain: list[NamedPicture] = [(picture, default_name(picture), None) for picture in found]
    for picture, name, size in plain if frames is None else frames:
        prediction = picture.load()
        yield LabelledPicture(prefix + name, prediction if size is None else at_size(prediction, size))


def default_name(picture: StoredPicture) -> str:
    """Return the name of an image whose file is not known: SCENE/FRAME.png."""
    return f"{picture.scene}/{picture.name}.png" if picture.scene else f"{picture.name}.png"


def of_frames(found: Sequence[StoredPicture], scenes: Sequence[Scene], root: Path, data: Path) -> list[NamedPicture]:
    """Return each label map with the image file relative to `root` and its (height, width).

    Label maps without a scene belong to any image of that name. Raises an `InputError` if an image is missing.
    """
    wanted = {(picture.scene, picture.name): picture for picture in found}
    matched: dict[tuple[str, str], NamedPicture] = {}
    for scene in scenes:
        for frame in scene.frames:
            name, size = _original(frame, scene.name, root)
            for key in (
                (file_stem(scene.name), file_stem(frame.name)),
                ("", file_stem(frame.name)),
                ("", Path(name).name),
            ):
                if key in wanted:
                    matched.setdefault(key, (wanted[key], name, size))
    missing = [picture for key, picture in wanted.items() if key not in matched]
    if missing:
        more = f" and {len(missing) - 1} more label maps" if len(missing) > 1 else ""
        raise InputError(f"{data}: has no image for {missing[0].path}{more}; give the data that was labelled.")
    return list(matched.values())


def _original(frame: Frame, scene: str, root: Path) -> tuple[str, tuple[int, int]]:
    """Return the name of a frame's image file relative to the data, and its size."""
    path = getattr(frame.image, "path", None)
    if not isinstance(path, Path):
        return f"{scene}/{frame.name}.png", frame.size
    inside = path.absolute().is_relative_to(root.absolute())
    return path.absolute().relative_to(root.absolute()).as_posix() if inside else path.name, picture_size(path)


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {state}; give the folder of a finished run.")


def _legend(folder: Path) -> Vocabulary | None:
    path = folder / LEGEND_FILE
    return Vocabulary.from_file(path) if path.is_file() else None


def _pictures(folder: Path, scene: str) -> list[StoredPicture]:
    vocabulary = _legend(folder)
    if vocabulary is None:
        return []
    files = {path.stem: path for path in sorted(folder.glob("*.png"))}
    return [StoredPicture(path, scene, vocabulary) for stem, path in files.items() if not _is_overlay(stem, files)]


def _is_overlay(stem: str, files: dict[str, Path]) -> bool:
    """Return whether a file is the overlay of another one; a frame may be named so too, and has its own overlay."""
    return stem.endswith(OVERLAY) and stem.removesuffix(OVERLAY) in files and stem + OVERLAY not in files


def _clouds(folder: Path) -> list[StoredCloud]:
    vocabulary = _legend(folder) if folder.is_dir() else None
    if vocabulary is None:
        return []
    arrays = sorted(folder.glob("*.npy"))
    files = ((array.with_suffix(suffix) for suffix in POINT_SUFFIXES) for array in arrays)
    found = (next((path for path in paths if path.is_file()), None) for paths in files)
    return [StoredCloud(path, vocabulary) for path in found if path is not None]


def _checked(path: Path, labels: NDArray[Any], vocabulary: Vocabulary, name: str) -> Prediction:
    wrong = (labels >= len(vocabulary)) & (labels != vocabulary.ignore)
    if labels.dtype != np.uint8 or wrong.any():
        value = labels[wrong][0] if wrong.any() else labels.dtype
        raise InputError(
            f"{path}: holds {value}, which is no label of the {len(vocabulary)} classes in {LEGEND_FILE}; write the "
            "predictions again."
        )
    return Prediction(labels, vocabulary, name=name)


def _segments(cloud: StoredCloud, points: PointCloud, folder: Path) -> NDArray[np.int32]:
    path = next((path for suffix in POINT_SUFFIXES if (path := folder / f"{cloud.name}{suffix}").is_file()), None)
    if path is None:
        raise InputError(f"{folder}: has no segments of '{cloud.name}'; give a folder that 'labelfree segments' wrote.")
    found = read_points(path).segments
    if found is None or len(found) != len(points.points):
        count = "no segments" if found is None else f"{len(found):,} points"
        raise InputError(f"{path}: has {count}, and {cloud.path} has {len(points.points):,} points; segment it again.")
    return found
