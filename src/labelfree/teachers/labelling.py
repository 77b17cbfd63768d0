"""Compute labels, masks and features of a frame with the two teachers, and cache them on disk."""

from __future__ import annotations

import hashlib
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.method.clip_labels import class_scores, clip_labels, labels_from_scores, upsample_scores
from labelfree.method.extensions.maskclip import prompt_denoise
from labelfree.method.latent_consistency import random_orthogonal
from labelfree.scene import Frame
from labelfree.teachers.cache import CacheShelf, TeacherCache
from labelfree.teachers.clip import DenseClip
from labelfree.teachers.prompts import TEMPLATES
from labelfree.teachers.sam import SamTeacher
from labelfree.teachers.text import TextEmbeddings
from labelfree.vocabulary import Vocabulary

Size = tuple[int, int]


class PixelNamer(Protocol):
    """A teacher that labels pixels: CLIP, or label maps of any other model."""

    text: Tensor  # [K, E] unit class embeddings: the networks' frozen classifier
    notices: tuple[str, ...]  # warnings about this teacher for readers of the results

    def labels(self, frame: Frame, size: Size) -> NDArray[np.uint8]:
        """Return the label of every pixel [H, W] (Eq. 1)."""

    def features(self, frame: Frame, size: Size) -> NDArray[np.float16] | None:
        """Return dense features [E, h, w] that cover the image, or None if the teacher has none."""

    def describe(self) -> str:
        """Return a one-line description for reports."""

    def fingerprint(self) -> str:
        """Return a digest of everything the labels depend on besides the image."""


@runtime_checkable
class PixelScorer(Protocol):
    """A teacher that gives class scores of pixels."""

    def scores(self, frame: Frame, size: Size) -> Tensor:  # [K, H, W]
        """Return the class scores of every pixel."""


class MaskMaker(Protocol):
    """A teacher that gives masks: SAM, or mask-id maps of any other model."""

    notices: tuple[str, ...]

    def mask_ids(self, frame: Frame, size: Size) -> NDArray[np.uint16]:
        """Return the mask id of every pixel [H, W], 0 = no mask."""

    def features(self, frame: Frame) -> NDArray[np.float16] | None:
        """Return phi_f of the neck features [D, h, w] that cover the image (Eq. 7), or None if there are none."""

    def describe(self) -> str:
        """Return a one-line description for reports."""

    def fingerprint(self) -> str:
        """Return a digest of everything the masks depend on besides the image."""


class ClipNamer:
    """CLIP with a vocabulary; features are cached per image, so that other class names need no second pass."""

    def __init__(
        self,
        clip: DenseClip,
        vocabulary: Vocabulary,
        cache: TeacherCache,
        denoise_threshold: float = 0.0,
    ) -> None:
        self.clip = clip
        self.cache = cache
        self.denoise_threshold = denoise_threshold
        self.notices = tuple(clip.warnings)
        self.embeddings = _cached_embeddings(clip, vocabulary, cache)
        self.text = self.embeddings.class_vectors()

    def labels(self, frame: Frame, size: Size) -> NDArray[np.uint8]:
        """Return dense CLIP labels [H, W] of the frame at `size` (Eq. 1)."""
        digest = frame.image.digest()
        shelf = self.cache.shelf("labels", names=self.fingerprint(), size=size)
        stored = shelf.picture(digest)
        if stored is not None:
            return stored
        if self.denoise_threshold:
            labels = labels_from_scores(self.scores(frame, size)).numpy()
        else:
            labels = clip_labels(*self._scored(frame, size)).numpy()
        shelf.put_picture(digest, labels)
        return labels

    def scores(self, frame: Frame, size: Size) -> Tensor:  # [K, H, W]
        """Return the class scores whose argmax is the label: cosines, after prompt denoising if it is on."""
        features, text, _, owners, extent = self._scored(frame, size)
        scores = class_scores(features, text, owners)
        if self.denoise_threshold:
            scores = prompt_denoise(scores, self.denoise_threshold)
        return upsample_scores(scores, size, extent)

    def _scored(self, frame: Frame, size: Size) -> tuple[Tensor, Tensor, Size, Tensor, tuple[float, float]]:
        """Return the inputs of Eq. 1 for a frame: patch features, text embeddings, size, owners, extent of the grid."""
        features = torch.from_numpy(self._patch_features(frame, size, frame.image.digest()))
        return features, self.embeddings.vectors, size, self.embeddings.owners, self.clip.grid_extent(size)

    def features(self, frame: Frame, size: Size) -> NDArray[np.float16] | None:
        """Return dense CLIP features [E, h, w] of the frame at `size`."""
        patches = self._patch_features(frame, size, frame.image.digest())
        rows, columns = (max(1, round(covered)) for covered in self.clip.grid_extent(size))
        return np.ascontiguousarray(patches[:rows, :columns].transpose(2, 0, 1))

    def describe(self) -> str:
        """Return a one-line description for reports."""
        return self.clip.describe()

    def fingerprint(self) -> str:
        """Return a digest of the weights, the options and the text embeddings."""
        text = _digest(self.embeddings.vectors.numpy().tobytes() + self.embeddings.owners.numpy().tobytes())
        return f"{self.clip.fingerprint()[:16]}-{text}-{self.denoise_threshold}"

    def _patch_features(self, frame: Frame, size: Size, digest: str) -> NDArray[np.float16]:  # [h, w, E]
        shelf = self.cache.shelf("clip", model=self.clip.fingerprint(), size=size)
        stored = shelf.arrays(digest)
        if stored is None:
            features = self.clip.features(frame.resized(size).load_image()).to(torch.float16).numpy()
            stored = {"features": features}
            shelf.put_arrays(digest, stored)
        return stored["features"]


