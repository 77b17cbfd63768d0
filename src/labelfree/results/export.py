"""Predictions as files: coloured PLY, label arrays, label images, overlays and a legend."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelfree.errors import InputError
from labelfree.evaluation.method_results import MethodResult
from labelfree.files.atomic import atomic_file
from labelfree.files.outputs import OutputFolder
from labelfree.prediction import Prediction
from labelfree.raster import resize_image
from labelfree.results.formats.points import save_points
from labelfree.scene import Scene
from labelfree.vocabulary import Vocabulary

LEGEND_FILE = "classes.json"

OVERLAY_STRENGTH = 0.6
"""Share of the class colour in an overlay."""
DARK_LINES = 0.35
"""Factor of the colours where the class changes."""
PNG_LEVEL = 4
"""Overlays of photos take a third of the time of Pillow's level 6 and no more bytes; label maps are 7 % larger."""
BAND_PIXELS = 1 << 18
"""Pixels of an overlay that are blended at once."""


def save_prediction(
    prediction: Prediction,
    folder: str | Path,
    image: NDArray[np.uint8] | None = None,  # [H, W, 3], any size; for the overlay of a 2D prediction
    cloud_format: str = "ply",
    like: Path | None = None,
) -> tuple[Path, ...]:
    """Write one prediction and, once per folder, its legend; return the files written.

    A cloud NAME gives `NAME.ply` (class colours, labels, scores, whether an image saw the point and, where
    they are known, the number of images that support the label and the segment) and `NAME.npy` (uint8
    labels), both with the points of the cloud's file in their order; points that are not finite have label 255.
    `cloud_format` is ply, las, laz or pcd; LAS and LAZ keep the other dimensions of the file `like`.
    An image NAME gives `NAME.png` (uint8 labels, 255 = none) and, with `image`, `NAME_overlay.png`.
    Raises an `InputError` if the folder holds predictions of other classes or the prediction has no name.
    """
    folder = Path(folder)
    save_legend(prediction.vocabulary, folder)
    if prediction.is_3d:
        return _save_cloud(prediction, folder, cloud_format, like)
    return _save_picture(prediction, folder, image)


def save_legend(vocabulary: Vocabulary, folder: str | Path) -> Path:
    """Write `classes.json`, the classes in label order; `--classes` accepts the file.

    Raises an `InputError` if the folder holds predictions of other classes.
    """
    path = Path(folder) / LEGEND_FILE
    text = json.dumps(vocabulary.to_dict(), indent=1) + "\n"
    if path.is_file():
        if path.stat().st_size != len(text.encode("utf-8")) or path.read_bytes() != text.encode("utf-8"):
            raise InputError(f"{path}: this folder holds predictions of other classes; choose another folder.")
        return path
    _write_text(path, text)
    return path


def save_results(path: str | Path, methods: Sequence[MethodResult], extra: Mapping[str, Any] | None = None) -> None:
    """Write `results.json`: the values of `extra` (seed, seconds, ...) and, as `methods`, all values of each method."""
    data = dict(extra or {}) | {"methods": {method.name: method.to_dict() for method in methods}}
    _write_text(Path(path), json.dumps(data, indent=1, allow_nan=False) + "\n")


