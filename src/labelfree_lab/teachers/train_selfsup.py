"""Train a 2D start without class names: `python -m labelfree_lab.teachers.train_selfsup --corpus DIR ...`.

A narrow ResNet-18 is trained to predict from an image alone what a scan measures around each of its points: height,
shape of the surface, and occupied heights of the column that the point stands in (`scans.py`). These contexts are
clustered by k-means, and the network predicts the cluster (Caron et al., Deep Clustering, ECCV 2018). Supervising an
image network by geometry instead of labels follows split-brain autoencoders (Zhang et al., CVPR 2017: depth from
colours), Jiang et al. (ECCV 2018: relative depth on streets) and Pri3D (Hou et al., ICCV 2021: posed RGB-D scans).

Of the corpora only `corpus.json` is read, for its world and its seeds. No class name, tag, class map or instance map
is used, not even to aim crops: views are those of a walk or a drive, crops are random.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from labelfree.errors import InputError
from labelfree.nets.resnet import ResNet
from labelfree.runtime.precision import fast_autocast
from labelfree_lab.teachers.clusters import Clusters
from labelfree_lab.teachers.corpus import read_plan
from labelfree_lab.teachers.crops import Windows, cut_out, jitter_colours
from labelfree_lab.teachers.photo_training import photo_training_parser
from labelfree_lab.teachers.scans import CELL_PX, WIDTHS, Scan, read_scans, write_scans
from labelfree_lab.teachers.train_backbone import SIDE, WIDTH, export_backbone, normalise
from labelfree_lab.teachers.training_log import append_record, load_checkpoint, save_checkpoint, warm_cosine
from labelfree_lab.teachers.worlds import WORLDS

STRIDE = 16
"""Image pixels per feature during training; the lab's 2D network reads the same weights at stride 8."""
GRID = SIDE // 8
"""Cells of a crop's side whose clusters are predicted, at the stride of the lab's 2D network."""
PROBE = 2**31
"""First step of the draws of held-out crops; no training is that long."""
TUNING = 12
"""Number of held-out rooms or streets that the curve is measured on."""


@dataclass(frozen=True)
class Settings:
    """How the start is trained."""

    steps: int = 6000
    batch: int = 64
    peak_rate: float = 2e-3
    crop_sides: tuple[int, int] = (48, 96)
    """Sides of the crops in pixels of the images."""
    clusters: int = 64
    jitter: float = 0.3
    warm_up: int = 100
    weight_decay: float = 0.05
    probe_every: int = 250
    seed: int = 0


class ContextNet(nn.Module):
    """A backbone with a linear layer that predicts the clusters of 2 x 2 cells from each of its places."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.backbone = ResNet("resnet18", WIDTH, STRIDE)
        self.head = nn.Conv2d(8 * WIDTH, count * (STRIDE // 8) ** 2, 1)
        self.clusters = Clusters(WIDTHS, count)

    def forward(self, pixels: Tensor) -> Tensor:  # [B, 3, H, W] -> [B, K, H / 8, W / 8]
        """Return the logits of the clusters."""
        return functional.pixel_shuffle(self.head(self.backbone(pixels)).float(), STRIDE // 8)

    def loss(self, pixels: Tensor, context: Tensor) -> Tensor:  # [B, 3, H, W], [B, H / 8, W / 8, D]
        """Return the weighted cross-entropy over the cells whose context is known."""
        return functional.cross_entropy(
            self(pixels), self.clusters(context), weight=self.clusters.weight, ignore_index=-1
        )


@dataclass(frozen=True)
class Course:
    """The data, settings and folders of a training run."""

    scan: Scan
    tuning: Scan
    settings: Settings
    work: Path
    """Folder of the checkpoint and of the log of single steps."""
    out: Path
    """Folder of the weights to ship and of the curve."""


def new_context_net(scan: Scan, settings: Settings) -> ContextNet:
    """Return a randomly initialised network with clusters of the scan's contexts, the same for the same seed."""
    torch.manual_seed(settings.seed)
    model = ContextNet(settings.clusters)
    known = scan.context.reshape(-1, scan.context.shape[-1])
    known = known[np.isfinite(known[:, 0])]
    chosen = np.random.default_rng(settings.seed).permutation(len(known))[: 400 * settings.clusters]
    sample = torch.from_numpy(known[chosen].astype(np.float32))
    model.clusters.fit(sample, torch.Generator().manual_seed(settings.seed))
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def random_windows(rng: np.random.Generator, shape: tuple[int, ...], count: int, sides: tuple[int, int]) -> Windows:
    """Return random square windows of n images [n, H, W, ...]; every image and every place is equally likely."""
    images, height, width = shape[:3]
    longest = min(sides[1], height, width)
    side = np.exp(rng.uniform(np.log(min(sides[0], longest)), np.log(longest), count)).round().astype(np.int64)
    top, left = ((rng.random(count) * (extent - side + 1)).astype(np.int64) for extent in (height, width))
    return Windows(rng.integers(images, size=count), top, left, side, side)


