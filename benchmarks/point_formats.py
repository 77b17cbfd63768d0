"""Measure the round trip of a labelled cloud in UTM coordinates through each format: seconds, memory, size, error.

    python -m benchmarks.point_formats --points 1000000

Every write and every read runs in a process of its own. Seconds are of the processor; memory is the growth of the
process's peak, beyond the cloud that it holds for writing. Labels, scores and segments must come back unchanged, and
coordinates within 1 mm.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from labelfree.data.point_cloud import PointCloud
from labelfree.data.point_files import POINT_FORMATS, read_points, write_points

UTM = np.array([456789.123, 5432100.456, 312.0])
EXTENT_M = np.array([300.0, 300.0, 40.0])
CLASSES = [f"class {label}" for label in range(20)]
CLOSE_M = 1e-3
COLUMNS = ("colours", "labels", "seen", "scores", "segments", "support")


def labelled_cloud(count: int) -> PointCloud:
    """Return points on a rolling surface with all columns that results have."""
    random = np.random.default_rng(0)
    points = random.uniform(0, 1, (count, 3)) * EXTENT_M
    points[:, 2] = 20 + 10 * np.sin(points[:, 0] / 30) + random.normal(0, 0.02, count)
    labels = (points[:, 0] // 20 % 20).astype(np.uint8)
    labels[random.random(count) < 0.05] = 255
    return PointCloud(
        points + UTM,
        random.integers(0, 256, (count, 3), dtype=np.uint8),
        labels=labels,
        seen=random.random(count) < 0.8,
        scores=random.random(count, dtype=np.float32),
        segments=(points[:, 1] // 3).astype(np.int32),
        support=random.integers(0, 30, count, dtype=np.int32),
    )


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measured(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return a result, the processor's seconds, and the growth of the peak of memory in MiB."""
    before, start = resident_mib(), time.process_time()
    result = work()
    return result, time.process_time() - start, peak_mib() - before


def write(path: Path, count: int) -> tuple[float, float]:
    cloud = labelled_cloud(count)
    write_points(path.with_name(f"first{path.suffix}"), labelled_cloud(10), CLASSES)  # imports laspy
    return measured(lambda: write_points(path, cloud, CLASSES))[1:]


def read(path: Path, count: int) -> tuple[float, float, float]:
    """Return seconds, memory and the largest error in metres; raises an AssertionError if a column differs."""
    read_points(path.with_name(f"first{path.suffix}"))
    found, seconds, memory = measured(lambda: read_points(path))
    cloud = labelled_cloud(count)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(found, name), getattr(cloud, name), err_msg=f"{path.suffix} {name}")
    error = float(np.abs(found.points - cloud.points).max())
    assert error < CLOSE_M, f"{path.suffix}: {error} m"
    return seconds, memory, error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1_000_000)
    count = parser.parse_args().points
    print(f"{count:,} points, {numbers()}")
    print("| format | MB | write s | write MiB | read s | read MiB | largest error |")
    print("|---|---|---|---|---|---|---|")
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for name in POINT_FORMATS:
            path = Path(folder) / f"cloud.{name}"
            with context.Pool(1, maxtasksperchild=1) as pool:
                written = pool.apply(write, (path, count))
                got = pool.apply(read, (path, count))
            size = path.stat().st_size / 1e6
            error = f"{got[2] * 1000:.2f} mm"
            print(
                f"| {name} | {size:.1f} | {written[0]:.1f} | {written[1]:.0f} | {got[0]:.1f} | {got[1]:.0f} | {error} |"
            )


def numbers() -> str:
    return f"columns {', '.join(COLUMNS)}, UTM origin {', '.join(f'{value:,.0f}' for value in UTM)} m"


if __name__ == "__main__":
    main()
