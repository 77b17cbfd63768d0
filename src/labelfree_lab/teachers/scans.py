"""Scans of rooms and streets that no experiment uses, for starts without class names: images and what lies around.

A scan is made of posed images and a cloud. The context of a point is measured on the cloud alone: its height, the
shape of its surface, and which heights are occupied above and below it, close by and further around. It is carried to
the pixels that see the point. Labels are neither read nor stored.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from labelfree.config.labels import PairingConfig
from labelfree.data.pairs import pair_points
from labelfree.scene import Scene
from labelfree_lab.rooms.style import STYLES
from labelfree_lab.teachers.point_lessons import room_scene, street_scene
from labelfree_lab.teachers.worlds import STREETS, WORLDS, World

Floats = NDArray[np.float32]
CELL_PX = 4
"""Side in pixels of a cell of the images, whose seen points are averaged."""
LEVELS = 12
"""Heights that a column of the context distinguishes."""
WIDTHS = (1, 4, LEVELS, LEVELS)
"""Channels of the parts of a context: height, shape of the surface, near column, wide column."""
CONTEXT = sum(WIDTHS)


@dataclass(frozen=True)
class Lattice:
    """The cells in which a world's context is measured."""

    cell_m: float
    """Side of a cell on the ground in metres; a near column is 3 x 3 cells."""
    level_m: float
    """Height of a level in metres."""
    reach: int = 3
    """Cells on each side of a point that its wide column covers."""


INDOORS = Lattice(cell_m=0.15, level_m=0.2)
OUTDOORS = Lattice(cell_m=0.6, level_m=0.4)


@dataclass(frozen=True, eq=False)
class Scan:
    """The images of one room or street and the context of their cells."""

    images: NDArray[np.uint8]  # [V, H, W, 3]
    context: NDArray[np.float16]  # [V, H / CELL_PX, W / CELL_PX, CONTEXT], NaN where no point is seen


