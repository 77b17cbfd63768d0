"""Ground truth in place of a teacher, for the upper bound: the same networks with the same budget."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from labelfree.errors import InputError
from labelfree.raster import resize_nearest
from labelfree.scene import Frame


class TruthLabels:
    """Ground-truth labels as a `PixelNamer`; only for the upper bound."""

    def __init__(self, text: Tensor) -> None:
        self.text = text  # [K, E]
        self.notices: tuple[str, ...] = ()

    def labels(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the ground truth of a frame at `size` (height, width); raise an `InputError` if it is missing."""
        truth = frame.load_labels()
        if truth is None:
            raise InputError(f"Frame '{frame.name}' has no ground truth: choose frames with labels for --oracle.")
        return resize_nearest(truth, size)

    def features(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.float16] | None:
        """Return None, since ground truth has no features."""
        return None

    def describe(self) -> str:
        """Return the name for reports."""
        return "ground truth"

    def fingerprint(self) -> str:
        """Return a constant, since ground truth depends on the frame alone."""
        return "truth"
