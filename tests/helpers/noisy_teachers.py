"""A small room with true masks and a namer whose scores are those of the truth with noise and a bias."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from helpers.small_capture import CLASSES, SIZE, make_capture
from labelfree import Vocabulary
from labelfree.config.labels import LabelConfig, PairingConfig
from labelfree.data.fusion import fuse
from labelfree.scene import Frame, Scene
from labelfree.teachers.teachers import Teachers

NAMES = Vocabulary(CLASSES)


class NoisyNamer:
    """Cosines that favour the true class by little, the first class everywhere, and are noisy."""

    notices: tuple[str, ...] = ()

    def __init__(self, noise: float, bias: float) -> None:
        self.text = torch.eye(len(CLASSES), 8)
        self.noise, self.bias = noise, bias

    def scores(self, frame: Frame, size: tuple[int, int]) -> Tensor:
        truth = frame.load_labels()
        assert truth is not None
        random = torch.Generator().manual_seed(int(frame.name))
        hot = one_hot(torch.from_numpy(truth.astype(np.int64)), len(CLASSES)).permute(2, 0, 1)
        found = 0.03 * hot + self.noise * torch.randn(hot.shape, generator=random)
        found[0] += self.bias
        return found

    def labels(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint8]:
        return self.scores(frame, size).argmax(dim=0).to(torch.uint8).numpy()

    def features(self, frame: Frame, size: tuple[int, int]) -> None:
        return None

    def describe(self) -> str:
        return "noisy truth"

    def fingerprint(self) -> str:
        return f"{self.noise} {self.bias}"


class HalfMasks:
    """The truth as masks in the upper half of an image, none in the lower one."""

    notices: tuple[str, ...] = ()

    def mask_ids(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint16]:
        truth = frame.load_labels()
        assert truth is not None
        ids = (truth + 1).astype(np.uint16)
        ids[len(ids) // 2 :] = 0
        return ids

    def features(self, frame: Frame) -> None:
        return None

    def describe(self) -> str:
        return "half masks"

    fingerprint = describe


def noisy_teachers(noise: float = 0.05, bias: float = 0.01) -> Teachers:
    return Teachers(NoisyNamer(noise, bias), HalfMasks(), NAMES, LabelConfig(image_size=SIZE), PairingConfig())


def small_room(name: str = "room", frames: int = 4) -> Scene:
    """Return the room with true labels of its points, from the pixels they were fused from."""
    made = make_capture(frames).frames()
    cloud = fuse(made)
    box = np.array([[-0.65, 0.15, -0.55], [0.45, 1.05, 0.65]])
    points = cloud.points_world
    inside = ((points > box[0]) & (points < box[1])).all(axis=1) & (points[:, 1] < 0.97)
    labels = np.where(inside, 2, np.where(points[:, 1] > 0.97, 1, 0)).astype(np.uint8)
    return Scene(name, points, tuple(made), cloud.colours, labels=labels)
