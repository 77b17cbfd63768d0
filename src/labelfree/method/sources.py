"""The label sources of Eq. 6 and how often they are drawn; importable without torch."""

from __future__ import annotations

from typing import Literal, get_args

Source = Literal["clip_2d", "clip_3d", "net_2d", "net_3d"]
"""Where a network's labels may come from in stage two: P*_x, P*_p (the same labels on points), Phat*_x, Phat*_p."""

ALL_SOURCES: tuple[Source, ...] = get_args(Source)
"""The set R of Eq. 6: 50 % CLIP, 25 % the 2D network, 25 % the 3D network."""

Granularity = Literal["batch", "sample", "pixel"]
"""One draw of a source for the batch, for each sample, or for each pixel and each paired point."""
