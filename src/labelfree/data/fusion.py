"""Fuse depth maps into a point cloud: back-project and keep one mean point per voxel, in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.data.archives import is_whole
from labelfree.errors import InputError
from labelfree.files.atomic import atomic_file
from labelfree.files.documents import NUMPY_ERRORS
from labelfree.raster import resize_nearest
from labelfree.scene import FAR_M, Frame, local_origin
from labelfree.vocabulary import IGNORE_LABEL

_AXIS_BITS = 18
_HALF_SPAN = 1 << (_AXIS_BITS - 1)
_LABEL_BITS = 8
_BUFFER_ROWS = 2_000_000
"""Rows buffered before they are merged; memory is bounded by the cloud itself plus about 300 MB."""
_VERSION = 1


@dataclass(frozen=True)
class FusionOptions:
    """Options for fusing depth maps into points."""

    voxel_m: float = 0.02
    """Side of a voxel in metres; a voxel keeps the mean of its points and colours."""
    max_depth_m: float = 10.0
    """Depth beyond this, in metres, is left out."""
    stride: int = 1
    """Take every n-th row and column of a depth map."""
    edge_ratio: float | None = None
    """Leave out flying pixels: those whose depth differs from a neighbour's by more than this share (0.05 is usual)."""


@dataclass(frozen=True, eq=False)
class FusedCloud:
    """A point cloud fused from depth maps, in ascending voxel order."""

    points_world: NDArray[np.floating[Any]]
    """[N, 3] metres; float64 if the scene is too far from the world's origin for float32."""
    colours: NDArray[np.uint8]
    """[N, 3] RGB."""
    labels: NDArray[np.uint8] | None = None
    """[N] majority of the pixels' labels (lowest id on ties), 255 where no pixel has a label."""


def fuse(frames: Sequence[Frame], options: FusionOptions | None = None, with_labels: bool = False) -> FusedCloud:
    """Fuse the depth maps of the frames, one after the other; frames without a depth map are skipped.

    Raises an `InputError` if no frame has valid depth or a point is too far away for the voxel size.
    """
    options = options or FusionOptions()
    origin: NDArray[np.float64] | None = None
    means, votes = _VoxelSums(7), _VoxelSums(1)
    for frame in frames:
        if frame.depth is None:
            continue
        rows, columns, points = back_project(frame, options)
        if origin is None:  # voxels are counted from the first camera, so any world origin works
            origin = np.floor(frame.camera_to_world[:3, 3] / options.voxel_m)
        keys = _voxel_keys(points, options.voxel_m, origin, frame.name)
        colours = frame.load_image()[rows, columns]
        means.add(keys, np.column_stack([points, colours, np.ones(len(points))]))
        labels = frame.load_labels() if with_labels else None
        if labels is not None:
            votes.add(*_ballots(keys, resize_nearest(labels, frame.size)[rows, columns]))
    keys, sums = means.result()
    if not len(keys):
        raise InputError(
            f"The {len(frames)} frames hold no valid depth up to {options.max_depth_m:g} m, so no cloud can be fused: "
            "check depth_scale, or give a point cloud."
        )
    mean = sums[:, :6] / sums[:, 6:]
    winners = _majority(keys, *votes.result()) if with_labels else None
    points = mean[:, :3] if local_origin(mean[:, :3]).any() else mean[:, :3].astype(np.float32)
    return FusedCloud(points, np.rint(mean[:, 3:]).astype(np.uint8), winners)


def fuse_cached(frames: Sequence[Frame], options: FusionOptions, cache_dir: Path | None) -> FusedCloud:
    """Fuse the frames, with labels where they have some; the cloud is cached in `cache_dir` by content and options."""
    with_labels = any(frame.labels is not None for frame in frames)
    if cache_dir is None:
        return fuse(frames, options, with_labels)
    path = cache_dir / f"cloud-{_content_key(frames, options)}.npz"
    kept = _kept_cloud(path, with_labels)
    if kept is not None:
        return kept
    cloud = fuse(frames, options, with_labels)
    labels = np.empty(0, dtype=np.uint8) if cloud.labels is None else cloud.labels
    with atomic_file(path) as file:
        np.savez(file, points_world=cloud.points_world, colours=cloud.colours, labels=labels, name=path.stem)
    return cloud


def _kept_cloud(path: Path, with_labels: bool) -> FusedCloud | None:
    """Return a cached cloud; None if there is none or a checksum or shape shows that it is damaged."""
    if not path.is_file() or not is_whole(path):
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            points, colours, labels = kept["points_world"], kept["colours"], kept["labels"]
            name = str(kept["name"])
    except NUMPY_ERRORS:
        return None
    if name != path.stem or points.dtype not in (np.float32, np.float64):
        return None
    if (colours.dtype, labels.dtype) != (np.uint8, np.uint8):
        return None
    rows = len(points) if with_labels else 0
    if (points.shape, colours.shape, labels.shape) != ((len(points), 3), (len(points), 3), (rows,)):
        return None
    return FusedCloud(points, colours, labels if with_labels else None)


