"""Teachers that are files on disk: label or score maps in place of CLIP, mask-id maps in place of SAM."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from labelfree.errors import InputError
from labelfree.method.latent_consistency import random_orthogonal
from labelfree.method.resample import resample
from labelfree.raster import MapFile, resize_nearest
from labelfree.scene import Frame
from labelfree.vocabulary import IGNORE_LABEL, Vocabulary

CLASSIFIER_WIDTH = 512
"""Width of the networks' classifier where no CLIP gives text embeddings: the paper's."""

SCORE_SUFFIXES = (".npy", ".safetensors")


class LabelFiles:
    """Labels by another teacher: per frame NAME.png of class ids (255 = ignored), or NAME.npy / .safetensors scores.

    Where there are several scenes the files lie in SCENE/.

    A score map is [K, h, w]; a safetensors file holds it under `scores`. Without text embeddings the networks' frozen
    classifier is K orthonormal random vectors.
    """

    def __init__(self, folder: Path, vocabulary: Vocabulary) -> None:
        self.folder = folder
        self.classes = len(vocabulary)
        self.text = random_orthogonal(max(CLASSIFIER_WIDTH, self.classes), self.classes).T.contiguous()
        self.notices: tuple[str, ...] = ()

    def labels(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the labels [H, W] of a frame, resized to `size`."""
        path = find_frame(self.folder, frame, (".png", *SCORE_SUFFIXES))
        if path.suffix == ".png":
            stored = MapFile(path).load()
            wrong = (stored >= self.classes) & (stored != IGNORE_LABEL)
            if stored.ndim != 2 or wrong.any():
                found = int(stored[wrong][0]) if stored.ndim == 2 else f"shape {stored.shape}"
                raise InputError(
                    f"{path}: found {found}; expected class ids 0..{self.classes - 1} or {IGNORE_LABEL}, one channel."
                )
            return resize_nearest(stored.astype(np.uint8), size)
        scores = _load_scores(path)
        if scores.ndim != 3 or scores.shape[0] != self.classes:
            raise InputError(
                f"{path}: scores are {list(scores.shape)}; expected [{self.classes}, h, w], one per class."
            )
        return resample(torch.from_numpy(scores), size).argmax(dim=0).to(torch.uint8).numpy()

    def features(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.float16] | None:
        """Return None: files carry no features."""
        return None

    def describe(self) -> str:
        """Return one line for reports."""
        return f"label files in {self.folder}"

    def fingerprint(self) -> str:
        """Return a digest of the folder's files and their times."""
        return folder_digest(self.folder)


class MaskFiles:
    """Masks by another teacher: per frame NAME.png or SCENE/NAME.png, uint8 or uint16 mask ids from 1, 0 = no mask."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notices: tuple[str, ...] = (
            "Masks come from files, which carry no SAM features: training leaves the latent consistency (Eq. 7) out.",
        )

    def mask_ids(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint16]:
        """Return the mask ids [H, W] of a frame, resized to `size`."""
        path = find_frame(self.folder, frame, (".png",))
        stored = MapFile(path).load()
        if stored.ndim != 2:
            raise InputError(f"{path}: found shape {stored.shape}; expected one channel of mask ids.")
        return resize_nearest(stored, size).astype(np.uint16)

    def features(self, frame: Frame) -> NDArray[np.float16] | None:
        """Return None: files carry no features."""
        return None

    def describe(self) -> str:
        """Return one line for reports."""
        return f"mask files in {self.folder}"

    def fingerprint(self) -> str:
        """Return a digest of the folder's files and their times."""
        return folder_digest(self.folder)


def find_frame(folder: Path, frame: Frame, suffixes: tuple[str, ...]) -> Path:
    """Return the file of a frame, whichever suffix it has: FOLDER/SCENE/FRAME or, for one scene, FOLDER/FRAME."""
    places = (folder / frame.scene, folder) if frame.scene and (folder / frame.scene).is_dir() else (folder,)
    for place in places:
        for suffix in suffixes:
            path = place / f"{frame.name}{suffix}"
            if path.is_file():
                return path
    expected = " or ".join(frame.name + suffix for suffix in suffixes)
    raise InputError(f"{places[0]}: no file for frame '{frame.name}'; expected {expected}.")


def folder_digest(folder: Path) -> str:
    """Return a digest of names, sizes and modification times of the files in a folder and in its scenes' folders."""
    files = sorted(path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_file())
    rows = [f"{p.relative_to(folder)} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in files]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def _load_scores(path: Path) -> NDArray[Any]:
    try:
        scores = np.load(path, allow_pickle=False) if path.suffix == ".npy" else load_file(path)["scores"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: not a readable score map ({error}).") from error
    return np.asarray(scores, dtype=np.float32)
