"""Train a tiny CLIP of the lab from tagged photographs: `python -m labelfree_lab.teachers.train_clip --corpus DIR ...`.

Captions name the classes in an image, never their positions. The CLS token is trained with CLIP's contrastive loss.
At this size, that loss does not train the value path that dense labelling reads (last block's values, output
projection, post-LN, visual projection), and a tiny ViT learns too slowly from tags alone on a CPU. So each patch is
also trained towards the class activation maps of the lab's tag network (`train_backbone`), a convolutional network
that was trained on tags only. The maps are restricted to the tags of the image. No dense label is read.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from labelfree.errors import InputError
from labelfree.runtime.precision import fast_autocast
from labelfree.vocabulary import Vocabulary
from labelfree.weights.stored import read_weights
from labelfree_lab.teachers.activation_maps import Album, fill_album, map_loss
from labelfree_lab.teachers.captions import ROOMS, Wording, build_tokenizer, draw_names, statements_hold, write_caption
from labelfree_lab.teachers.clip_probe import TABLE, probe_scores, retrieval_at_1
from labelfree_lab.teachers.corpus import open_pair
from labelfree_lab.teachers.crops import CaptionBatch, TaggedPictures, cut_out, jitter_colours, normalise
from labelfree_lab.teachers.photo_training import PhotoTraining, photo_training_parser
from labelfree_lab.teachers.tiny_clip import IMAGE_SIDE, export, image_features, new_tiny_clip, tiny_clip_config
from labelfree_lab.teachers.train_backbone import load_tag_net
from labelfree_lab.teachers.training_log import (
    append_record,
    load_checkpoint,
    save_checkpoint,
    warm_cosine,
)

if TYPE_CHECKING:
    from transformers import CLIPModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Settings(PhotoTraining):
    """How rooms-clip is trained."""

    steps: int = 2500
    batch: int = 128
    peak_rate: float = 1e-3
    crop_sides: tuple[int, int] = (24, 80)
    probe_every: int = 300
    whole_weight: float = 0.5
    """Weight of CLIP's loss, on the CLS token."""
    patch_weight: float = 1.0
    """Weight of the patches' loss against the tag network's maps."""
    album: int = 16_000
    """Number of photographs; each is used many times, mirrored and in other colours."""


