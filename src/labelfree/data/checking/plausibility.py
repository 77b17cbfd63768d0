"""Check the images and intrinsics of a capture by themselves: decodable, of matching shape, of plausible scale."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from labelfree.data.checking.misfit import SCENE_DEPTH_M
from labelfree.data.integrity import ASPECT_TOLERANCE
from labelfree.errors import InputError
from labelfree.raster import Raster
from labelfree.scene import Frame
from labelfree.vocabulary import IGNORE_LABEL

FRAME_DEPTH_M = (0.03, 100.0)
"""Plausible range of the median depth of one frame, which may be close to a wall."""
CENTRE_RANGE = (0.3, 0.7)
"""Plausible range of the principal point as a share of width and height."""
FIELD_OF_VIEW_DEG = (25.0, 130.0)
FOCAL_RATIO = 1.2
_NICE_SCALES = (1 / 8, 1 / 5, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 4 / 3, 3 / 2, 2, 8 / 3, 3, 4, 5, 6, 7.5, 8)
_DEPTH_LIMIT = 65535
_SAMPLE = 3
"""Step between the rows and columns used for statistics."""


@dataclass(frozen=True)
class FrameFacts:
    """Properties of one frame's files, after decoding all of them."""

    name: str
    error: str | None = None
    colour_size: tuple[int, int] = (0, 0)
    depth_size: tuple[int, int] | None = None
    depth_bits: int = 0
    median_depth: float | None = None
    """In stored units; None if no pixel has depth."""
    stretched: bool = False
    """Whether the depth map appears stretched to the full range of 16 bits."""
    highest_label: int | None = None


def gather_facts(frames: Sequence[Frame]) -> list[FrameFacts]:
    """Decode every file of every frame and return the properties of each frame."""
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(_facts, frames))


def _facts(frame: Frame) -> FrameFacts:
    try:
        image = frame.image.load()
        depth = None if frame.depth is None else frame.depth.load()
        labels = frame.load_labels()
        if depth is not None and depth.ndim != 2:
            frame.load_depth_m()  # raises an error with the reason
    except InputError as error:
        return FrameFacts(frame.name, error=str(error))
    facts = FrameFacts(frame.name, colour_size=image.shape[:2])
    if labels is not None:
        real = labels[labels != IGNORE_LABEL]
        facts = FrameFacts(
            frame.name, colour_size=image.shape[:2], highest_label=int(real.max()) if real.size else None
        )
    if depth is None:
        return facts
    sample = depth[::_SAMPLE, ::_SAMPLE]
    valid = sample[np.isfinite(sample) & (sample > 0)]
    median = float(np.median(valid)) if valid.size else None
    at_limit = valid.size > 0 and depth.max() == _DEPTH_LIMIT and float((valid == _DEPTH_LIMIT).mean()) < 0.01
    return FrameFacts(
        frame.name,
        colour_size=facts.colour_size,
        depth_size=depth.shape,
        depth_bits=depth.dtype.itemsize * 8,
        median_depth=median,
        stretched=bool(at_limit and median is not None and median > _DEPTH_LIMIT / 8),
        highest_label=facts.highest_label,
    )


def size_problems(frames: Sequence[Frame], facts: Sequence[FrameFacts]) -> list[str]:
    """Return a sentence if the images of one frame, or the depth maps of the capture, have different shapes."""
    for frame, fact in zip(frames, facts):
        if fact.depth_size is not None and fact.depth_size != frame.size:
            return [
                f"{_where(frame.depth)}: the depth map is {_size(fact.depth_size)}, but the others are "
                f"{_size(frame.size)} (width x height); give all of them one size."
            ]
        (height, width), (rows, columns) = frame.size, fact.colour_size
        if abs(columns * height / (rows * width) - 1) > ASPECT_TOLERANCE:
            grid = "depth map is" if frame.depth is not None else "first image is"
            return [
                f"{_where(frame.image)}: the image is {_size(fact.colour_size)}, but the {grid} {_size(frame.size)} "
                "(width x height): they cannot show the same view; crop or rotate one to the other's shape."
            ]
    return []


