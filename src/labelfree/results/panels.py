"""Image panels as in the paper's Figures 3 and 4: the result of each step on frames or clouds, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelfree.results.cloud_view import CloudLayer, CloudView, ceiling_height
from labelfree.results.panel_layout import PanelRow, compose, legend_of
from labelfree.results.point_render import ViewPoint, look
from labelfree.vocabulary import Vocabulary

STATIC_POINTS = 250_000
"""Points drawn in a still image; more make no visible difference."""

_GOLDEN_RATIO = 0.618033988749895


@dataclass(frozen=True, eq=False)
class FrameRow:
    """One frame and the result of each step; None for steps that did not run."""

    name: str
    image: NDArray[np.uint8]
    """[H, W, 3]."""
    masks: NDArray[np.uint16] | None = None
    """[H, W] mask ids, 0 = no mask."""
    clip: NDArray[np.uint8] | None = None
    """[H, W] labels."""
    voted: NDArray[np.uint8] | None = None
    """[H, W] labels after the vote inside the masks."""
    ours: NDArray[np.uint8] | None = None
    """[H, W] labels of the trained network."""
    truth: NDArray[np.uint8] | None = None
    """[H', W'] labels."""

    def label_maps(self) -> tuple[NDArray[np.uint8] | None, ...]:
        """Return the label maps in column order."""
        return (self.clip, self.voted, self.ours, self.truth)


FRAME_TITLES = ("input", "SAM masks", "CLIP labels", "labels after the vote", "ours", "ground truth")


def frame_panel(
    rows: Sequence[FrameRow],
    vocabulary: Vocabulary,
    header: str = "",
    titles: tuple[str, str, str, str, str, str] = FRAME_TITLES,
) -> NDArray[np.uint8]:  # [H, W, 3]
    """Return a panel with one row per frame and one column per title; columns without any content are left out."""
    palette = vocabulary.palette()
    cells = [
        (
            row.image,
            None if row.masks is None else mask_colours(row.masks),
            *(None if labels is None else palette[labels] for labels in row.label_maps()),
        )
        for row in rows
    ]
    shown = [column for column in range(len(titles)) if any(line[column] is not None for line in cells)]
    grid = [PanelRow(row.name, tuple(line[column] for column in shown)) for row, line in zip(rows, cells)]
    legend = legend_of([labels for row in rows for labels in row.label_maps() if labels is not None], vocabulary)
    return compose([titles[column] for column in shown], grid, legend, header)


def cloud_panel(
    views: Sequence[CloudView],
    vocabulary: Vocabulary,
    header: str = "",
    cell_size: tuple[int, int] = (280, 340),  # (height, width)
) -> NDArray[np.uint8]:  # [H, W, 3]
    """Return a panel with one row per cloud, seen obliquely from above without its ceiling, and a column per layer."""
    titles = list(dict.fromkeys(layer.title for view in views for layer in view.layers))
    rows = [PanelRow(view.name, _layer_pictures(view, titles, cell_size)) for view in views]
    labels = [layer.labels for view in views for layer in view.layers if layer.labels is not None]
    return compose(titles, rows, legend_of(labels, vocabulary), header, cell_size[1])


def mask_colours(masks: NDArray[np.uint16]) -> NDArray[np.uint8]:  # [H, W] -> [H, W, 3]
    """Return a colour image of mask ids; consecutive ids get distinct colours, pixels without a mask are black."""
    ids = np.arange(int(masks.max(initial=0)) + 1)
    hue = (ids * _GOLDEN_RATIO) % 1.0
    strength = np.array([0.75, 0.45, 0.6])[ids % 3]
    value = np.array([1.0, 0.8, 0.9, 0.65])[ids % 4]
    # Hue to RGB by three shifted triangles (the HSV hexcone).
    ramps = np.abs((hue[:, None] + np.array([0.0, 2 / 3, 1 / 3])) % 1.0 * 6 - 3) - 1
    table = value[:, None] * (1 - strength[:, None] * (1 - np.clip(ramps, 0, 1)))
    table[0] = 0
    return np.rint(table * 255).astype(np.uint8)[masks]


def _layer_pictures(
    view: CloudView, titles: Sequence[str], size: tuple[int, int]
) -> tuple[NDArray[np.uint8] | None, ...]:
    ceiling = ceiling_height(view)
    shown = view if ceiling is None else view.take(view.heights() < ceiling)
    shown = shown.thinned(STATIC_POINTS)
    layers: dict[str, CloudLayer] = {layer.title: layer for layer in shown.layers}
    sight = look(shown.points_world, size, ViewPoint(view.up_world))
    return tuple(sight.paint(layers[title].colours) if title in layers else None for title in titles)