def draw_batch(scan: Scan, settings: Settings, step: int) -> tuple[Tensor, Tensor]:  # [B, 3, S, S], [B, g, g, D]
    """Return the normalised crops of one step and the contexts of their cells, the same for the same seed and step."""
    rng = np.random.default_rng((settings.seed, step))
    windows = random_windows(rng, scan.images.shape, settings.batch, settings.crop_sides)
    flip = rng.random(settings.batch) < 0.5
    pixels = cut_out(scan, windows, (SIDE, SIDE), flip)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    pixels = normalise(jitter_colours(pixels, generator, settings.jitter))
    return pixels.contiguous(memory_format=torch.channels_last), cut_context(scan.context, windows, flip)


def cut_context(
    context: NDArray[np.float16],  # [n, H / CELL_PX, W / CELL_PX, D]
    windows: Windows,
    flip: NDArray[np.bool_],  # [B]
) -> Tensor:  # [B, GRID, GRID, D]
    """Return the contexts at the centres of GRID x GRID cells of each window, mirrored where `flip` is set."""
    centre = (np.arange(GRID) + 0.5) / GRID
    row = ((windows.top[:, None] + centre * windows.height[:, None]) // CELL_PX).astype(np.int64)
    column = ((windows.left[:, None] + centre * windows.width[:, None]) // CELL_PX).astype(np.int64)
    column = np.where(flip[:, None], column[:, ::-1], column)
    cut = context[windows.picture[:, None, None], row[:, :, None], column[:, None]]
    return torch.from_numpy(cut).float()


def train(model: ContextNet, course: Course) -> None:
    """Train to the last step, or resume from the checkpoint; `out` holds the weights of the last probe."""
    settings, checkpoint = course.settings, course.work / "checkpoint.pt"
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=settings.peak_rate, weight_decay=settings.weight_decay)
    first = load_checkpoint(checkpoint, model, optimiser)
    started = time.perf_counter()
    for step in range(first, settings.steps):
        loss = train_step(model, optimiser, draw_batch(course.scan, settings, step), settings, step)
        done = step + 1
        if done % 20 == 0:
            pace = (time.perf_counter() - started) / (done - first)
            append_record(course.work / "steps.jsonl", {"step": done, "loss": loss, "seconds_per_step": pace})
        if done % settings.probe_every == 0 or done == settings.steps:
            save_checkpoint(checkpoint, model, optimiser, done)
            held_out = probe(model, course.tuning, settings)
            append_record(course.out / "training.jsonl", {"step": done, "loss": loss, "tuning": held_out})
            export_backbone(model.backbone, course.out)


def train_step(
    model: ContextNet, optimiser: torch.optim.Optimizer, batch: tuple[Tensor, Tensor], settings: Settings, step: int
) -> float:
    """Take one optimiser step and return the loss."""
    model.train()
    for group in optimiser.param_groups:
        group["lr"] = settings.peak_rate * warm_cosine(step, settings.steps, settings.warm_up)
    with fast_autocast(batch[0].device):
        loss = model.loss(*batch)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.item()


@torch.inference_mode()
def probe(model: ContextNet, tuning: Scan, settings: Settings, batches: int = 4) -> float:
    """Return the mean loss over crops of held-out rooms or streets, the same crops at every call."""
    model.eval()
    return float(np.mean([float(model.loss(*draw_batch(tuning, settings, PROBE + n))) for n in range(batches)]))


def scan_paths(corpus: Path, folder: Path, rooms: int, views: int, processes: int) -> list[Path]:
    """Write the scans of a corpus' first rooms or streets and return their paths; only `corpus.json` is read."""
    plan = read_plan(corpus)
    if rooms < 1:
        raise InputError(f"--rooms is {rooms}: give at least 1.")
    seeds = range(plan.first_seed, plan.first_seed + min(rooms, plan.rooms))
    return write_scans(folder, WORLDS[plan.world], seeds, views, processes)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, write missing scans and train."""
    parser = photo_training_parser(__doc__, Settings.steps)
    parser.add_argument(
        "--rooms", type=int, default=800, help="rooms, or streets, of the corpus (default: %(default)s)"
    )
    parser.add_argument(
        "--views", type=int, default=4, help="images of a room (default: %(default)s); a street has six"
    )
    parser.add_argument("--processes", type=int, default=1, help="processes that render (default: %(default)s)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    worlds = [read_plan(corpus).world for corpus in (options.corpus, options.tuning)]
    if worlds[0] != worlds[1]:
        raise InputError(f"{options.tuning} shows {worlds[1]}, but {options.corpus} shows {worlds[0]}: give one world.")
    paths = scan_paths(options.corpus, options.work / worlds[0], options.rooms, options.views, options.processes)
    held_out = scan_paths(options.tuning, options.work / "tuning", TUNING, options.views, 1)
    scan, tuning = read_scans(paths), read_scans(held_out)
    settings = Settings(steps=options.steps, seed=options.seed)
    out = options.out or WORLDS[worlds[0]].weights("selfsup")
    train(new_context_net(scan, settings), Course(scan, tuning, settings, options.work, out))


if __name__ == "__main__":
    main()
