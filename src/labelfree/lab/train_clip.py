"""Train the lab's tiny CLIP from tagged photographs: `python -m labelfree.lab.train_clip --corpus DIR --work DIR ...`.

The text says which things are in a picture and never where. The CLS token learns by CLIP's own contrastive loss. The
value path that dense labelling reads (last block's values, output projection, post-LN, visual projection) would stay
without meaning at this size, which in the real model it has; and a tiny ViT learns from tags alone far too slowly for
an afternoon on a CPU. So each patch follows the class activation map of the lab's tag network (`train_backbone`), a
convolutional network that was itself trained on nothing but tags, among the classes that the picture's tags name. No
dense label is ever read, and the maps are as noisy as such maps are.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from labelfree.lab.captions import MAX_TOKENS, build_tokenizer, draw_names, statements_hold, write_caption
from labelfree.lab.clip_probe import TABLE, probe_scores, retrieval_at_1
from labelfree.lab.corpus import open_corpus
from labelfree.lab.crops import TaggedPictures, aim_at_objects, cut_out, jitter_colours, normalise, read_tags
from labelfree.lab.primitives import CLASS_NAMES
from labelfree.lab.train_backbone import TagNet, load_tag_net
from labelfree.lab.train_backbone import normalise as normalise_for_backbone
from labelfree.lab.training_log import (
    append_record,
    load_checkpoint,
    save_checkpoint,
    warm_cosine,
    write_half_precision,
)
from labelfree.precision import fast_autocast
from labelfree.vocabulary import Vocabulary

if TYPE_CHECKING:
    from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

IMAGE_SIDE = 64
"""Side of a training picture, and so of a window of dense labelling."""

PATCH = 8

WEIGHTS = Path(__file__).parent / "weights" / "tiny-clip"


@dataclass(frozen=True)
class Settings:
    """How tiny-CLIP is trained."""

    steps: int = 2400
    batch: int = 128
    peak_rate: float = 1.5e-3
    warm_up: int = 100
    weight_decay: float = 0.05
    crop_sides: tuple[int, int] = (24, 80)
    """Sides of the photographs, in pixels of the corpus' pictures."""
    min_share: float = 0.04
    """Share of a photograph that a class must cover to count as visible."""
    whole_weight: float = 0.5
    """Weight of CLIP's own loss, on the CLS token."""
    patch_weight: float = 1.0
    """Weight of the patches' loss against the tag network's maps."""
    sharpness: float = 1.0
    """Factor of the maps' logits before the softmax over classes."""
    probe_every: int = 300
    seed: int = 0


@dataclass(frozen=True)
class Batch:
    """B photographs with one caption each."""

    pixels: Tensor  # [B, 3, 64, 64] in 0..1
    tokens: Tensor  # [B, L] int64
    single: Tensor  # [K, L] int64: one sentence for each class alone
    named: Tensor  # [B, K] bool: what each caption names
    visible: Tensor  # [B, K] bool: the tags
    true_of: Tensor  # [B pictures, B captions] bool: the caption names only what this picture shows


def tiny_clip_config(vocabulary_size: int, layers: int = 4) -> CLIPConfig:
    """Return CLIP's real architecture at a 1 M parameter size; exact GELU, because it is much faster on CPUs."""
    from transformers import CLIPConfig

    text = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
    text |= {"vocab_size": vocabulary_size, "max_position_embeddings": MAX_TOKENS}
    text |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    vision = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": layers, "num_attention_heads": 4}
    vision |= {"image_size": IMAGE_SIDE, "patch_size": PATCH}
    shared = {"hidden_act": "gelu", "projection_dim": 128}
    return CLIPConfig(text_config=text | shared, vision_config=vision | shared, projection_dim=128)


def new_tiny_clip(config: CLIPConfig, seed: int) -> CLIPModel:
    """Make a randomly initialised model, the same for the same seed; eager attention trains faster on CPUs."""
    from transformers import CLIPModel

    torch.manual_seed(seed)
    config._attn_implementation = "eager"
    return CLIPModel(config)


