"""Measure the path of a training batch to the device, before and after, in one run.

    python -m benchmarks.data_path

A batch has ScanNet's size: 8 scenes of 150,000 points and 16 images of 240x320, with random crops. The scenes are
synthetic rooms in memory. Both paths prepare the same batches in alternation and the values must be equal. `after` is
also measured with a worker process, where the main process only waits for it while the device trains; a pause stands
for the device's step. Times are of one core.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from benchmarks.former_data_path import former_batch, former_sample
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from labelfree.config.training import AugmentConfig, TrainConfig, TrainingPlan
from labelfree.method.pairing import Pairs, pair_rgbd, project
from labelfree.training.batches import batch_stream
from labelfree.training.checkpoint import Position
from labelfree.training.cotraining import build_batch
from labelfree.training.samples import Batch, LabelledFrame, LabelledScene, PackedBatch, scene_random

POINTS, FRAMES, IMAGES, SCENES, SIZE = 150_000, 20, 16, 8, (240, 320)
SCANNET_SCENES = 1201
MAP = (64, 48, 64)
"""Shape of a latent target: 64 channels on SAM's grid for an image of 3:4."""
ROOM_M = np.array([6.0, 5.0, 2.6])
INTRINSICS = np.array([[288.0, 0, 160], [0, 288.0, 120], [0, 0, 1]])
VOXEL_M = 0.05
PLAN = TrainingPlan(train=TrainConfig(scenes_per_batch=SCENES, images_per_scene=IMAGES), augment=AugmentConfig())


def room_points(random: np.random.Generator) -> NDArray[np.float32]:  # [N, 3]
    """Return points on the six walls of a room, in proportion to their areas."""
    areas = np.prod(ROOM_M) / ROOM_M
    axis, side = random.choice(3, POINTS, p=areas / areas.sum()), random.integers(0, 2, POINTS)
    points = random.uniform(0, 1, (POINTS, 3)) * ROOM_M
    points[np.arange(POINTS), axis] = side * ROOM_M[axis]
    return np.asarray(points + random.normal(0, 0.005, points.shape), np.float32)


def camera(random: np.random.Generator) -> NDArray[np.float64]:  # [4, 4]
    """Return the pose of a camera near a wall that looks across the room."""
    eye = ROOM_M * [*random.choice([0.35, 0.65], 2), 0.6] + random.normal(0, 0.1, 3)
    forward = ROOM_M * [0.5, 0.5, 0.45] + random.normal(0, 0.5, 3) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ eye
    return pose


def depth_map(pose: NDArray[np.float64]) -> NDArray[np.float32]:  # [H, W] metres
    """Return the depth of the walls at all pixels."""
    eye = -pose[:3, :3].T @ pose[:3, 3]
    row, column = np.indices(SIZE) + 0.5
    rays = np.stack([(column - 160) / 288, (row - 120) / 288, np.ones(SIZE)], axis=-1) @ pose[:3, :3]
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(rays > 0, (ROOM_M - eye) / rays, -eye / rays).min(axis=-1), np.float32)