def back_project(
    frame: Frame, options: FusionOptions
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:  # [n] rows, [n] columns, [n, 3] points_world
    """Return the pixels of a frame that have usable depth, and their points in metres.

    Raises an `InputError` if the frame has no depth map.
    """
    depth_m = frame.load_depth_m()
    if depth_m is None:
        raise InputError(f"Frame '{frame.name}' has no depth map to take points from; fuse frames with depth.")
    usable = (depth_m > 0) & (depth_m <= options.max_depth_m)
    if options.edge_ratio is not None:
        usable &= ~_depth_edges(depth_m, options.edge_ratio)
    rows, columns = np.nonzero(usable[:: options.stride, :: options.stride])
    rows, columns = rows * options.stride, columns * options.stride
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1)
    camera = (pixels @ np.linalg.inv(frame.intrinsics).T) * depth_m[rows, columns, None].astype(np.float64)
    pose = frame.camera_to_world
    return rows, columns, camera @ pose[:3, :3].T + pose[:3, 3]


class _VoxelSums:
    """Sums of rows by key; rows are buffered and merged when the buffer is full."""

    def __init__(self, width: int) -> None:
        self._keys: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._sums: NDArray[np.float64] = np.empty((0, width))
        self._buffer: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        self._buffered = 0

    def add(self, keys: NDArray[np.int64], rows: NDArray[np.float64]) -> None:
        """Add rows [n, width] to the sums of their keys [n]."""
        self._buffer.append(_sum_by_key(keys, rows))
        self._buffered += len(self._buffer[-1][0])
        if self._buffered > max(_BUFFER_ROWS, len(self._keys)):
            self._merge()

    def result(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the keys in ascending order and their sums."""
        self._merge()
        return self._keys, self._sums

    def _merge(self) -> None:
        parts = [(self._keys, self._sums), *self._buffer]
        self._keys, self._sums = _sum_by_key(
            np.concatenate([keys for keys, _ in parts]), np.concatenate([rows for _, rows in parts])
        )
        self._buffer, self._buffered = [], 0


def _sum_by_key(
    keys: NDArray[np.int64],  # [n]
    rows: NDArray[np.float64],  # [n, width]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    unique, inverse = np.unique(keys, return_inverse=True)
    sums = [np.bincount(inverse, weights=column, minlength=len(unique)) for column in rows.T]
    return unique, np.stack(sums, axis=1)


def _voxel_keys(
    points: NDArray[np.float64],  # [n, 3]
    voxel_m: float,
    origin: NDArray[np.float64],  # [3] voxels
    name: str,
) -> NDArray[np.int64]:
    cells = np.floor(points / voxel_m) - origin
    if len(cells) and np.abs(cells).max() >= _HALF_SPAN - 1:
        raise InputError(
            f"Frame '{name}': a point lies {np.abs(cells).max() * voxel_m:.0f} m from the first camera, too far for "
            f"voxels of {voxel_m:g} m; check the units of poses and depth, or set a larger voxel_m."
        )
    shifted = cells.astype(np.int64) + _HALF_SPAN
    keys: NDArray[np.int64] = (shifted[:, 0] << 2 * _AXIS_BITS) | (shifted[:, 1] << _AXIS_BITS) | shifted[:, 2]
    return keys


def _ballots(
    keys: NDArray[np.int64],  # [n]
    labels: NDArray[np.uint8],  # [n]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    voting = labels != IGNORE_LABEL
    return (keys[voting] << _LABEL_BITS) | labels[voting], np.ones((int(voting.sum()), 1))


def _majority(
    keys: NDArray[np.int64],  # [V] ascending
    ballots: NDArray[np.int64],  # [b] key and label
    counts: NDArray[np.float64],  # [b, 1]
) -> NDArray[np.uint8]:  # [V]
    labels = np.full(len(keys), IGNORE_LABEL, dtype=np.uint8)
    # Ascending count, descending label within a count: the last write per voxel is the winner.
    order = np.lexsort((-(ballots & (1 << _LABEL_BITS) - 1), counts[:, 0]))
    labels[np.searchsorted(keys, ballots[order] >> _LABEL_BITS)] = ballots[order] & (1 << _LABEL_BITS) - 1
    return labels


def _depth_edges(
    depth_m: NDArray[np.float32],  # [H, W]
    ratio: float,
) -> NDArray[np.bool_]:  # [H, W]
    edges = np.zeros(depth_m.shape, dtype=bool)
    for axis in (0, 1):
        one, two = (depth_m[:-1], depth_m[1:]) if axis == 0 else (depth_m[:, :-1], depth_m[:, 1:])
        jump = (np.abs(one - two) > ratio * np.minimum(one, two)) & (one > 0) & (two > 0)
        if axis == 0:
            edges[:-1] |= jump
            edges[1:] |= jump
        else:
            edges[:, :-1] |= jump
            edges[:, 1:] |= jump
    return edges


def _content_key(frames: Sequence[Frame], options: FusionOptions) -> str:
    digest = hashlib.sha256(repr((_VERSION, sorted(asdict(options).items()))).encode())
    for frame in frames:
        parts: list[Any] = [frame.size, frame.depth_scale]
        parts += [None if raster is None else raster.digest() for raster in (frame.image, frame.depth, frame.labels)]
        digest.update(repr(parts).encode())
        digest.update(frame.intrinsics.tobytes() + frame.world_to_camera.tobytes())
    if any(float(np.abs(frame.camera_to_world[:3, 3]).max()) > FAR_M / 2 for frame in frames):
        digest.update(b"float64")  # earlier versions kept such clouds as float32
    return digest.hexdigest()[:24]