def image_features(
    model: CLIPModel,
    pixels: Tensor,  # [B, 3, H, W] normalised
) -> tuple[Tensor, Tensor]:  # [B, E], [B, n, E]
    """Return the embedding of the CLS token and those of `dense_values` without residual.

    They share all layers but the last, whose attention and MLP are computed for the CLS token alone.
    """
    vision = model.vision_model
    hidden = vision.pre_layrnorm(vision.embeddings(pixels))
    for layer in vision.encoder.layers[:-1]:
        hidden = layer(hidden, None)
    last = vision.encoder.layers[-1]
    normal = last.layer_norm1(hidden)
    values = last.self_attn.v_proj(normal)
    dense = last.self_attn.out_proj(values[:, 1:])
    whole = hidden[:, 0] + last.self_attn.out_proj(_attend_from_first(last.self_attn, normal, values))
    whole = whole + last.mlp(last.layer_norm2(whole))
    return tuple(model.visual_projection(vision.post_layernorm(part)) for part in (whole, dense))


def _attend_from_first(attention: Any, normal: Tensor, values: Tensor) -> Tensor:  # [B, L, D], [B, L, D] -> [B, D]
    query, key, value = (
        part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for part in (attention.q_proj(normal[:, :1]), attention.k_proj(normal), values)
    )
    weights = (query @ key.transpose(-1, -2) * attention.scale).softmax(-1)
    return (weights @ value).flatten(1)


