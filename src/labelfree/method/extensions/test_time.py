"""Move a cloud in the ways that training moves it, so that predictions can be averaged over the moves.

Test-time augmentation: Shanmugam et al., Better aggregation in test-time augmentation, ICCV 2021. A cloud is turned
about the vertical, mirrored, and shifted by parts of a voxel, which divides its points among voxels in another way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

SHIFTS = ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, 0.0, 0.5), (0.0, 0.5, 0.0))
"""Shifts in voxels, taken in turn."""


@dataclass(frozen=True)
class Move:
    """A turn about z, a reflection of x and a shift."""

    angle: float
    """Radians."""
    mirror: bool
    shift_m: tuple[float, float, float]

    def apply(self, points_up: Tensor) -> Tensor:  # [N, 3] metres, z up -> [N, 3]
        """Return the moved points."""
        cosine, sine, side = math.cos(self.angle), math.sin(self.angle), -1.0 if self.mirror else 1.0
        turn = torch.tensor([[side * cosine, side * sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        return points_up @ turn.to(points_up) + torch.tensor(self.shift_m).to(points_up)


def moves(count: int, voxel_m: float) -> Iterator[Move]:
    """Return evenly spaced turns, every second one mirrored; the first is the identity."""
    for index in range(count):
        x, y, z = (voxel_m * part for part in SHIFTS[index % len(SHIFTS)])
        yield Move(2 * math.pi * index / count, index % 2 == 1, (x, y, z))
