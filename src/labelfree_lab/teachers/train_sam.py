"""Train a tiny SAM of the lab: `python -m labelfree_lab.teachers.train_sam --corpus DIR --work DIR ...`.

It is trained on class-agnostic masks of objects and of their parts.

Each image gets a few point prompts. The best of a prompt's three masks for the object at the point is trained towards
the object, the best for the part towards the part, and the predicted IoU of all three towards their true IoU. A second
loss predicts from the neck features which pairs of patches belong to one instance; it trains the encoder faster than
the decoder's gradient does.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from labelfree.teachers.images import normalise, pad_bottom_right
from labelfree.teachers.sam import SAM_MEAN, SAM_STD
from labelfree_lab.teachers.corpus import open_pair
from labelfree_lab.teachers.crops import jitter_colours
from labelfree_lab.teachers.sam_probe import Probe, probe_scores
from labelfree_lab.teachers.sam_targets import affinity_loss, draw_prompts, instance_masks, mask_losses, token_instances
from labelfree_lab.teachers.tiny_sam import (
    ENLARGED,
    LAYERS,
    PATCH,
    added_layers,
    decode_points,
    export_tiny_sam,
    neck_features,
    new_tiny_sam,
    padded_side,
    start_from,
    tiny_sam_config,
)
from labelfree_lab.teachers.training_log import append_record, load_checkpoint, save_checkpoint, warm_cosine

if TYPE_CHECKING:
    from transformers import SamModel

PROBE_PICTURES = 24


@dataclass(frozen=True)
class Settings:
    """Settings of the training of a tiny SAM."""

    steps: int = 5000
    batch: int = 8
    prompts: int = 8
    """Point prompts per image."""
    peak_rate: float = 1e-3
    warm_up: int = 150
    weight_decay: float = 0.02
    affinity_weight: float = 0.5
    score_weight: float = 4.0
    """Weight of the squared error of the predicted IoU, which the filters of everything mode rely on."""
    padded_every: int = 10
    """Steps between batches that are padded to a square, as in inference; padding costs a quarter of the time."""
    padded_from: float = 0.8
    """Share of the steps after which every batch is padded."""
    average: float = 0.998
    """Decay of the running mean of the weights; the mean is shipped."""
    probe_every: int = 500
    seed: int = 0
    patch: int = PATCH
    """Side of an image token in pixels."""

    def is_padded(self, step: int) -> bool:
        """Return whether the batch of a step includes the padding below the image."""
        return step >= self.padded_from * self.steps or step % self.padded_every == 0


@dataclass(frozen=True)
class PromptBatch:
    """B images with P prompts each."""

    pixels: Tensor  # [B, 3, H, W] normalised
    points: Tensor  # [B, P, 2] (x, y)
    targets: Tensor  # [B, P, 2, h, w] in 0..1 on the grid of the masks, the object and the part at each point
    owners: Tensor  # [B, h*w] int64, the instance of each patch


class Learner(nn.Module):
    """A tiny SAM with the scale and shift that map a cosine of neck features to a logit."""

    def __init__(self, sam: SamModel, settings: Settings) -> None:
        super().__init__()
        self.sam = sam
        self.settings = settings
        self.affinity_scale = nn.Parameter(torch.tensor(5.0))
        self.affinity_shift = nn.Parameter(torch.tensor(-2.5))

    def forward(
        self, pixels: Tensor, points: Tensor, targets: Tensor, owners: Tensor
    ) -> tuple[Tensor, Tensor]:  # [], [5]
        """Return the loss and its parts for the log: masks, scores, affinity, best IoU, picked IoU."""
        features = neck_features(self.sam, pixels)
        logits, scores = decode_points(self.sam, features, points)
        rows = targets.shape[-2]
        losses = mask_losses(logits[..., :rows, :], scores, targets)
        inside = features[:, :, : rows // ENLARGED]
        affinity = affinity_loss(inside, owners, self.affinity_scale, self.affinity_shift)
        weights = self.settings
        total = losses.masks + weights.score_weight * losses.scores + weights.affinity_weight * affinity
        parts = [losses.masks, losses.scores, affinity, losses.best_iou, losses.picked_iou]
        return total, torch.stack([part.detach() for part in parts])


def draw_batch(
    images: NDArray[np.uint8],  # [n, H, W, 3]
    instances: NDArray[np.uint16],  # [n, H, W]
    parts: NDArray[np.uint16],  # [n, H, W]
    settings: Settings,
    step: int,
) -> PromptBatch:
    """Return the images and prompts of one step, the same for the same seed and step."""
    rng = np.random.default_rng((settings.seed, step))
    chosen = np.sort(rng.choice(len(images), settings.batch, replace=len(images) < settings.batch))
    flip = rng.random(settings.batch) < 0.5
    pictures = np.where(flip[:, None, None, None], images[chosen][:, :, ::-1], images[chosen])
    objects, pieces = (
        np.where(flip[:, None, None], each[chosen][:, :, ::-1], each[chosen]) for each in (instances, parts)
    )
    half = settings.prompts // 2
    prompts = [draw_prompts(rng, objects, settings.prompts - half), draw_prompts(rng, pieces, half)]
    points = torch.from_numpy(np.concatenate([each.points for each in prompts], 1))
    ids = torch.from_numpy(objects.astype(np.int64))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    colours = jitter_colours(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255, generator)
    pixels = normalise(colours * 255, SAM_MEAN, SAM_STD)
    if settings.is_padded(step):
        side = padded_side((images.shape[1], images.shape[2]), settings.patch)
        pixels = pad_bottom_right(pixels, (side, side))
    levels = (ids, torch.from_numpy(pieces.astype(np.int64)))
    targets = torch.stack([masks_at(each, points, settings.patch // ENLARGED) for each in levels], 2)
    return PromptBatch(pixels.contiguous(), points, targets, token_instances(ids, settings.patch))


def masks_at(
    ids: Tensor,  # [B, H, W] int64
    points: Tensor,  # [B, P, 2] (x, y) in pixels
    stride: int,
) -> Tensor:  # [B, P, H/stride, W/stride] in 0..1
    """Return the mask of the id at each point."""
    columns, rows = points.long().unbind(-1)
    return instance_masks(ids, ids[torch.arange(len(ids))[:, None], rows, columns], stride)


def new_optimiser(learner: Learner, settings: Settings) -> torch.optim.Optimizer:
    """Return AdamW without weight decay on vectors, scalars and embeddings of tokens."""
    trained = [weight for weight in learner.parameters() if weight.requires_grad]
    matrices = [weight for weight in trained if weight.ndim >= 2 and weight.shape[0] > 4]
    others = [weight for weight in trained if weight.ndim < 2 or weight.shape[0] <= 4]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.peak_rate, betas=(0.9, 0.98), fused=True)


def train_step(
    forward: Callable[..., tuple[Tensor, Tensor]],
    learner: Learner,
    optimiser: torch.optim.Optimizer,
    batch: PromptBatch,
    step: int,
) -> Tensor:  # [5], see Learner.forward
    """Take one optimiser step and return the parts of its loss; `forward` is the learner, compiled or not."""
    settings = learner.settings
    for group in optimiser.param_groups:
        group["lr"] = settings.peak_rate * warm_cosine(step, settings.steps, settings.warm_up)
    loss, parts = forward(batch.pixels, batch.points, batch.targets, batch.owners)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
    optimiser.step()
    return parts


@torch.no_grad()
def follow(average: Learner, learner: Learner, step: int) -> None:
    """Update the running mean of the weights, faster in the beginning."""
    decay = min(learner.settings.average, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(learner.parameters()), 1 - decay)


@dataclass(frozen=True)
class Places:
    """The folders of a training run."""

    work: Path
    """Folder of the checkpoint and of the log of every 25 steps."""
    out: Path
    """Folder of the shipped weights and of the log of every probe."""


def train(
    learner: Learner,
    images: NDArray[np.uint8],
    instances: NDArray[np.uint16],
    parts: NDArray[np.uint16],
    probe: Probe,
    places: Places,
    compiled: bool = False,
) -> Learner:
    """Train to the last step, or resume from the checkpoint; return the mean weights, exported at each probe."""
    settings, average = learner.settings, copy.deepcopy(learner)
    optimiser = new_optimiser(learner, settings)
    both = nn.ModuleList([learner, average])
    first = load_checkpoint(places.work / "checkpoint.pt", both, optimiser)
    forward = torch.compile(learner, dynamic=False) if compiled else learner
    sums, started = torch.zeros(5), time.perf_counter()
    for step in range(first, settings.steps):
        sums += train_step(forward, learner, optimiser, draw_batch(images, instances, parts, settings, step), step)
        follow(average, learner, step)
        done = step + 1
        if done % 25 == 0:
            _log_steps(places.work / "steps.jsonl", done, sums / 25, (time.perf_counter() - started) / (done - first))
            sums.zero_()
        if done % settings.probe_every == 0 or done == settings.steps:
            save_checkpoint(places.work / "checkpoint.pt", both, optimiser, done)
            scores = probe_scores(average.sam, probe)
            append_record(places.out / "training.jsonl", {"step": done, "images": done * settings.batch, **scores})
            export_tiny_sam(average.sam.config, average.sam.state_dict(), places.out)
    return average


def _log_steps(path: Path, step: int, means: Tensor, seconds: float) -> None:
    names = ("loss_masks", "loss_scores", "loss_affinity", "best_iou", "picked_iou")
    append_record(path, {"step": step, **dict(zip(names, means.tolist())), "seconds_per_step": seconds})


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder written by labelfree_lab.teachers.corpus")
    parser.add_argument("--tuning", type=Path, help="a corpus of other rooms or streets, for the curve")
    parser.add_argument("--out", type=Path, default=None, help="folder for weights and log (default: the package's)")
    parser.add_argument("--work", type=Path, required=True, help="folder for the checkpoint")
    parser.add_argument("--start", type=Path, default=None, help="folder of another tiny SAM to start from")
    parser.add_argument("--layers", type=int, default=LAYERS, help="layers of the image encoder")
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--batch", type=int, default=Settings.batch, help="images of a step")
    parser.add_argument("--rate", type=float, default=Settings.peak_rate, help="peak of the learning rate")
    parser.add_argument("--probe-every", type=int, default=Settings.probe_every, help="steps between exports")
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="needs a C++ compiler; about a third faster")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    corpus, held_out = open_pair(options.corpus, options.tuning or options.corpus)
    spread = np.linspace(0, len(held_out.images) - 1, PROBE_PICTURES).astype(np.int64)
    probe = Probe(held_out.images[spread], held_out.instances[spread])
    settings = Settings(steps=options.steps, probe_every=options.probe_every, seed=options.seed, peak_rate=options.rate)
    side, windowed = padded_side(corpus.plan.size), added_layers(options.start, options.layers)
    config = tiny_sam_config(layers=options.layers, image_side=side, windowed=windowed)
    sam = new_tiny_sam(config, options.seed)
    if options.start is not None:
        start_from(sam, options.start)
    learner = Learner(sam, settings)
    places = Places(options.work, options.out or corpus.world.weights("sam"))
    train(learner, corpus.images, corpus.instances, corpus.parts, probe, places, options.compile)


if __name__ == "__main__":
    main()