def depth_problems(frames: Sequence[Frame], facts: Sequence[FrameFacts]) -> list[str]:
    """Return a sentence if depth maps are empty, normalised, or in other units than `depth_scale`."""
    with_depth = [(frame, fact) for frame, fact in zip(frames, facts) if fact.depth_size is not None]
    if not with_depth:
        return []
    scale = with_depth[0][0].depth_scale
    for frame, fact in with_depth:
        if fact.depth_bits == 8:
            return [
                f"{_where(frame.depth)}: the depth map has 8 bits, so it was made for viewing; export metric depth as "
                "16-bit PNG."
            ]
    medians = {frame.name: (frame, fact.median_depth) for frame, fact in with_depth if fact.median_depth is not None}
    if not medians:
        return [
            f"{_where(with_depth[0][0].depth)}: no pixel of it or of any other depth map is above 0; export them again."
        ]
    if len(with_depth) > 2 and all(fact.stretched for _, fact in with_depth):
        return [
            f"{_where(with_depth[0][0].depth)}: this and all other depth maps reach {_DEPTH_LIMIT}: they look "
            "normalised per image; export metric depth."
        ]
    stored = float(np.median([median for _, median in medians.values() if median is not None]))
    if not SCENE_DEPTH_M[0] <= stored / scale <= SCENE_DEPTH_M[1]:
        return [_scale_problem(*with_depth[0], stored)]
    for frame, median in medians.values():
        if median is not None and not FRAME_DEPTH_M[0] <= median / scale <= FRAME_DEPTH_M[1]:
            return [
                f"{_where(frame.depth)}: its median depth is {median / scale:.3g} m, while that of the capture is "
                f"{stored / scale:.3g} m: it is in other units; export it like the others."
            ]
    return []


def _scale_problem(frame: Frame, fact: FrameFacts, stored: float) -> str:
    scale, (low, high) = frame.depth_scale, SCENE_DEPTH_M
    guess = next((value for value in (1, 1000) if value != scale and low <= stored / value <= high), None)
    match guess:
        case 1 if fact.depth_bits == 16:
            remedy = (
                "they look like whole metres (depth_scale: 1), which is too coarse: export millimetres as 16-bit PNG"
            )
        case 1 | 1000:
            remedy = f"they look like {'metres' if guess == 1 else 'millimetres'}: set depth_scale: {guess}"
        case _:
            remedy = "set depth_scale to stored units per metre"
    return (
        f"{_where(frame.depth)}: with depth_scale {scale:g} the median depth of the capture is {stored / scale:.3g} m; "
        f"stored values are around {stored:g}: {remedy}."
    )


def intrinsics_problems(frames: Sequence[Frame], facts: Sequence[FrameFacts], where: str) -> list[str]:
    """Return a sentence if the pinhole matrix does not fit images of this size."""
    frame, fact = frames[0], facts[0]
    for other, other_fact in zip(frames, facts):
        if not np.array_equal(other.intrinsics, frame.intrinsics) and not _centred(other):
            frame, fact = other, other_fact
            break
    width, matrix = frame.size[1], frame.intrinsics
    fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    fov = math.degrees(2 * math.atan(width / (2 * fx)))
    values = f"{where}: fx {fx:.1f}, fy {fy:.1f}, cx {cx:.1f}, cy {cy:.1f} for images of {_size(frame.size)}"
    if not _centred(frame):
        rows, columns = _implied_size(frame, fact.colour_size)
        return [
            f"{values} (width x height) look like those of a {columns}x{rows} image: set intrinsics_size: "
            f"[{rows}, {columns}] (height, width)."
        ]
    if max(fx / fy, fy / fx) > FOCAL_RATIO:
        return [f"{values}: fx and fy differ by a factor {max(fx / fy, fy / fx):.2f}; check them."]
    if not FIELD_OF_VIEW_DEG[0] <= fov <= FIELD_OF_VIEW_DEG[1]:
        return [f"{values} (width x height) mean a field of view of {fov:.0f} degrees; check them and intrinsics_size."]
    return []


def label_warnings(facts: Sequence[FrameFacts], num_classes: int | None) -> list[str]:
    """Return a sentence if ground truth contains class ids beyond the capture's own classes."""
    for fact in facts:
        if num_classes is not None and fact.highest_label is not None and fact.highest_label >= num_classes:
            return [
                f"Frame '{fact.name}': its labels hold class {fact.highest_label}, but the capture names "
                f"{num_classes} classes; evaluation would fail."
            ]
    return []


def _centred(frame: Frame) -> bool:
    shares = (frame.intrinsics[0, 2] / frame.size[1], frame.intrinsics[1, 2] / frame.size[0])
    return all(CENTRE_RANGE[0] <= share <= CENTRE_RANGE[1] for share in shares)


def _implied_size(frame: Frame, colour_size: tuple[int, int]) -> tuple[int, int]:
    """Return the likely (height, width) that the intrinsics belong to: the colour image's, or a usual multiple."""
    height, width = frame.size
    scale = max(frame.intrinsics[0, 2] / width + frame.intrinsics[1, 2] / height, 1e-3)
    if abs(math.log(colour_size[1] / width / scale)) < 0.15:
        return colour_size
    nice = min(_NICE_SCALES, key=lambda value: abs(math.log(value / scale)))
    return round(height * nice), round(width * nice)


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _where(raster: Raster | None) -> str:
    return raster.describe() if raster is not None else ""