def overlay(
    image: NDArray[np.uint8],  # [H', W', 3]; resized to the labels
    labels: NDArray[np.uint8],  # [H, W]
    vocabulary: Vocabulary,
) -> NDArray[np.uint8]:  # [H, W, 3]
    """Return an image blended with class colours, with dark lines between classes; ignored pixels are unchanged."""
    base = resize_image(image, (labels.shape[0], labels.shape[1]))
    plain, dark = _blends(vocabulary)
    edges = _edges(labels)
    blended = np.empty_like(base)
    step = max(1, BAND_PIXELS // max(1, labels.shape[1]))
    for top in range(0, labels.shape[0], step):
        band = slice(top, top + step)
        for channel in range(3):
            index = labels[band].astype(np.uint16) << 8 | base[band, :, channel]
            blended[band, :, channel] = plain[channel].take(index)
            blended[band, :, channel][edges[band]] = dark[channel].take(index[edges[band]])
    return blended


def _blends(vocabulary: Vocabulary) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:  # [3, 65536] each
    """Return each channel's value in an overlay, and in its dark lines, for every label * 256 + value of an image."""
    base = np.arange(256, dtype=np.float32)[None, None, :]  # [3, label, value]
    blend = (1 - OVERLAY_STRENGTH) * base + OVERLAY_STRENGTH * vocabulary.palette().T[:, :, None]
    tables = blend, blend * DARK_LINES
    for table in tables:
        table[:, vocabulary.ignore] = base[0]
    plain, dark = (np.rint(table).astype(np.uint8).reshape(3, -1) for table in tables)
    return plain, dark


def file_stem(name: str) -> str:
    """Return a frame's or scene's name as a valid file name; raise an `InputError` if it is empty."""
    if not name.strip():
        raise InputError("A prediction needs a name to be saved: give Prediction(..., name='room-1').")
    return "".join(c if c.isalnum() or c in "-_. " else "_" for c in name).strip(". ") or "_"


def cloud_files(name: str, folder: Path, cloud_format: str = "ply") -> tuple[Path, Path]:
    """Return the files that `save_prediction` writes for a cloud: points and labels."""
    stem = file_stem(name)
    return folder / f"{stem}.{cloud_format}", folder / f"{stem}.npy"


def picture_files(name: str, folder: Path) -> tuple[Path, Path]:
    """Return the files that `save_prediction` writes for an image: labels and overlay."""
    stem = file_stem(name)
    return folder / f"{stem}.png", folder / f"{stem}_overlay.png"


def pixel_folder(scene: str, out: Path) -> Path:
    """Return the folder of the labels of a scene's images."""
    return out / "pixels" / file_stem(scene)


def scene_files(scene: Scene, out: Path) -> list[Path]:
    """Return the files of a scene's labels: of its points, if it has any, and of its images."""
    points = [] if scene.images_only else cloud_files(scene.name, out / "points")
    folder = pixel_folder(scene.name, out)
    return [*points, *(path for frame in scene.frames for path in picture_files(frame.name, folder))]


def claim_scenes(outputs: OutputFolder, scenes: Sequence[str], files: Iterable[str] = ()) -> None:
    """Claim the files that a command writes for scenes before the work begins: their labels, and `files` by name.

    No scene is built, so the names of frames are not known yet; `scene_files` of each scene are claimed later.
    """
    require_distinct(scenes)
    points = [path for name in scenes for path in cloud_files(name, outputs.root / "points")]
    folders = [pixel_folder(name, outputs.root) for name in scenes]
    outputs.claim([*points, *(outputs.root / file for file in files)], image_folders=folders)


def require_distinct(names: Sequence[str]) -> None:
    """Raise an `InputError` if files of two scenes would have the same names, such as `room?1` and `room_1`."""
    found: dict[str, str] = {}
    for name in names:
        other = found.setdefault(file_stem(name), name)
        if other != name:
            raise InputError(f"Scenes '{other}' and '{name}' would both be saved as '{file_stem(name)}'; rename one.")


def _save_cloud(prediction: Prediction, folder: Path, cloud_format: str, like: Path | None) -> tuple[Path, ...]:
    prediction = prediction.in_file_order()
    cloud, array = cloud_files(prediction.name, folder, cloud_format)
    save_points(prediction, cloud, like)
    with atomic_file(array) as file:
        np.save(file, prediction.labels)
    return cloud, array


def _save_picture(prediction: Prediction, folder: Path, image: NDArray[np.uint8] | None) -> tuple[Path, ...]:
    labels, blended = picture_files(prediction.name, folder)
    _save_png(labels, prediction.labels)
    if image is None:
        return (labels,)
    _save_png(blended, overlay(image, prediction.labels, prediction.vocabulary))
    return labels, blended


def _write_text(path: Path, text: str) -> None:
    with atomic_file(path) as file:
        file.write(text.encode("utf-8"))


def _save_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    with atomic_file(path) as file:
        Image.fromarray(pixels).save(file, format="PNG", compress_level=PNG_LEVEL)


def _edges(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    edges = np.zeros(labels.shape, dtype=np.bool_)
    edges[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edges[1:] |= labels[1:] != labels[:-1]
    return edges
