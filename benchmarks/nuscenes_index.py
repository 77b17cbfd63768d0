"""Measure time and memory for opening nuScenes tables of trainval's size: 850 scenes, 34,000 key frames.

    python benchmarks/nuscenes_index.py --out /tmp/nuscenes-tables

The script writes the tables (2 GB) if they are missing and opens them in new processes. The first process builds the
index. The second maps it and reads a thousand key frames. Peak memory is that of the whole process.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

SAMPLES = 1000


def open_once(root: Path, samples: int) -> None:
    from labelfree.data.layout import ReadOptions
    from labelfree.data.nuscenes.layout import open_nuscenes

    started = time.perf_counter()
    sources = open_nuscenes(root, None, ReadOptions()).sources
    opened = time.perf_counter() - started
    print(f"  {len(sources):,} key frames in {opened:.1f} s, peak {peak_gib():.2f} GiB", flush=True)
    marks = []
    for index in range(samples):
        sources[index * len(sources) // samples].build()
        if index in (samples // 10, samples - 1):
            marks.append(resident_mib())
    if samples:
        taken = time.perf_counter() - started - opened
        print(f"  {samples} key frames read in {taken:.1f} s; memory {marks[0]:.0f} MiB, then {marks[1]:.0f}")


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the tables are, or are written to")
    parser.add_argument("--scenes", type=int, default=850)
    parser.add_argument("--open", type=int, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open is not None:
        open_once(options.out, options.open)
        return
    if not options.out.exists():
        from labelfree_lab.layouts.nuscenes_tables import write_nuscenes_tables

        started = time.perf_counter()
        write_nuscenes_tables(options.out, options.scenes)
        print(f"tables written in {time.perf_counter() - started:.0f} s")
    size = sum(path.stat().st_size for path in options.out.glob("v1.0-*/*.json")) / 2**30
    cache = options.out.parent / f"{options.out.name}-cache"
    print(f"tables of {size:.2f} GiB")
    for words, samples in (("first time, builds the index", 0), ("second time", SAMPLES)):
        print(words, flush=True)
        command = [sys.executable, __file__, "--out", str(options.out), "--open", str(samples)]
        subprocess.run(command, check=True, env={**os.environ, "XDG_CACHE_HOME": str(cache)})


if __name__ == "__main__":
    main()