def write_scans(folder: Path, world: World, seeds: Sequence[int], views: int, processes: int = 1) -> list[Path]:
    """Write one file per room or street and return their paths; existing files are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{world.name.removesuffix('s')}-{seed:07d}.npz" for seed in seeds]
    missing = [(seed, path) for seed, path in zip(seeds, paths) if not path.is_file()]
    write = partial(_write_scan, world.name, views)
    if processes == 1:
        for job in missing:
            write(job)
    else:
        with multiprocessing.get_context("spawn").Pool(processes, torch.set_num_threads, (1,)) as pool:
            for _ in pool.imap_unordered(write, missing, chunksize=4):
                pass
    return paths


def _write_scan(world: str, views: int, job: tuple[int, Path]) -> None:
    seed, path = job
    outdoors = world == STREETS.name
    scene = street_scene(seed) if outdoors else room_scene(seed, views, STYLES[WORLDS[world].style])
    partial_path = path.with_name(path.name + ".partial")
    with partial_path.open("wb") as file:
        np.savez(file, **vars(take_scan(scene, outdoors)))
    os.replace(partial_path, path)


def read_scans(paths: Sequence[Path]) -> Scan:
    """Return the images and contexts of several scans, one after the other."""
    images, contexts = [], []
    for path in paths:
        with np.load(path) as kept:
            images.append(kept["images"])
            contexts.append(kept["context"])
    return Scan(np.concatenate(images), np.concatenate(contexts))


def take_scan(scene: Scene, outdoors: bool = False) -> Scan:
    """Return the scan of a scene; labels of the scene are not read."""
    pairing = PairingConfig(rule="lidar", z_buffer=True) if outdoors else PairingConfig(tolerance_m=0.1)
    context = context_of(scene.upright_points(), OUTDOORS if outdoors else INDOORS)
    images, maps = [], []
    for frame in scene.frames:
        pairs = pair_points(scene, frame, frame.size, pairing)
        images.append(np.asarray(frame.load_image()))
        maps.append(mean_in_cells(context[pairs.point.numpy()], pairs.row.numpy(), pairs.column.numpy(), frame.size))
    return Scan(np.stack(images), np.stack(maps).astype(np.float16))


def mean_in_cells(
    values: Floats,  # [P, D]
    row: NDArray[np.int64],  # [P]
    column: NDArray[np.int64],  # [P]
    size: tuple[int, int],
) -> Floats:  # [H / CELL_PX, W / CELL_PX, D]
    """Return the mean of the values in each cell of an image, NaN in cells without any."""
    height, width = size[0] // CELL_PX, size[1] // CELL_PX
    key = row // CELL_PX * width + column // CELL_PX
    count = np.bincount(key, minlength=height * width)
    total = np.stack([np.bincount(key, part, height * width) for part in values.T], 1)
    mean = np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], np.nan)
    return mean.reshape(height, width, -1).astype(np.float32)


def context_of(
    points: Floats,  # [N, 3] metres, z up
    lattice: Lattice,
) -> Floats:  # [N, CONTEXT]
    """Return height in metres, shape of the surface, near column and wide column of each point."""
    height = points[:, 2] - np.percentile(points[:, 2], 1)
    level = np.clip(height // lattice.level_m, 0, LEVELS - 1).astype(np.int64)
    cell = ((points[:, :2] - points[:, :2].min(0)) // lattice.cell_m).astype(np.int64)
    filled = np.zeros((*(cell.max(0) + 1), LEVELS), np.float32)
    filled[cell[:, 0], cell[:, 1], level] = 1
    near, wide = (_windowed_mean(filled, reach)[cell[:, 0], cell[:, 1]] for reach in (1, lattice.reach))
    shape = surface_shape(points, lattice.cell_m)
    return np.concatenate([height[:, None], shape, near, wide], 1).astype(np.float32)


def surface_shape(
    points: Floats,  # [N, 3]
    cell_m: float,
) -> Floats:  # [N, 4]
    """Return, from the points in the 3x3x3 cells around, how far a surface faces up, and the shares of its extents.

    The extents are the square roots of the covariance's eigenvalues (linear, planar and scattered neighbourhoods).
    """
    cell = ((points - points.min(0)) // cell_m).astype(np.int64) + 1
    size = cell.max(0) + 2
    key = (cell[:, 0] * size[1] + cell[:, 1]) * size[2] + cell[:, 2]
    local = (points - (points.min(0) + (cell - 0.5) * cell_m)).astype(np.float64)
    moments = _moments(local, key, int(size.prod()))
    row = key[:, None] + _neighbours(size)[None]  # [N, 27]
    shift = _offsets() * cell_m
    total = np.zeros((len(points), 10))
    for index in range(27):
        total += _shifted(moments[row[:, index]], shift[index])
    mean = total[:, 1:4] / total[:, :1]
    second = total[:, [4, 5, 6, 5, 7, 8, 6, 8, 9]].reshape(-1, 3, 3) / total[:, :1, None]
    values, vectors = np.linalg.eigh(second - mean[:, :, None] * mean[:, None])
    extent = np.sqrt(np.maximum(values, 1e-8))
    return np.concatenate([vectors[:, 2, :1] ** 2, extent / extent.sum(1, keepdims=True)], 1).astype(np.float32)


def _moments(local: NDArray[np.float64], key: NDArray[np.int64], cells: int) -> NDArray[np.float64]:  # [cells, 10]
    x, y, z = local.T
    columns = (np.ones_like(x), x, y, z, x * x, x * y, x * z, y * y, y * z, z * z)
    return np.stack([np.bincount(key, column, cells) for column in columns], 1)


def _shifted(moments: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:  # [N, 10], [3]
    """Return the moments of the same points after moving them."""
    count, first, second = moments[:, :1], moments[:, 1:4], moments[:, 4:]
    pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    moved = [
        second[:, n] + by[i] * first[:, j] + by[j] * first[:, i] + by[i] * by[j] * count[:, 0]
        for n, (i, j) in enumerate(pairs)
    ]
    return np.concatenate([count, first + count * by, np.stack(moved, 1)], 1)


def _offsets() -> NDArray[np.int64]:  # [27, 3]
    return np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), -1).reshape(27, 3)


def _neighbours(size: NDArray[np.int64]) -> NDArray[np.int64]:  # [27]
    offsets = _offsets()
    return np.asarray((offsets[:, 0] * size[1] + offsets[:, 1]) * size[2] + offsets[:, 2])


def _windowed_mean(grid: Floats, reach: int) -> Floats:  # [X, Y, L]
    """Return the mean over the (2 reach + 1)^2 cells around each cell; cells outside count as empty."""
    side = 2 * reach + 1
    padded = np.pad(grid, ((reach + 1, reach), (reach + 1, reach), (0, 0))).cumsum(0).cumsum(1)
    total = padded[side:, side:] - padded[:-side, side:] - padded[side:, :-side] + padded[:-side, :-side]
    mean: Floats = total / np.float32(side * side)
    return mean
