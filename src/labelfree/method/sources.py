"""Define the label sources of Eq. 6, the granularity of their draw and the choice of own labels; without torch."""

from __future__ import annotations

from typing import Literal, get_args

Source = Literal["clip_2d", "clip_3d", "net_2d", "net_3d"]
"""Source of a network's labels in stage two: P*_x, P*_p (the same labels on points), Phat*_x, Phat*_p."""

ALL_SOURCES: tuple[Source, ...] = get_args(Source)
"""The set R of Eq. 6: 50 % CLIP, 25 % the 2D network, 25 % the 3D network."""

Granularity = Literal["batch", "sample", "pixel"]
"""Unit of one draw of a source: the batch, each sample, or each pixel and paired point."""

Pick = Literal["argmax", "draw"]
"""Choice of a network's own label: its most probable class, or a class drawn from its posterior."""