class SamMasks:
    """SAM's everything mode and its projected neck features, cached per image."""

    def __init__(self, sam: SamTeacher, cache: TeacherCache, width: int = 64, projection_seed: int = 0) -> None:
        self.sam = sam
        self.cache = cache
        self.width, self.projection_seed = width, projection_seed
        self.notices = tuple(sam.warnings)

    def mask_ids(self, frame: Frame, size: Size) -> NDArray[np.uint16]:
        """Return the id of the smallest mask at each pixel of the frame at `size` (Eq. 3)."""
        digest = frame.image.digest()
        shelf = self.cache.shelf("masks", model=self.sam.fingerprint(), size=size, grid=frame.size)
        stored = shelf.picture(digest)
        if stored is None:
            embedding = self.sam.encode(frame.load_image())
            stored = self.sam.segment(embedding, size).numpy().astype(np.uint16)
            self._keep_features(embedding.features, digest, frame.size)
            shelf.put_picture(digest, stored)
        return stored.astype(np.uint16)

    def features(self, frame: Frame) -> NDArray[np.float16] | None:
        """Return phi_f of the neck features [D, h, w] (Eq. 7); phi_f is frozen, random and orthogonal."""
        digest = frame.image.digest()
        stored = self._shelf(frame.size).arrays(digest)
        if stored is None:
            stored = self._keep_features(self.sam.encode(frame.load_image()).features, digest, frame.size)
        return stored["features"]

    def describe(self) -> str:
        """Return a one-line description for reports."""
        return self.sam.describe()

    def fingerprint(self) -> str:
        """Return a digest of the weights, the options and the projection."""
        return f"{self.sam.fingerprint()[:16]}-{self.width}-{self.projection_seed}"

    def _shelf(self, grid: Size) -> CacheShelf:
        return self.cache.shelf("sam", features=self.fingerprint(), grid=grid)

    def _keep_features(self, features: Tensor, digest: str, grid: Size) -> dict[str, NDArray[np.float16]]:
        rows, columns = (max(1, round(covered)) for covered in self.sam.grid_extent(grid))
        neck = features[:, :rows, :columns].float()
        projected = torch.einsum("chw,cd->dhw", neck, random_orthogonal(len(neck), self.width, self.projection_seed))
        stored = {"features": np.ascontiguousarray(projected.to(torch.float16).numpy())}
        self._shelf(grid).put_arrays(digest, stored)
        return stored


def _cached_embeddings(clip: DenseClip, vocabulary: Vocabulary, cache: TeacherCache) -> TextEmbeddings:
    """Return the cached text embeddings of a vocabulary: 85 sentences per name take a minute on a CPU."""
    shelf = cache.shelf("text", model=clip.fingerprint(), words=vocabulary.synonyms, templates=TEMPLATES)
    stored = shelf.arrays("embeddings")
    if stored is None:
        embeddings = clip.embed(vocabulary)
        stored = {"vectors": embeddings.vectors.numpy(), "owners": embeddings.owners.numpy()}
        shelf.put_arrays("embeddings", stored)
    return TextEmbeddings(torch.from_numpy(stored["vectors"]), torch.from_numpy(stored["owners"]))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
