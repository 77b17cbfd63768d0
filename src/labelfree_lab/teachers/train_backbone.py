"""Train the lab's substitute for an ImageNet backbone: `python -m labelfree_lab.teachers.train_backbone --corpus DIR`.

A narrow ResNet-18 is trained to predict which classes are visible in an image (multi-label tags), not where. The
backbone is shipped without its tag classifier; every method of the lab starts from it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from labelfree.files.atomic import write_text
from labelfree.nets.resnet import ResNet
from labelfree.nets.segmenters import IMAGENET_MEAN, IMAGENET_STD
from labelfree.runtime.precision import fast_autocast
from labelfree_lab.teachers.corpus import open_pair
from labelfree_lab.teachers.crops import TaggedPictures, Windows, aim_at_objects, cut_out, jitter_colours, read_tags
from labelfree_lab.teachers.photo_training import PhotoTraining, photo_training_parser
from labelfree_lab.teachers.training_log import (
    append_record,
    load_checkpoint,
    save_checkpoint,
    warm_cosine,
    write_half_precision,
)

WIDTH = 24
"""Channels of the first stage; ResNet-18 has 64."""

SIDE = 64
"""Side of a training image in pixels."""


@dataclass(frozen=True)
class Settings(PhotoTraining):
    """How the backbone is trained."""

    steps: int = 2600
    batch: int = 96
    peak_rate: float = 2e-3
    crop_sides: tuple[int, int] = (28, 96)
    probe_every: int = 250


class TagNet(nn.Module):
    """A backbone with a linear classifier at every place of its last map; the logit of a tag is their soft maximum.

    A tag means that a class is somewhere in the image, so the place with the highest logit decides (multiple-instance
    learning). The classifier's map then localises the class, although training had no positions.
    """

    def __init__(self, backbone: ResNet, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Conv2d(8 * WIDTH, classes, 1)

    def forward(self, pixels: Tensor) -> Tensor:  # [B, 3, H, W] -> [B, K]
        """Return the logits of the tags."""
        places = self.classifier(self.backbone(pixels)).float().flatten(2)
        return places.logsumexp(2) - math.log(places.shape[2])


@dataclass(frozen=True)
class Course:
    """The data, settings and folders of a training run."""

    pictures: TaggedPictures
    tuning: TaggedPictures
    settings: Settings
    work: Path
    """Folder of the checkpoint and of the log of single steps."""
    out: Path
    """Folder of the weights to ship and of the curve."""


def new_tag_net(seed: int, classes: int) -> TagNet:
    """Return a randomly initialised network, the same for the same seed."""
    torch.manual_seed(seed)
    return TagNet(ResNet("resnet18", WIDTH, 32), classes).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def load_tag_net(checkpoint: Path, classes: int) -> TagNet:
    """Return a trained tag network, frozen."""
    model = TagNet(ResNet("resnet18", WIDTH, 32), classes)
    load_checkpoint(checkpoint, model)
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def normalise(pixels: Tensor) -> Tensor:  # [B, 3, H, W] in 0..1
    """Return images minus ImageNet's mean, divided by its standard deviation, as `Segmenter2D` does."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels - mean) / std


def draw_batch(
    pictures: TaggedPictures, settings: Settings, step: int
) -> tuple[Tensor, Tensor]:  # [B, 3, H, W] normalised, [B, K] float32 tags
    """Return the crops of one step and their tags, the same for the same seed and step."""
    rng = np.random.default_rng((settings.seed, step))
    windows = aim_at_objects(rng, pictures, settings.batch, settings.crop_sides)
    tags = torch.from_numpy(read_tags(pictures, windows, settings.min_share)).float()
    pixels = cut_out(pictures, windows, (SIDE, SIDE), rng.random(settings.batch) < 0.5)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    pixels = normalise(jitter_colours(pixels, generator))
    return pixels.contiguous(memory_format=torch.channels_last), tags


