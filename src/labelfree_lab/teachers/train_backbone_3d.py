"""Train the start of a 3D network of the lab: `python -m labelfree_lab.teachers.train_backbone_3d --work DIR`.

A MinkUNet is trained to predict at each point the lab's image features of the pixels that see it (cosine distance,
through a linear layer that is discarded), as in SLidR (Sautier et al., CVPR 2022). With `--start selfsup` these are the
features of `train_selfsup`, so that no class name is used; by default they are those of `train_backbone`. Without such
a start, a 3D network learns very little from two dozen rooms with noisy labels; the 2D network has its own start. Every
method of the lab uses the same one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from labelfree.config.networks import Segmenter3DConfig
from labelfree.config.training import AugmentConfig
from labelfree.files.atomic import write_text
from labelfree.method.openscene import feature_distillation, voxel_directions
from labelfree.nets.minkunet import MinkUNet
from labelfree.nets.segmenters import voxel_features
from labelfree.nets.sparse.voxels import Voxels, voxelise
from labelfree.training.augment import move_points
from labelfree_lab.teachers.point_lessons import Lesson, LessonPlan, read_lesson, write_lessons
from labelfree_lab.teachers.training_log import (
    append_record,
    load_checkpoint,
    save_checkpoint,
    warm_cosine,
    write_half_precision,
)
from labelfree_lab.teachers.worlds import CLEAN_ROOMS, ROOMS, STREETS, WORLDS

SHAPE = Segmenter3DConfig(
    "MinkUNet14A", (16, 32, 48, 64, 64, 48, 32, 32), first_width=16, first_kernel=3, voxel_m=0.15, texture=True
)
"""The 3D network of rooms; `recipes/rooms.yaml` has the same values."""
SHAPES = {ROOMS.name: SHAPE, CLEAN_ROOMS.name: SHAPE, STREETS.name: replace(SHAPE, in_channels=1, voxel_m=0.3)}
"""That of streets reads intensity; `recipes/streets.yaml` has the same values."""
STARTS = {"tags": ("backbone", "backbone-3d"), "selfsup": ("selfsup", "selfsup-3d")}
"""Weights of the image backbone that is read and of the 3D start that is written, for each kind of start."""
TUNING = 12
"""Number of held-out rooms or streets that the curve is measured on."""


@dataclass(frozen=True)
class Settings:
    """Settings of the training of a 3D backbone."""

    steps: int = 5400
    rooms_per_step: int = 2
    peak_rate: float = 0.01
    warm_up: int = 50
    weight_decay: float = 0.01
    probe_every: int = 300
    seed: int = 0


class Student(nn.Module):
    """The network and a linear layer that is discarded later; features are standardised per channel."""

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        features: Tensor,  # [M, E] a sample of the target features
        shape: Segmenter3DConfig = SHAPE,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.network = MinkUNet(shape.input_channels(), shape.shape())
        self.head = nn.Linear(self.network.out_width, features.shape[1])
        self.register_buffer("mean", features.mean(0))
        self.register_buffer("deviation", features.std(0).clamp_min(1e-6))

    def forward(self, voxels: Voxels) -> Tensor:  # [V, E]
        """Return the predicted image features of the voxels."""
        said: Tensor = self.head(self.network(voxel_features(voxels, self.shape), voxels.geometry))
        return said

    def loss(self, voxels: Voxels, point: Tensor, features: Tensor) -> Tensor:  # points [n], features [n, E]
        """Return the mean cosine distance between predicted and target features."""
        wanted = (features.float() - self.mean) / self.deviation
        directions = voxel_directions(wanted, voxels.inverse[point], len(voxels))
        return feature_distillation(self(voxels), directions, torch.tensor(float(len(point))))


def join_lessons(
    lessons: Sequence[Lesson], rng: np.random.Generator | None, voxel_m: float = SHAPE.voxel_m
) -> tuple[Voxels, Tensor, Tensor]:
    """Return voxels, seen points and their features of a few lessons; `rng` rotates and mirrors each."""
    points = [lesson.points if rng is None else move_points(lesson.points, AugmentConfig(), rng) for lesson in lessons]
    counts = [len(part) for part in points]
    first = np.repeat(np.cumsum([0, *counts[:-1]]), [len(lesson.seen) for lesson in lessons])
    voxels = voxelise(
        torch.from_numpy(np.concatenate(points)),
        voxel_m,
        torch.from_numpy(np.repeat(np.arange(len(points)), counts)),
        torch.from_numpy(np.concatenate([lesson.colours for lesson in lessons])),
    )
    seen = torch.from_numpy(np.concatenate([lesson.seen for lesson in lessons]) + first)
    return voxels, seen, torch.from_numpy(np.concatenate([lesson.features for lesson in lessons]))


def train(student: Student, rooms: Sequence[Path], tuning: Sequence[Path], settings: Settings, work: Path) -> None:
    """Train to the last step, or resume from the checkpoint."""
    optimiser = torch.optim.AdamW(student.parameters(), lr=settings.peak_rate, weight_decay=settings.weight_decay)
    first = load_checkpoint(work / "checkpoint.pt", student, optimiser)
    started, losses = time.perf_counter(), []
    for step in range(first, settings.steps):
        losses.append(train_step(student, optimiser, rooms, settings, step))
        done = step + 1
        if done % settings.probe_every == 0 or done == settings.steps:
            save_checkpoint(work / "checkpoint.pt", student, optimiser, done)
            pace = (time.perf_counter() - started) / (done - first)
            record = {"step": done, "loss": float(np.mean(losses)), "tuning": probe(student, tuning), "seconds": pace}
            append_record(work / "training.jsonl", record)
            losses.clear()


def train_step(
    student: Student, optimiser: torch.optim.Optimizer, rooms: Sequence[Path], settings: Settings, step: int
) -> float:
    """Take one optimiser step, the same for the same seed and step, and return the loss."""
    student.train()
    rng = np.random.default_rng((settings.seed, step))
    chosen = rng.choice(len(rooms), settings.rooms_per_step, replace=False)
    for group in optimiser.param_groups:
        group["lr"] = settings.peak_rate * warm_cosine(step, settings.steps, settings.warm_up)
    lessons = [read_lesson(rooms[index]) for index in chosen]
    loss = student.loss(*join_lessons(lessons, rng, student.shape.voxel_m))
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.item()


@torch.inference_mode()
def probe(student: Student, rooms: Sequence[Path]) -> float:
    """Return the mean loss over held-out rooms or streets."""
    student.eval()
    lessons = (join_lessons([read_lesson(path)], None, student.shape.voxel_m) for path in rooms)
    return float(np.mean([float(student.loss(*lesson)) for lesson in lessons]))


def export(student: Student, out: Path) -> None:
    """Write the network in 16 bit with MinkowskiEngine's names, and its configuration."""
    write_text(out / "config.json", json.dumps({"network": "MinkUNet", **asdict(student.shape)}, indent=2) + "\n")
    write_half_precision(student.network.state_dict(), out / "model.safetensors")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, write missing lessons and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", choices=tuple(WORLDS), default=ROOMS.name)
    parser.add_argument("--start", choices=tuple(STARTS), default="tags", help="kind of the image backbone")
    parser.add_argument("--backbone", type=Path, default=None, help="the image backbone (default: the package's)")
    parser.add_argument("--out", type=Path, default=None, help="folder for the weights (default: the package's)")
    parser.add_argument("--work", type=Path, required=True, help="folder for lessons (2 MB each), checkpoint and log")
    parser.add_argument("--rooms", type=int, default=1600, help="rooms, or streets")
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--processes", type=int, default=2, help="number of processes that render")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    world = WORLDS[options.world]
    backbone, start = (world.weights(part) for part in STARTS[options.start])
    plan = LessonPlan(world, options.backbone or backbone)
    seeds = range(world.teacher_seeds, world.teacher_seeds + options.rooms)
    rooms = write_lessons(options.work / "rooms", plan, seeds, options.processes)
    held_out = range(world.tuning_seeds, world.tuning_seeds + TUNING)
    tuning = write_lessons(options.work / "tuning", plan, held_out)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    sample = np.concatenate([read_lesson(path).features[::37] for path in rooms[:48]])
    student = Student(torch.from_numpy(sample).float(), SHAPES[world.name])
    train(student, rooms, tuning, Settings(steps=options.steps, seed=options.seed), options.work)
    export(student, options.out or start)


if __name__ == "__main__":
    main()
