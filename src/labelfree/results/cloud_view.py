"""A labelled cloud for display: several colourings of one set of points, subsampled for the browser."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError
from labelfree.results.point_render import ViewPoint
from labelfree.vocabulary import Vocabulary

MAX_SHOWN_POINTS = 60_000
"""Number of points that a browser rotates smoothly without a strong GPU."""

CAMERA_DISTANCE = 1.25
"""Distance of the initial viewpoint from the middle of the cloud, in diagonals of the cloud."""

STRAY_SHARE = 0.005
"""Share of the points at each end of an axis that the initial view may leave out."""

CEILING_SLAB = 0.08
"""Share of a room's height, from the top, that is searched for a ceiling."""

CEILING_SHARE = 0.12
"""Share of the points that must lie there to be a ceiling; walls alone contribute about 0.05."""


@dataclass(frozen=True, eq=False)
class CloudLayer:
    """One colouring of a cloud."""

    title: str
    colours: NDArray[np.uint8]
    """[N, 3] RGB."""
    labels: NDArray[np.uint8] | None = None
    """[N] if the colours show classes, so that classes can be switched on and off."""


@dataclass(frozen=True, eq=False)
class CloudView:
    """A cloud and its colourings."""

    name: str
    points_world: NDArray[np.float32]
    """[N, 3] metres."""
    layers: tuple[CloudLayer, ...]
    up_world: tuple[float, float, float] = (0.0, 0.0, 1.0)
    """The direction drawn upwards; see `Scene.up_world`."""

    def __post_init__(self) -> None:
        if not self.layers or not len(self.points_world):
            raise InputError(f"Cloud view '{self.name}' needs at least one layer and one point.")
        for layer in self.layers:
            labels_fit = layer.labels is None or layer.labels.shape == (len(self.points_world),)
            if layer.colours.shape != (len(self.points_world), 3) or not labels_fit:
                raise InputError(
                    f"Cloud view '{self.name}': layer '{layer.title}' does not fit {len(self.points_world)} points."
                )

    def take(self, chosen: NDArray[Any]) -> CloudView:
        """Return the view with the chosen points only, given by a boolean mask or by indices."""
        layers = tuple(
            replace(layer, colours=layer.colours[chosen], labels=None if layer.labels is None else layer.labels[chosen])
            for layer in self.layers
        )
        return replace(self, points_world=self.points_world[chosen], layers=layers)

    def thinned(self, limit: int = MAX_SHOWN_POINTS, seed: int = 0) -> CloudView:
        """Return the view with at most `limit` random points in their original order, the same for the same seed."""
        count = len(self.points_world)
        if count <= limit:
            return self
        return self.take(np.sort(np.random.default_rng(seed).choice(count, size=limit, replace=False)))

    def heights(self) -> NDArray[np.float32]:
        """Return [N] each point's height along the up direction."""
        return self.points_world @ np.asarray(self.up_world, dtype=np.float32)


def label_layer(title: str, labels: NDArray[np.uint8], vocabulary: Vocabulary) -> CloudLayer:
    """Return a layer that colours points by their class."""
    return CloudLayer(title, vocabulary.palette()[labels], labels)


def ceiling_height(view: CloudView) -> float | None:
    """Return the height at which the ceiling begins, which hides the room from above; None without a ceiling."""
    heights = view.heights()
    low, high = np.quantile(heights, (0.001, 0.999))
    start = high - CEILING_SLAB * (high - low)
    return float(start) if high > low and float((heights >= start).mean()) >= CEILING_SHARE else None


def cloud_payload(view: CloudView, vocabulary: Vocabulary) -> dict[str, Any]:
    """Return the data of the page's script: subsampled points as base64 uint16 steps inside their bounding box."""
    shown = view.thinned()
    low = shown.points_world.min(axis=0).astype(np.float64)
    step = np.maximum((shown.points_world.max(axis=0) - low) / 65535, 1e-9)
    heights, ceiling = shown.heights(), ceiling_height(view)
    return {
        "name": view.name,
        "shown": len(shown.points_world),
        "total": len(view.points_world),
        "up": list(view.up_world),
        "cut": _cut_percent(heights, ceiling),
        "low": low.tolist(),
        "step": step.tolist(),
        "camera": _camera(shown, low, 65535 * step),
        "points": _base64(np.rint((shown.points_world - low) / step).astype("<u2")),
        "layers": [_layer_payload(layer) for layer in shown.layers],
        "classes": [{"name": n, "colour": list(c)} for n, c in zip(vocabulary.names, vocabulary.colours)],
    }


def _camera(view: CloudView, low: NDArray[np.float64], extent: NDArray[np.float64]) -> dict[str, list[float]]:
    """Return Plotly's aspect ratio, centre and eye so that the cloud fills the view; stray points are ignored."""
    start, end = np.quantile(view.points_world, (STRAY_SHARE, 1 - STRAY_SHARE), axis=0)
    # Plotly uses its own units, counted from the middle of the axes. Here one unit is the cloud's diagonal.
    diagonal = max(float(np.linalg.norm(end - start)), 1e-6)
    centre = ((start + end) / 2 - (low + extent / 2)) / diagonal
    eye = centre - CAMERA_DISTANCE * ViewPoint(view.up_world).axes()[2]
    return {"aspect": (extent / diagonal).tolist(), "centre": centre.tolist(), "eye": eye.tolist()}


def _cut_percent(heights: NDArray[np.float32], ceiling: float | None) -> int:
    """Return the share of the height that is shown at first, in percent; 100 shows everything."""
    if ceiling is None:
        return 100
    return int(100 * (ceiling - heights.min()) / max(float(np.ptp(heights)), 1e-9))


def _layer_payload(layer: CloudLayer) -> dict[str, Any]:
    if layer.labels is not None:
        return {"title": layer.title, "labels": _base64(layer.labels)}
    return {"title": layer.title, "colours": _base64(layer.colours)}


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