def train(model: TagNet, course: Course) -> None:
    """Train to the last step, or resume from the checkpoint; `out` holds the weights of the last probe."""
    settings, checkpoint = course.settings, course.work / "checkpoint.pt"
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.peak_rate, weight_decay=settings.weight_decay)
    first = load_checkpoint(checkpoint, model, optimiser)
    started = time.perf_counter()
    for step in range(first, settings.steps):
        loss = train_step(model, optimiser, draw_batch(course.pictures, settings, step), settings, step)
        done = step + 1
        if done % 20 == 0:
            pace = (time.perf_counter() - started) / (done - first)
            append_record(course.work / "steps.jsonl", {"step": done, "loss": loss, "seconds_per_step": pace})
        if done % settings.probe_every == 0 or done == settings.steps:
            save_checkpoint(checkpoint, model, optimiser, done)
            precision = 100 * float(np.nanmean(tag_precision(model, course.tuning, settings)))
            append_record(course.out / "training.jsonl", {"step": done, "loss": loss, "tag_map": precision})
            export(model, course.out)


def train_step(
    model: TagNet, optimiser: torch.optim.Optimizer, batch: tuple[Tensor, Tensor], settings: Settings, step: int
) -> float:
    """Take one optimiser step and return the loss."""
    model.train()
    for group in optimiser.param_groups:
        group["lr"] = settings.peak_rate * warm_cosine(step, settings.steps, settings.warm_up)
    pixels, tags = batch
    with fast_autocast(pixels.device):
        logits = model(pixels)
    loss = functional.binary_cross_entropy_with_logits(logits.float(), tags)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.item()


@torch.inference_mode()
def tag_precision(model: TagNet, pictures: TaggedPictures, settings: Settings) -> NDArray[np.float64]:  # [K]
    """Return the average precision of each tag over whole images; `nan` for tags that no image or all images have."""
    model.eval()
    count, height, width = pictures.classes.shape
    whole = Windows(np.arange(count), *(np.full(count, side) for side in (0, 0, height, width)))
    tags = read_tags(pictures, whole, settings.min_share)
    pixels = normalise(cut_out(pictures, whole, (height, width), np.zeros(count, bool)))
    scores = torch.cat([model(part).float() for part in pixels.split(64)]).numpy()
    return np.asarray([average_precision(scores[:, k], tags[:, k]) for k in range(tags.shape[1])])


def average_precision(
    scores: NDArray[np.float32],  # [B]
    truth: NDArray[np.bool_],  # [B]
) -> float:
    """Return the mean precision at the rank of each true item; `nan` if none or all are true."""
    if truth.all() or not truth.any():
        return float("nan")
    ranked = truth[np.argsort(-scores, kind="stable")]
    return float((ranked.cumsum() / np.arange(1, len(ranked) + 1))[ranked].mean())


def export(model: TagNet, out: Path) -> None:
    """Write the backbone of a tag network."""
    export_backbone(model.backbone, out)


def export_backbone(backbone: ResNet, out: Path) -> None:
    """Write a backbone in 16 bit with torchvision's names, and its configuration."""
    config = {"model_type": "resnet18", "width": WIDTH, "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    write_text(out / "config.json", json.dumps(config, indent=2) + "\n")
    write_half_precision(backbone.state_dict(), out / "model.safetensors")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and train."""
    options = photo_training_parser(__doc__, Settings.steps).parse_args(arguments)
    torch.set_num_threads(options.threads)
    pair = open_pair(options.corpus, options.tuning)
    world, classes = pair[0].world, len(pair[0].class_names)
    pictures, tuning = (TaggedPictures.index(corpus.images, corpus.classes, classes) for corpus in pair)
    settings = Settings(steps=options.steps, seed=options.seed)
    out = options.out or world.weights("backbone")
    train(new_tag_net(options.seed, classes), Course(pictures, tuning, settings, options.work, out))


if __name__ == "__main__":
    main()
