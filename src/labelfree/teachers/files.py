"""Read teacher outputs from files: label or score maps in place of CLIP, mask-id maps in place of SAM."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from labelfree.errors import InputError
from labelfree.files.documents import map_array
from labelfree.method.latent_consistency import random_orthogonal
from labelfree.method.resample import resample
from labelfree.raster import MapFile, resize_nearest
from labelfree.scene import Frame
from labelfree.vocabulary import IGNORE_LABEL, Vocabulary
from labelfree.weights.headers import require_whole

CLASSIFIER_WIDTH = 512
"""Width of the networks' classifier without text embeddings, as in the paper."""

SCORE_SUFFIXES = (".npy", ".safetensors")

MOST_VALUES = 1 << 29
"""Largest number of values of a score map (2 GiB); one score per patch is enough, because maps are resized."""

MOST_MASKS = 65535


class LabelFiles:
    """Labels of another teacher: per frame NAME.png with class ids (255 = ignored), or NAME.npy / .safetensors scores.

    With several scenes the files lie in SCENE/. A score map is [K, h, w]; a safetensors file stores it as `scores`.
    Without text embeddings, the networks' frozen classifier consists of K orthonormal random vectors.
    """

    def __init__(self, folder: Path, vocabulary: Vocabulary) -> None:
        self.folder = folder
        self.classes = len(vocabulary)
        self.text = random_orthogonal(max(CLASSIFIER_WIDTH, self.classes), self.classes).T.contiguous()
        self.notices: tuple[str, ...] = ()

    def labels(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the labels [H, W] of a frame, resized to `size`; raises an `InputError` for an invalid file."""
        path = find_frame(self.folder, frame, (".png", *SCORE_SUFFIXES))
        if path.suffix == ".png":
            stored = MapFile(path).load()
            _require_map(path, stored, f"class ids 0..{self.classes - 1} or {IGNORE_LABEL}")
            wrong = (stored < 0) | ((stored >= self.classes) & (stored != IGNORE_LABEL))
            if wrong.any():
                raise InputError(
                    f"{path}: found {stored[wrong][0]}; expected class ids 0..{self.classes - 1} or {IGNORE_LABEL}, "
                    "one channel."
                )
            return resize_nearest(stored.astype(np.uint8), size)
        return resample(_load_scores(path, self.classes), size).argmax(dim=0).to(torch.uint8).numpy()

    def features(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.float16] | None:
        """Return None, because files contain no features."""
        return None

    def describe(self) -> str:
        """Return a one-line description for reports."""
        return f"label files in {self.folder}"

    def fingerprint(self) -> str:
        """Return a digest of the names, sizes and times of the folder's files."""
        return folder_digest(self.folder)


class MaskFiles:
    """Masks of another teacher: per frame NAME.png or SCENE/NAME.png, uint8 or uint16 mask ids from 1, 0 = no mask."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notices: tuple[str, ...] = (
            "Masks come from files, which contain no SAM features: training omits the latent consistency (Eq. 7).",
        )

    def mask_ids(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint16]:
        """Return the mask ids [H, W] of a frame, resized to `size`; raises an `InputError` for an invalid file."""
        path = find_frame(self.folder, frame, (".png",))
        stored = MapFile(path).load()
        _require_map(path, stored, f"mask ids 0..{MOST_MASKS}")
        if stored.size and not 0 <= stored.min() <= stored.max() <= MOST_MASKS:
            wrong = stored.min() if stored.min() < 0 else stored.max()
            raise InputError(f"{path}: found {wrong}; expected mask ids 0..{MOST_MASKS}, 0 = no mask.")
        return resize_nearest(stored, size).astype(np.uint16)

    def features(self, frame: Frame) -> NDArray[np.float16] | None:
        """Return None, because files contain no features."""
        return None

    def describe(self) -> str:
        """Return a one-line description for reports."""
        return f"mask files in {self.folder}"

    def fingerprint(self) -> str:
        """Return a digest of the names, sizes and times of the folder's files."""
        return folder_digest(self.folder)


def find_frame(folder: Path, frame: Frame, suffixes: tuple[str, ...]) -> Path:
    """Return the file of a frame with one of the suffixes: FOLDER/SCENE/FRAME or, for one scene, FOLDER/FRAME.

    Raises an `InputError` if there is none.
    """
    places = (folder / frame.scene, folder) if frame.scene and (folder / frame.scene).is_dir() else (folder,)
    for place in places:
        for suffix in suffixes:
            path = place / f"{frame.name}{suffix}"
            if path.is_file():
                return path
    expected = " or ".join(frame.name + suffix for suffix in suffixes)
    raise InputError(f"{places[0]}: no file for frame '{frame.name}'; expected {expected}.")


def folder_digest(folder: Path) -> str:
    """Return a digest of names, sizes and modification times of the files in a folder and its scene folders."""
    files = sorted(path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_file())
    rows = [f"{p.relative_to(folder)} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in files]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def _require_map(path: Path, stored: NDArray[Any], expected: str) -> None:
    """Raise an `InputError` if a map is not one channel of integers."""
    if stored.ndim != 2 or 0 in stored.shape:
        raise InputError(f"{path}: found shape {stored.shape}; expected {expected}, one channel.")
    if stored.dtype.kind not in "biu":
        raise InputError(f"{path}: found {stored.dtype} values; expected {expected}, as integers.")


def _load_scores(path: Path, classes: int) -> Tensor:  # [K, h, w]
    """Return a score map; its header is checked before its values are read."""
    try:
        if path.suffix == ".npy":
            return _checked_scores(path, torch.from_numpy(_mapped_scores(path, classes)))
        require_whole(path, "export it again")
        with safe_open(path, framework="pt") as stored:
            if "scores" not in stored.keys():  # noqa: SIM118
                raise InputError(f"{path}: holds no tensor 'scores'; save the map under that name.")
            _require_scores(path, tuple(stored.get_slice("scores").get_shape()), classes)
            return _checked_scores(path, stored.get_tensor("scores"))
    except InputError:
        raise
    except (
        ArithmeticError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        SafetensorError,
        SyntaxError,
        EOFError,
        RuntimeError,
    ) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not a readable score map ({reason}); export it again.") from error


def _mapped_scores(path: Path, classes: int) -> NDArray[np.float32]:
    stored = map_array(path)
    if stored.dtype.kind not in "fiu":
        raise InputError(f"{path}: scores are {stored.dtype}; save them as real numbers, such as float32.")
    _require_scores(path, stored.shape, classes)
    with np.errstate(over="ignore"):  # values beyond float32 become infinite, which is an error
        return np.array(stored, dtype=np.float32)


def _require_scores(path: Path, shape: tuple[int, ...], classes: int) -> None:
    if len(shape) != 3 or shape[0] != classes or 0 in shape:
        raise InputError(f"{path}: scores are {list(shape)}; expected [{classes}, h, w], one per class.")
    if math.prod(shape) > MOST_VALUES:
        raise InputError(f"{path}: scores are {list(shape)}, more than {MOST_VALUES} values; save smaller maps.")


def _checked_scores(path: Path, scores: Tensor) -> Tensor:
    if scores.is_complex() or scores.dtype == torch.bool:
        raise InputError(f"{path}: scores are {scores.dtype}; save them as real numbers, such as float32.")
    scores = scores.float()
    if not torch.isfinite(scores).all():
        raise InputError(f"{path}: scores hold NaN or infinite values; replace them, for example by the lowest score.")
    return scores