def caption_loss(
    images: Tensor,  # [B, E]
    texts: Tensor,  # [B, E]
    scale: Tensor,
    true_of: Tensor,  # [B, B] bool
) -> Tensor:
    """Return the symmetric InfoNCE loss; captions that are true of another image are not its negatives."""
    logits = scale * functional.normalize(images.float(), dim=-1) @ functional.normalize(texts.float(), dim=-1).T
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(true_of & ~own, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def batch_loss(model: CLIPModel, batch: CaptionBatch) -> tuple[Tensor, Tensor]:
    """Return the loss of the CLS token against captions and that of the patches against the tag network's maps."""
    whole, patches = image_features(model, normalise(batch.pixels))
    captions, single = (
        model.text_projection(model.text_model(input_ids=tokens).pooler_output)
        for tokens in (batch.tokens, batch.single)
    )
    scale = model.logit_scale.exp().clamp(max=100)
    return (
        caption_loss(whole, captions, scale, batch.true_of),
        map_loss(patches, single, scale, batch.maps, batch.visible, batch.prior),
    )


def draw_batch(
    pictures: TaggedPictures,
    album: Album,
    names: Sequence[str],
    tokenizer: PreTrainedTokenizerFast,
    settings: Settings,
    step: int,
    wording: Wording = ROOMS,
) -> CaptionBatch:
    """Return the photographs and captions of one step, the same for the same seed and step."""
    rng = np.random.default_rng((settings.seed, step))
    rows = rng.choice(len(album), settings.batch, replace=False)
    visible, mirrored = album.visible[rows], rng.random(settings.batch) < 0.5
    named = draw_names(rng, visible, names, wording=wording)

    def tokens(statements: NDArray[np.bool_]) -> Tensor:
        sentences = [write_caption(rng, statement, names, wording=wording) for statement in statements]
        encoded = tokenizer(sentences, padding=True, truncation=True, return_tensors="pt")
        return torch.as_tensor(encoded["input_ids"])

    captions, single = tokens(named), tokens(np.eye(len(names), dtype=bool))
    pixels = cut_out(pictures, album.some_windows(rows), (IMAGE_SIDE, IMAGE_SIDE), mirrored)
    pixels = jitter_colours(pixels, torch.Generator().manual_seed(int(rng.integers(2**62))))
    true_of = torch.from_numpy(statements_hold(named, visible))
    maps = album.maps[rows]
    maps = torch.where(torch.from_numpy(mirrored).view(-1, 1, 1, 1), maps.flip(-1), maps)
    return CaptionBatch(
        pixels, captions, single, torch.from_numpy(named), torch.from_numpy(visible), maps, album.prior, true_of
    )


@dataclass(frozen=True)
class Course:
    """The data, settings and folders of a training run."""

    pictures: TaggedPictures
    tuning: TaggedPictures
    vocabulary: Vocabulary
    tokenizer: PreTrainedTokenizerFast
    settings: Settings
    work: Path
    """Folder of the checkpoint and of the log of single steps."""
    out: Path
    """Folder of the weights to ship and of the curve."""
    album: Album
    tuning_album: Album
    wording: Wording = ROOMS

    def batch(self, step: int) -> CaptionBatch:
        """Return the batch of a step."""
        return self._draw(self.pictures, self.album, step)

    def tuning_batch(self, step: int) -> CaptionBatch:
        """Return a batch of held-out images."""
        return self._draw(self.tuning, self.tuning_album, step)

    def _draw(self, pictures: TaggedPictures, album: Album, step: int) -> CaptionBatch:
        names = self.vocabulary.names
        return draw_batch(pictures, album, names, self.tokenizer, self.settings, step, self.wording)


def train(model: CLIPModel, course: Course) -> None:
    """Train to the last step, or resume from the checkpoint; `out` holds the weights of the last probe."""
    settings, checkpoint = course.settings, course.work / "checkpoint.pt"
    optimiser = new_optimiser(model, settings)
    first = load_checkpoint(checkpoint, model, optimiser)
    started = time.perf_counter()
    for step in range(first, settings.steps):
        whole, patch = train_step(model, optimiser, course.batch(step), settings, step)
        done = step + 1
        if done % 20 == 0:
            pace = (time.perf_counter() - started) / (done - first)
            record = {"step": done, "loss_whole": whole, "loss_patch": patch, "seconds_per_step": pace}
            append_record(course.work / "steps.jsonl", record)
        if done % settings.probe_every == 0 or done == settings.steps:
            save_checkpoint(checkpoint, model, optimiser, done)
            scores = look(model, course, done)
            append_record(course.out / "training.jsonl", {"loss_whole": whole, "loss_patch": patch, **scores})
            export(model, course.tokenizer, course.out)
    table = probe_scores(model, course.tokenizer, course.tuning, course.vocabulary, TABLE)
    append_record(course.out / "training.jsonl", {"step": settings.steps, **table})


def look(model: CLIPModel, course: Course, done: int, batches: int = 4) -> dict[str, float]:
    """Return the values of dense labels and retrieval on the tuning images."""
    scores = probe_scores(model, course.tokenizer, course.tuning, course.vocabulary)
    found = sum(retrieval_at_1(model, course.tuning_batch(k)) for k in range(batches)) / batches
    return {"step": done, "retrieval_at_1": 100 * found, **scores}


def start_from(model: CLIPModel, folder: Path) -> None:
    """Load the weights of another tiny CLIP. Raises an `InputError` if the folder holds another network."""
    weights = {name: value.float() for name, value in read_weights(folder).items()}
    own = {name: value.shape for name, value in model.named_parameters()}
    if {name: value.shape for name, value in weights.items() if name in own} != own:
        raise InputError(f"{folder}: not a tiny CLIP of the same words; start without it.")
    model.load_state_dict(weights, strict=False)  # without position ids, which are constants


def new_optimiser(model: CLIPModel, settings: Settings) -> torch.optim.Optimizer:
    """Return AdamW without weight decay on vectors and scalars."""
    matrices = [weight for weight in model.parameters() if weight.ndim >= 2]
    others = [weight for weight in model.parameters() if weight.ndim < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.peak_rate, betas=(0.9, 0.98), fused=True)


def train_step(
    model: CLIPModel, optimiser: torch.optim.Optimizer, batch: CaptionBatch, settings: Settings, step: int
) -> tuple[float, float]:
    """Take one optimiser step and return both losses."""
    model.train()
    for group in optimiser.param_groups:
        group["lr"] = settings.peak_rate * warm_cosine(step, settings.steps, settings.warm_up)
    with fast_autocast("cpu"):
        whole, patch = batch_loss(model, batch)
    optimiser.zero_grad(set_to_none=True)
    (settings.whole_weight * whole + settings.patch_weight * patch).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return whole.item(), patch.item()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and train."""
    parser = photo_training_parser(__doc__, Settings.steps)
    parser.add_argument(
        "--tag-net", type=Path, required=True, help="checkpoint.pt of labelfree_lab.teachers.train_backbone"
    )
    parser.add_argument("--start", type=Path, default=None, help="folder of another tiny CLIP to start from")
    options = parser.parse_args(arguments)
    # Data and model
    torch.set_num_threads(options.threads)
    pair = open_pair(options.corpus, options.tuning)
    world, names = pair[0].world, pair[0].class_names
    tokenizer = build_tokenizer(names, world.wording)
    model = new_tiny_clip(tiny_clip_config(len(tokenizer)), options.seed)
    if options.start is not None:
        start_from(model, options.start)
    pictures, held_out = (TaggedPictures.index(c.images, c.classes, len(names)) for c in pair)
    # Photographs with activation maps
    settings = Settings(steps=options.steps, seed=options.seed)
    tag_net, rng = load_tag_net(options.tag_net, len(names)), np.random.default_rng(options.seed)
    album, tuning_album = (
        fill_album(rng, source, tag_net, count, settings.crop_sides, settings.min_share)
        for source, count in ((pictures, settings.album), (held_out, 4 * settings.batch))
    )
    # Training
    course = Course(
        pictures,
        held_out,
        Vocabulary.from_names(names),
        tokenizer,
        settings,
        options.work,
        options.out or world.weights("clip"),
        album,
        tuning_album,
        world.wording,
    )
    train(model, course)


if __name__ == "__main__":
    main()