def blocks(random: np.random.Generator, side: int, count: int) -> NDArray[Any]:  # [H, W]
    return np.kron(random.integers(0, count, (SIZE[0] // side, SIZE[1] // side)), np.ones((side, side), np.int64))


def room(seed: int) -> LabelledScene:
    random = np.random.default_rng(seed)
    points = room_points(random)

    def frame() -> LabelledFrame:
        pose = camera(random)
        cloud, view, intrinsics, depth = map(torch.from_numpy, (points, pose, INTRINSICS, depth_map(pose)))
        pairs = pair_rgbd(cloud, view, intrinsics, depth)
        return LabelledFrame(
            image=np.stack([blocks(random, 8, 256) for _ in range(3)], axis=-1).astype(np.uint8),
            labels=blocks(random, 16, 20).astype(np.uint8),
            mask_ids=blocks(random, 8, 90).astype(np.uint16),
            pair_point=pairs.point.numpy().astype(np.int32),
            pair_row=pairs.row.numpy().astype(np.int32),
            pair_column=pairs.column.numpy().astype(np.int32),
            target=random.normal(size=MAP).astype(np.float16),
        )

    colours = random.integers(0, 256, (POINTS, 3), dtype=np.uint8)
    return LabelledScene(f"room-{seed}", points, colours, tuple(frame() for _ in range(FRAMES)))


def former(scenes: list[LabelledScene], epoch: int) -> dict[str, Tensor]:
    randoms = (scene_random(PLAN.seed, epoch, index) for index in range(SCENES))
    samples = [former_sample(scene, IMAGES, PLAN.augment, random) for scene, random in zip(scenes, randoms)]
    return former_batch(samples, VOXEL_M)


def require_equal(before: dict[str, Tensor], after: Batch) -> None:
    """Raise an error if the two paths give different values."""
    held = {name: getattr(after, name) for name in ("images", "labels", "mask_ids", "image_scene")}
    held |= {name: getattr(after.voxels, name) for name in ("coords", "inverse", "features", "spread")}
    held |= {f"pair_{name}": getattr(after.pairs, name) for name in ("image", "row", "column")}
    held |= {"pair_voxel": after.pair_voxel, "pair_scene": after.pair_scene, "targets": after.targets.at_pairs()}
    wrong = [name for name, value in before.items() if not torch.equal(value, held[name])]
    if wrong:
        raise SystemExit(f"the two paths differ in {wrong}")


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def compare(scenes: list[LabelledScene], rounds: int) -> float:
    """Print times and bytes of both paths; return the time of the former one."""
    times: list[list[float]] = []
    for epoch in range(rounds):
        before, wide = seconds(partial(former, scenes, epoch))
        after, packed = seconds(partial(build_batch, scenes, PLAN, VOXEL_M, epoch, range(SCENES)))
        unpacked, batch = seconds(partial(packed.to, torch.device("cpu")))
        sampled, _ = seconds(batch.targets.at_pairs)
        require_equal(wide, batch)
        times.append([before, after, unpacked, sampled])
    best: list[float] = [min(column) for column in zip(*times)]
    before, after, unpacked, sampled = best
    sent = sum(value.nbytes for value in wide.values())
    print(f"{len(batch.pair_voxel):,} pairs, {len(batch.voxels):,} voxels; equal values")
    print(f"bytes to the device   before {sent / 1e6:.0f} MB, after {packed.nbytes() / 1e6:.0f} MB", end="")
    print(f": {sent / packed.nbytes():.1f} times less")
    print(f"main process, 0 workers  before {before:.2f} s, after {after:.2f} s: {before / after:.1f} times less")
    print(f"then on the device, here this CPU: unpack and voxelise {unpacked:.2f} s, Eq. 7's targets {sampled:.2f} s")
    return best[0]


class Arrived:
    """A batch that stays packed: what is timed is its arrival in the main process."""

    def __init__(self, packed: PackedBatch) -> None:
        self.packed = packed

    def to(self, device: torch.device) -> PackedBatch:
        return self.packed


def compare_with_workers(scenes: list[LabelledScene], before: float, workers: int, step: float, rounds: int) -> None:
    """Print how long the main process waits for a batch after each step of the device."""
    plan = replace(PLAN, train=replace(PLAN.train, workers=workers, epochs=rounds + 2))

    def build(epoch: int, chosen: list[int]) -> Arrived:
        return Arrived(build_batch(scenes, plan, VOXEL_M, epoch, chosen))

    stream = batch_stream(Fabric(accelerator="cpu", devices=1), build, len(scenes), plan, Position())
    next(stream), next(stream)
    waits, costs = [], []
    for _ in range(rounds):
        time.sleep(step)
        started, cpu = time.perf_counter(), time.process_time()
        next(stream)
        waits.append(time.perf_counter() - started)
        costs.append(time.process_time() - cpu)
    wait, cost = statistics.median(waits), statistics.median(costs)
    print(
        f"main process, {workers} worker(s), steps of {step:g} s: waits {wait:.3f} s ({cost:.3f} s of its core)", end=""
    )
    print(f": {before / wait:.0f} times less")
    epoch = -(-SCANNET_SCENES // SCENES)
    print(f"an epoch of {SCANNET_SCENES} scenes, {epoch} batches: {before * epoch:.0f} s, now {wait * epoch:.0f} s")


def numpy_pairs(points: NDArray[Any], pose: NDArray[Any], depth: NDArray[Any]) -> NDArray[Any]:
    """Return the paired points by plain NumPy, as one writes it down."""
    camera = points @ pose[:3, :3].T + pose[:3, 3]
    z = camera[:, 2]
    front = z > 0
    safe = np.where(front, z, 1.0)
    column = np.floor(INTRINSICS[0, 0] * camera[:, 0] / safe + INTRINSICS[0, 2]).astype(np.int64)
    row = np.floor(INTRINSICS[1, 1] * camera[:, 1] / safe + INTRINSICS[1, 2]).astype(np.int64)
    seen = np.flatnonzero(front & (column >= 0) & (column < SIZE[1]) & (row >= 0) & (row < SIZE[0]))
    at_pixel = depth[row[seen], column[seen]]
    return np.asarray(seen[(at_pixel > 0) & (np.abs(at_pixel - z[seen]) <= 0.05)])


def former_pairs(points: Tensor, pose: Tensor, depth: Tensor) -> Pairs:
    """Return the pairs with all points projected in double precision, as before."""
    uv, z = project(points, pose, torch.from_numpy(INTRINSICS))
    inside = ((uv >= 0) & (uv < uv.new_tensor([SIZE[1], SIZE[0]]))).all(dim=1)
    seen = torch.nonzero((z > 0) & inside)[:, 0]
    pixel = uv[seen].floor().long()
    at_pixel = depth.double()[pixel[:, 1], pixel[:, 0]]
    keep = (at_pixel > 0) & ((at_pixel - z[seen]).abs() <= torch.full_like(at_pixel, 0.05))
    return Pairs(seen[keep], pixel[keep, 1], pixel[keep, 0])


def compare_pairing(rounds: int) -> None:
    random = np.random.default_rng(0)
    points, poses = room_points(random), [camera(random) for _ in range(IMAGES)]
    views = [(pose, depth_map(pose)) for pose in poses]
    tensors = [(torch.from_numpy(pose), torch.from_numpy(depth)) for pose, depth in views]
    cloud, intrinsics = torch.from_numpy(points), torch.from_numpy(INTRINSICS)
    ways: dict[str, Callable[[], list[Any]]] = {
        "before": lambda: [former_pairs(cloud, *view) for view in tensors],
        "NumPy loop": lambda: [numpy_pairs(points, *view) for view in views],
        "after": lambda: [pair_rgbd(cloud, pose, intrinsics, depth) for pose, depth in tensors],
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        found = {}
        for name, way in ways.items():
            spent, found[name] = seconds(way)
            times[name].append(spent)
    for former_one, now in zip(found["before"], found["after"]):
        if not all(torch.equal(getattr(former_one, part), getattr(now, part)) for part in ("point", "row", "column")):
            raise SystemExit("the pairs differ")
    best = {name: min(spent) * 1e3 for name, spent in times.items()}
    said = ", ".join(f"{name} {spent:.0f} ms" for name, spent in best.items())
    print(f"pairing, {POINTS:,} points, {IMAGES} frames: {said}; equal pairs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--step", type=float, default=1.0, help="seconds of the device's step that the pause stands for"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    scenes = [room(seed) for seed in range(SCENES)]
    before = compare(scenes, options.rounds)
    compare_with_workers(scenes, before, options.workers, options.step, options.rounds)
    compare_pairing(options.rounds)


if __name__ == "__main__":
    main()
