from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree import InputError
from labelfree.raster import ImageArray
from labelfree.scene import Frame
from labelfree.training.labelled_scenes import Teachers

SIZE = (1, 4)
FRAME = Frame("0", ImageArray(np.zeros((*SIZE, 3), np.uint8)), np.eye(3), np.eye(4), SIZE)
COSINES = torch.tensor([[0.03, 0.01, 0.01, 0.0], [0.01, 0.014, 0.014, 0.1]])  # [K, W]


class Namer:
    text = torch.eye(2)
    notices = ()

    def labels(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint8]:
        return COSINES.argmax(0).to(torch.uint8).view(size).numpy()

    def features(self, frame: Frame, size: tuple[int, int]) -> None:
        return None

    def describe(self) -> str:
        return "a stub"

    def fingerprint(self) -> str:
        return "stub"


class Scorer(Namer):
    def scores(self, frame: Frame, size: tuple[int, int]) -> Tensor:
        return COSINES.view(2, *size)


class Masks:
    notices = ()

    def mask_ids(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint16]:
        return np.array([[1, 1, 1, 0]], np.uint16)

    def features(self, frame: Frame) -> None:
        return None

    def describe(self) -> str:
        return "a stub"

    def fingerprint(self) -> str:
        return "stub"


def test_a_hard_vote_counts_labels_and_a_soft_one_how_sure_they_are() -> None:
    assert Teachers(Scorer(), Masks()).refined_labels(FRAME, SIZE).tolist() == [[1, 1, 1, 1]]
    assert Teachers(Scorer(), Masks(), soft_vote=True).refined_labels(FRAME, SIZE).tolist() == [[0, 0, 0, 1]]


def test_a_soft_vote_needs_scores() -> None:
    with pytest.raises(InputError, match=r"labels\.soft_vote is true but the labels come from a stub"):
        Teachers(Namer(), Masks(), soft_vote=True)
