"""The truth in the place of a teacher: what the same networks reach with the same budget when labels are right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from labelfree.errors import InputError
from labelfree.raster import resize_nearest
from labelfree.scene import Frame


class TruthLabels:
    """Ground-truth labels as a `PixelNamer`; only for the ceiling that results are read against."""

    def __init__(self, text: Tensor) -> None:
        self.text = text  # [K, E]
        self.notices: tuple[str, ...] = ()

    def labels(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the truth of a frame at `size`."""
        truth = frame.load_labels()
        if truth is None:
            raise InputError(f"Frame '{frame.name}' has no ground truth: the oracle needs it.")
        return resize_nearest(truth, size)

    def features(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.float16] | None:
        """Return None: the truth has no features."""
        return None

    def describe(self) -> str:
        """Return one line for reports."""
        return "ground truth"

    def fingerprint(self) -> str:
        """Return a constant: the truth depends on the frame alone."""
        return "truth"
