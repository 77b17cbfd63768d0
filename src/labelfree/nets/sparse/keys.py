"""Pack voxel coordinates into one sortable integer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from labelfree.errors import InputError

AXIS_BITS = 18
BATCH_BITS = 9
MARGIN = 64
"""Free cells around the occupied box, so that neighbours never wrap into the next axis; a multiple of every stride."""


@dataclass(frozen=True, eq=False)
class KeyLayout:
    """A packing of (batch, x, y, z) into 9 + 18 + 18 + 18 bits from `origin`, so that keys sort like coordinates.

    `origin` is a multiple of MARGIN: clearing the low bits of a packed axis rounds its coordinate down to a stride.
    """

    origin: Tensor  # [3] int64

    @classmethod
    def around(
        cls,
        coords: Tensor,  # [V, 4] integer (batch, x, y, z)
    ) -> KeyLayout:
        """Return the layout for these coordinates; raises an `InputError` if their box or the batch is too large."""
        if coords.shape[0] == 0:
            return cls(torch.zeros(3, dtype=torch.int64, device=coords.device))
        low, high = coords[:, 1:].long().aminmax(dim=0)
        first, last = coords[:, 0].aminmax()
        origin = torch.div(low, MARGIN, rounding_mode="floor") * MARGIN - MARGIN
        widest = int((high - origin).amax()) + MARGIN
        if widest >= 1 << AXIS_BITS:
            raise InputError(
                f"The points extend over {widest - 2 * MARGIN} voxels, more than {(1 << AXIS_BITS) - 3 * MARGIN}: "
                "use larger voxels or cut the cloud."
            )
        if int(first) < 0 or int(last) >= 1 << BATCH_BITS:
            raise InputError(f"Batch indices run from {int(first)} to {int(last)}: use 0 to {(1 << BATCH_BITS) - 1}.")
        return cls(origin)

    def pack(
        self,
        coords: Tensor,  # [V, 4] integer
    ) -> Tensor:  # [V] int64
        """Return one key per coordinate."""
        batch, x, y, z = coords.long().unbind(1)
        ox, oy, oz = self.origin.unbind()
        return _join(batch, x - ox, y - oy, z - oz)

    def unpack(
        self,
        keys: Tensor,  # [V] int64
    ) -> Tensor:  # [V, 4] int64
        """Return the coordinates of keys."""
        axis = (1 << AXIS_BITS) - 1
        cells = [(keys >> (2 * AXIS_BITS)) & axis, (keys >> AXIS_BITS) & axis, keys & axis]
        return torch.stack([keys >> (3 * AXIS_BITS), *(c + o for c, o in zip(cells, self.origin.unbind()))], dim=1)


def key_offset(dx: int, dy: int, dz: int) -> int:
    """Return the difference of keys for a step of (dx, dy, dz) cells."""
    return (((dx << AXIS_BITS) + dy) << AXIS_BITS) + dz


def round_down(
    keys: Tensor,  # [V] int64
    stride: int,  # a power of two up to MARGIN
) -> Tensor:  # [V] int64
    """Return the keys of the coordinates rounded down to multiples of `stride`."""
    return keys & ~key_offset(stride - 1, stride - 1, stride - 1)


def _join(batch: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    return (((((batch << AXIS_BITS) + x) << AXIS_BITS) + y) << AXIS_BITS) + z
