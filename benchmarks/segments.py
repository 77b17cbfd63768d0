"""Time segments from geometry and masks on floors of tiled rooms of 50k, 200k and 800k points; print time per point.

    python -m benchmarks.segments [--points 50000 200000 800000] [--views 4] [--repeat 2]

A scene is a square grid of 4 m tiles, each with a floor, two walls and some boxes, sampled at 5 cm. Each view sees half
of the points of one tile, with one mask per box, wall or floor. So a scene grows in area, as real scans do, and the
number of views grows with it. Time is that of the process. The result is the ratios of time per point within one run;
the times themselves depend on the machine.
"""

from __future__ import annotations

import argparse
import math
import resource
import time

import numpy as np
from numpy.typing import NDArray

from labelfree.segments.geometric import surface_graph
from labelfree.segments.view_segments import ViewMasks, view_segments

TILE_M, STEP_M, BOXES = 4.0, 0.05, 12


def plane(width_m: float, height_m: float, rng: np.random.Generator) -> NDArray[np.float64]:  # [n, 2]
    a, b = np.meshgrid(np.arange(0, width_m, STEP_M), np.arange(0, height_m, STEP_M))
    places: NDArray[np.float64] = np.stack([a.ravel(), b.ravel()], axis=1) + rng.uniform(0, STEP_M / 2, (a.size, 2))
    return places


def box(rng: np.random.Generator) -> NDArray[np.float64]:  # [n, 3]
    x, y, h = rng.uniform(0.3, 1.0, 3)
    top, front, side = plane(x, y, rng), plane(x, h, rng), plane(y, h, rng)
    sides = [np.c_[top, np.full(len(top), h)], np.c_[front[:, 0], np.zeros(len(front)), front[:, 1]]]
    corner = np.array([*rng.uniform(0, TILE_M - 1, 2), 0.0])
    found: NDArray[np.float64] = np.concatenate([*sides, np.c_[np.zeros(len(side)), side]]) + corner
    return found


def tile(rng: np.random.Generator) -> list[NDArray[np.float64]]:  # of one object each
    floor, wall = plane(TILE_M, TILE_M, rng), plane(TILE_M, 2.5, rng)
    zero = np.zeros(len(wall))
    walls = [np.c_[wall[:, 0], zero, wall[:, 1]], np.c_[zero, wall]]
    return [np.c_[floor, np.zeros(len(floor))], *walls, *(box(rng) for _ in range(BOXES))]


def scene(points: int, views_per_tile: int) -> tuple[NDArray[np.float32], NDArray[np.uint8], list[ViewMasks]]:
    rng = np.random.default_rng(0)
    parts: list[NDArray[np.float64]] = []
    objects: list[NDArray[np.int64]] = []
    colours: list[NDArray[np.uint8]] = []
    views: list[ViewMasks] = []
    count, tiles = 0, 0
    across = max(1, math.isqrt(points // 16_000))
    while count < points:
        shift = np.array([tiles % across, tiles // across, 0]) * TILE_M
        made = tile(rng)
        ids = np.repeat(np.arange(len(made)), [len(part) for part in made])
        size = len(ids)
        parts.append(np.concatenate(made) + shift)
        objects.append(ids)
        base = rng.integers(40, 220, (len(made), 3))[ids]
        colours.append(np.clip(base + rng.integers(-8, 9, base.shape), 0, 255).astype(np.uint8))
        for _ in range(views_per_tile):
            seen = np.flatnonzero(rng.random(size) < 0.5)
            views.append((seen + count, rng.permutation(len(made))[ids[seen]] + 1))
        count, tiles = count + size, tiles + 1
    return np.concatenate(parts).astype(np.float32), np.concatenate(colours), views


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, nargs="+", default=[50_000, 200_000, 800_000])
    parser.add_argument("--views", type=int, default=4, help="views of each tile of 4 m")
    parser.add_argument("--repeat", type=int, default=2)
    options = parser.parse_args()
    first = None
    for wanted in options.points:
        points, colours, views = scene(wanted, options.views)
        taken = []
        for _ in range(options.repeat):
            start = time.process_time()
            graph = surface_graph(points, colours, 0.05)
            middle = time.process_time()
            found = view_segments(graph, views)
            taken.append((time.process_time() - middle, middle - start))
        merging, building = min(taken)
        micro = 1e6 * (merging + building) / len(points)
        first = first or micro
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{len(points):,} points, {len(views)} views: graph {building:.2f} s, segments {merging:.2f} s, "
            f"{micro:.2f} us per point (x {micro / first:.2f}), {found.fine.max() + 1} -> {found.at(0.7).max() + 1} "
            f"segments, peak {memory:.2f} GB"
        )


if __name__ == "__main__":
    main()
