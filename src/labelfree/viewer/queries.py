"""Similarity of points to any words: features in CLIP's space, and the embedding of the words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from labelfree.errors import InputError
from labelfree.labelling.inference import point_features_in_text_space
from labelfree.labelling.openscene import fuse_scene
from labelfree.nets.segmenters import Segmenter3D
from labelfree.scene import Scene
from labelfree.teachers.teachers import Teachers
from labelfree.teachers.text import EncodeText, embed_name

LONGEST_WORDS = 200
"""Largest number of characters of a query."""


@dataclass(frozen=True, eq=False)
class TextSpaceFeatures:
    """Features of a cloud in CLIP's space; several points may share one."""

    vectors: Tensor
    """[M, E] float16, unit length."""
    row: NDArray[np.int64]
    """[N] row of each point, -1 = none."""

    def similarity(self, text: Tensor, classes: Tensor) -> NDArray[np.float32]:  # [E] unit, [K, E] unit -> [N]
        """Return each point's cosine with a text less its mean cosine with the classes; NaN without a feature.

        A feature that is near to all texts, as many are, is then not near to this one.
        """
        if len(text) != self.vectors.shape[1]:
            raise InputError(
                f"The words have {len(text)} values but the points {self.vectors.shape[1]}: view the run with the CLIP "
                "it was trained with."
            )
        cosines = (self.vectors.float() @ (text.float() - classes.float().mean(dim=0))).numpy()
        padded = np.append(cosines, np.float32(np.nan))
        return np.asarray(padded[self.row], np.float32)


def network_features(net: Segmenter3D, scene: Scene) -> TextSpaceFeatures:
    """Return the features of the 3D network's semantic head, one per voxel."""
    vectors, voxel = point_features_in_text_space(net, scene)
    return TextSpaceFeatures(functional.normalize(vectors, dim=-1).half(), voxel.numpy())


def image_features(scene: Scene, teachers: Teachers) -> TextSpaceFeatures:
    """Return CLIP's dense image features, averaged over the images that see a point; other points have none."""
    fused = fuse_scene(scene, teachers)
    row = np.full(len(scene), -1, np.int64)
    row[fused.point.numpy()] = np.arange(len(fused))
    return TextSpaceFeatures(functional.normalize(fused.features, dim=-1).half(), row)


def embedded_words(words: str, encode: EncodeText) -> Tensor:  # [E] unit
    """Return the embedding of words, as class names are embedded. Raises an `InputError` if they are too long."""
    plain = " ".join(words.split())
    if not plain or len(plain) > LONGEST_WORDS:
        raise InputError(f"The search has {len(plain)} characters: give 1 to {LONGEST_WORDS}.")
    with torch.inference_mode():
        return embed_name(plain, encode).cpu()
