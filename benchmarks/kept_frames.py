"""Measure the time that `labels.keep_frames` saves per epoch, for images of 1600x900 (nuScenes) at 224x416.

    python benchmarks/kept_frames.py --out /tmp/kept-frames

The script writes a street in the layout of nuScenes if it is missing, and labels it with the lab's teachers. It then
loads all scenes alternately without and with kept frames, in one process. No scene stays in memory, as in a dataset
larger than `memory_gb`. All files are in the page cache of the system, so the times contain no disk access.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from labelfree.config.reading import recipe
from labelfree.config.run_config import RunConfig
from labelfree.data.collection import open_scenes
from labelfree.teachers.label_frames import label_frames
from labelfree.teachers.opening import load_teachers
from labelfree.training.cotraining import build_batch
from labelfree.training.labelled_scenes import LabelledScenes
from labelfree.vocabulary import Vocabulary
from labelfree_lab.layouts.nuscenes import write_nuscenes
from labelfree_lab.streets.route import DriveSize

STREET = DriveSize(key_frames=2, image_size=(900, 1600), azimuths=1090, sweeps_between=0)
SETTINGS = (
    "--labels.image_size=[224,416]",
    "--pairing.rule=lidar",
    "--train.scenes_per_batch=4",
    "--train.images_per_scene=6",
)
VOXEL_M = 0.1


def labelled(out: Path, config: RunConfig, keep_frames: bool) -> LabelledScenes:
    scenes = open_scenes(out / "nuscenes")
    names = Vocabulary.parse("nuscenes16")
    teachers = load_teachers(
        replace(config, labels=replace(config.labels, keep_frames=keep_frames)), names, out / "cache"
    )
    label_frames(scenes, teachers)
    return LabelledScenes(scenes, teachers, 0.0)


def milliseconds(work: Callable[[], object], frames: int) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3 / frames


def compare(what: str, without: Callable[[], object], kept: Callable[[], object], frames: int, rounds: int) -> None:
    pairs = [(milliseconds(without, frames), milliseconds(kept, frames)) for _ in range(rounds)]
    ratios = sorted(slow / fast for slow, fast in pairs)
    slow, fast = (statistics.median(times) for times in zip(*pairs))
    spread = f"{ratios[0]:.1f} to {ratios[-1]:.1f}"
    print(f"{what}: {slow:.1f} ms per image without, {fast:.1f} with: {slow / fast:.1f} times ({spread})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, required=True, help="where the street and the caches are, or are written to"
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not (options.out / "nuscenes").exists():
        write_nuscenes(options.out / "nuscenes", seed=1, scenes=2, size=STREET)
    config = recipe("quick", *SETTINGS)
    without, kept = labelled(options.out, config, False), labelled(options.out, config, True)
    everything = range(len(without))
    frames = sum(len(scene.frames) for scene in kept.scenes)
    if kept.kept_frames is None:
        raise SystemExit("no frames are kept")
    for path in kept.kept_frames.folder.glob("*.frame"):
        path.unlink()
    list(without)  # warms up
    print(f"first epoch, which keeps them: {milliseconds(lambda: list(kept), frames):.1f} ms per image")
    sizes = [path.stat().st_size for path in kept.kept_frames.folder.glob("*.frame")]
    print(f"{len(sizes)} images, {statistics.mean(sizes) / 1000:.0f} kB each")
    compare("scenes made ready", lambda: list(without), lambda: list(kept), frames, options.rounds)
    plan = config.plan()
    compare(
        "augmented batches",
        lambda: build_batch(without, plan, VOXEL_M, 0, everything),
        lambda: build_batch(kept, plan, VOXEL_M, 0, everything),
        frames,
        options.rounds,
    )


if __name__ == "__main__":
    main()
