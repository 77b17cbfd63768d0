"""Predictions as files that other programs open: coloured PLY, label arrays, label and overlay pictures, a legend."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelfree.atomic import atomic_file
from labelfree.data.ply import write_ply
from labelfree.errors import InputError
from labelfree.evaluation import MethodResult
from labelfree.prediction import Prediction
from labelfree.raster import resize_image
from labelfree.vocabulary import Vocabulary

LEGEND_FILE = "classes.json"

OVERLAY_STRENGTH = 0.6
"""Share of the class colour in an overlay."""


def save_prediction(
    prediction: Prediction,
    folder: str | Path,
    image: NDArray[np.uint8] | None = None,  # [H, W, 3], any size; for the overlay of a 2D prediction
) -> tuple[Path, ...]:
    """Write one prediction and, once per folder, its legend; return the files written.

    A cloud NAME gives `NAME.ply` (class colours, labels, scores) and `NAME.npy` (uint8 labels in point order).
    A picture NAME gives `NAME.png` (uint8 labels, 255 = none) and, with `image`, `NAME_overlay.png`.
    """
    folder = Path(folder)
    save_legend(prediction.vocabulary, folder)
    stem = file_stem(prediction.name)
    if prediction.is_3d:
        return _save_cloud(prediction, folder, stem)
    return _save_picture(prediction, folder, stem, image)


def save_legend(vocabulary: Vocabulary, folder: str | Path) -> Path:
    """Write `classes.json`, the order of whose classes gives the labels; `--classes` reads it back."""
    path = Path(folder) / LEGEND_FILE
    text = json.dumps(vocabulary.to_dict(), indent=1) + "\n"
    if path.is_file():
        if path.read_text(encoding="utf-8") != text:
            raise InputError(f"{path}: this folder holds predictions of other classes; write these to another folder.")
        return path
    _write_text(path, text)
    return path


def save_results(path: str | Path, methods: Sequence[MethodResult], extra: Mapping[str, Any] | None = None) -> None:
    """Write `results.json`: `extra` (seed, seconds, ...) and under `methods` every number of each method."""
    data = dict(extra or {}) | {"methods": {method.name: method.to_dict() for method in methods}}
    _write_text(Path(path), json.dumps(data, indent=1, allow_nan=False) + "\n")


def overlay(
    image: NDArray[np.uint8],  # [H', W', 3]; resized to the labels
    labels: NDArray[np.uint8],  # [H, W]
    vocabulary: Vocabulary,
) -> NDArray[np.uint8]:  # [H, W, 3]
    """Blend class colours over a picture, dark lines where the class changes; unlabelled pixels stay."""
    base = resize_image(image, (labels.shape[0], labels.shape[1])).astype(np.float32)
    blend = (1 - OVERLAY_STRENGTH) * base + OVERLAY_STRENGTH * vocabulary.palette()[labels]
    blend[_edges(labels)] *= 0.35
    blend = np.where((labels == vocabulary.ignore)[..., None], base, blend)
    return np.rint(blend).astype(np.uint8)


def file_stem(name: str) -> str:
    """Return a frame's or scene's name as one that can stand in a file name."""
    if not name.strip():
        raise InputError("A prediction needs a name to be saved: give Prediction(..., name='room-1').")
    return "".join(c if c.isalnum() or c in "-_. " else "_" for c in name).strip(". ") or "_"


def _save_cloud(prediction: Prediction, folder: Path, stem: str) -> tuple[Path, ...]:
    if prediction.points_world is None:
        raise InputError(f"Prediction '{prediction.name}' has no points: give points_world to save it as PLY.")
    ply, array = folder / f"{stem}.ply", folder / f"{stem}.npy"
    write_ply(
        ply,
        prediction.points_world,
        colours=prediction.colours(),
        labels=prediction.labels,
        scores=prediction.scores,
    )
    with atomic_file(array) as file:
        np.save(file, prediction.labels)
    return ply, array


def _save_picture(prediction: Prediction, folder: Path, stem: str, image: NDArray[np.uint8] | None) -> tuple[Path, ...]:
    written = [folder / f"{stem}.png"]
    _save_png(written[0], prediction.labels)
    if image is not None:
        written.append(folder / f"{stem}_overlay.png")
        _save_png(written[1], overlay(image, prediction.labels, prediction.vocabulary))
    return tuple(written)


def _write_text(path: Path, text: str) -> None:
    with atomic_file(path) as file:
        file.write(text.encode("utf-8"))


def _save_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    with atomic_file(path) as file:
        Image.fromarray(pixels).save(file, format="PNG")


def _edges(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    edges = np.zeros(labels.shape, dtype=np.bool_)
    edges[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edges[1:] |= labels[1:] != labels[:-1]
    return edges