def caption_loss(
    images: Tensor,  # [B, E]
    texts: Tensor,  # [B, E]
    scale: Tensor,
    true_of: Tensor,  # [B, B] bool
) -> Tensor:
    """Return the symmetric InfoNCE loss; captions that happen to be true of another picture are no negatives of it."""
    logits = scale * functional.normalize(images.float(), dim=-1) @ functional.normalize(texts.float(), dim=-1).T
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(true_of & ~own, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def map_loss(
    patches: Tensor,  # [B, n, E]
    texts: Tensor,  # [K, E] one sentence for each class
    scale: Tensor,
    maps: Tensor,  # [B, K, h, w] logits of the tag network, h * w = n
    visible: Tensor,  # [B, K] bool
) -> Tensor:
    """Return the cross-entropy of each patch against the tag network's map, among the classes that the tags name."""
    cosines = functional.normalize(patches.float(), dim=-1) @ functional.normalize(texts.float(), dim=-1).T
    wanted = maps.flatten(2).transpose(1, 2).masked_fill(~visible[:, None], -torch.inf).softmax(-1)
    return -(wanted * (scale * cosines).log_softmax(-1)).sum(-1).mean()


@torch.no_grad()
def activation_maps(tag_net: TagNet, pixels: Tensor, cells: int) -> Tensor:  # [B, 3, H, W] in 0..1 -> [B, K, h, w]
    """Return the tag network's class activation maps on a grid of cells x cells."""
    images = normalise_for_backbone(pixels).contiguous(memory_format=torch.channels_last)
    maps = tag_net.classifier(tag_net.backbone(images)).float()
    return functional.interpolate(maps, (cells, cells), mode="bilinear", align_corners=False)


def batch_loss(model: CLIPModel, tag_net: TagNet, batch: Batch, settings: Settings) -> tuple[Tensor, Tensor]:
    """Return the loss of the CLS token against captions and that of the patches against the tag network's maps."""
    whole, patches = image_features(model, normalise(batch.pixels))
    captions, single = (
        model.text_projection(model.text_model(input_ids=tokens).pooler_output)
        for tokens in (batch.tokens, batch.single)
    )
    scale = model.logit_scale.exp().clamp(max=100)
    maps = settings.sharpness * activation_maps(tag_net, batch.pixels, IMAGE_SIDE // PATCH)
    return (
        caption_loss(whole, captions, scale, batch.true_of),
        map_loss(patches, single, scale, maps, batch.visible),
    )


def draw_batch(
    pictures: TaggedPictures,
    names: Sequence[str],
    tokenizer: PreTrainedTokenizerFast,
    settings: Settings,
    step: int,
) -> Batch:
    """Draw the photographs and captions of one step; the same for the same seed and step."""
    rng = np.random.default_rng((settings.seed, step))
    windows = aim_at_objects(rng, pictures, settings.batch, settings.crop_sides)
    visible = read_tags(pictures, windows, settings.min_share)
    named = draw_names(rng, visible, names)

    def tokens(rows: NDArray[np.bool_]) -> Tensor:
        sentences = [write_caption(rng, row, names) for row in rows]
        encoded = tokenizer(sentences, padding=True, truncation=True, return_tensors="pt")
        return torch.as_tensor(encoded["input_ids"])

    captions, single = tokens(named), tokens(np.eye(len(names), dtype=bool))
    pixels = cut_out(pictures, windows, (IMAGE_SIDE, IMAGE_SIDE), rng.random(settings.batch) < 0.5)
    pixels = jitter_colours(pixels, torch.Generator().manual_seed(int(rng.integers(2**62))))
    true_of = torch.from_numpy(statements_hold(named, visible))
    return Batch(pixels, captions, single, torch.from_numpy(named), torch.from_numpy(visible), true_of)


@dataclass(frozen=True)
class Course:
    """All that a training run is given besides the model."""

    pictures: TaggedPictures
    tuning: TaggedPictures
    vocabulary: Vocabulary
    tokenizer: PreTrainedTokenizerFast
    settings: Settings
    work: Path
    """Folder of the checkpoint and of the log of single steps."""
    out: Path
    """Folder of the weights to ship and of the curve."""
    tag_net: TagNet
    """The trained tag network, frozen."""


def train(model: CLIPModel, course: Course) -> None:
    """Train to the last step, going on from the checkpoint; `out` always holds the best weights so far."""
    settings, checkpoint = course.settings, course.work / "checkpoint.pt"
    optimiser = new_optimiser(model, settings)
    first = load_checkpoint(checkpoint, model, optimiser)
    started = time.perf_counter()
    for step in range(first, settings.steps):
        batch = draw_batch(course.pictures, course.vocabulary.names, course.tokenizer, settings, step)
        whole, patch = train_step(model, optimiser, course.tag_net, batch, settings, step)
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
    """Measure dense labels and retrieval on the tuning rooms."""
    scores = probe_scores(model, course.tokenizer, course.tuning, course.vocabulary)
    names = course.vocabulary.names
    held_out = (draw_batch(course.tuning, names, course.tokenizer, course.settings, k) for k in range(batches))
    found = sum(retrieval_at_1(model, batch) for batch in held_out) / batches
    return {"step": done, "retrieval_at_1": 100 * found, **scores}


def new_optimiser(model: CLIPModel, settings: Settings) -> torch.optim.Optimizer:
    """Return AdamW without weight decay on vectors and scalars."""
    matrices = [weight for weight in model.parameters() if weight.ndim >= 2]
    others = [weight for weight in model.parameters() if weight.ndim < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.peak_rate, betas=(0.9, 0.98), fused=True)


def train_step(
    model: CLIPModel,
    optimiser: torch.optim.Optimizer,
    tag_net: TagNet,
    batch: Batch,
    settings: Settings,
    step: int,
) -> tuple[float, float]:
    """Take one optimiser step and return both losses."""
    model.train()
    for group in optimiser.param_groups:
        group["lr"] = settings.peak_rate * warm_cosine(step, settings.steps, settings.warm_up)
    with fast_autocast("cpu"):
        whole, patch = batch_loss(model, tag_net, batch, settings)
    optimiser.zero_grad(set_to_none=True)
    (settings.whole_weight * whole + settings.patch_weight * patch).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return whole.item(), patch.item()


def export(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write config, tokenizer and 16-bit weights in the hub's layout."""
    out.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(out)
    tokenizer.save_pretrained(out)
    write_half_precision(model.state_dict(), out / "model.safetensors")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder written by labelfree.lab.corpus")
    parser.add_argument("--tuning", type=Path, required=True, help="such a folder with rooms of their own")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder for the weights and the log")
    parser.add_argument("--work", type=Path, required=True, help="folder for the checkpoint")
    parser.add_argument("--tag-net", type=Path, required=True, help="checkpoint.pt of labelfree.lab.train_backbone")
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    corpus, tuning = open_corpus(options.corpus), open_corpus(options.tuning)
    vocabulary = Vocabulary.from_names(CLASS_NAMES)
    tokenizer = build_tokenizer(CLASS_NAMES)
    model = new_tiny_clip(tiny_clip_config(len(tokenizer)), options.seed)
    pictures, held_out = (TaggedPictures.index(c.images, c.classes, len(CLASS_NAMES)) for c in (corpus, tuning))
    settings = Settings(steps=options.steps, seed=options.seed)
    train(
        model,
        Course(
            pictures,
            held_out,
            vocabulary,
            tokenizer,
            settings,
            options.work,
            options.out,
            load_tag_net(options.tag_net),
        ),
    )


if __name__ == "__main__":
    main()
