"""One training step's losses: Eq. 5 in stage one, Eq. 6 in stage two, Eq. 7 in both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from labelfree.errors import InputError
from labelfree.method.class_balance import balance_weights, class_counts
from labelfree.method.distribution_alignment import align_logits, class_frequencies
from labelfree.method.label_switching import (
    ALL_SOURCES,
    Granularity,
    Source,
    draw_sources,
    refined_2d_prediction,
    refined_3d_prediction,
    spread_to_pixels,
    switch_labels,
)
from labelfree.method.latent_consistency import latent_consistency
from labelfree.method.prediction_consistency import count_labelled, cross_entropy
from labelfree.nets.segmenters import Output2D, Output3D, latent_at_pixels
from labelfree.ranges import Whole, check_choice, check_ranges
from labelfree.training.samples import Batch

JointMean = Callable[[Tensor], Tensor]
"""Mean of a small tensor over all processes; the identity in a single one."""

Candidates = dict[Source, Callable[[], Tensor]]
"""The labels that each source would give."""


@dataclass(frozen=True)
class SwitchConfig:
    """When and among what the labels are switched (Eq. 6)."""

    start_epoch: int = 10
    """First epoch of stage two."""
    pool_2d: tuple[Source, ...] = ALL_SOURCES
    """Sources drawn for the 2D network, each with equal probability."""
    pool_3d: tuple[Source, ...] = ALL_SOURCES
    """Sources drawn for the 3D network."""
    granularity: Granularity = "batch"
    """One draw per batch (CLIP2Scene's precedent), per sample or per pixel."""
    refine: bool = True
    """Refine the networks' own labels by the vote inside SAM's masks."""
    align: bool = False
    """Give the networks' own labels the class frequencies of CLIP's in the batch before the vote; off in the paper."""

    def __post_init__(self) -> None:
        if not self.pool_2d or not self.pool_3d:
            raise InputError("switch.pool_2d and switch.pool_3d need at least one source, such as clip_2d.")
        check_ranges(self, "switch", start_epoch=Whole(0, 1_000_000))
        check_choice(self, "switch", granularity=Granularity)


@dataclass(frozen=True)
class NetworkLosses:
    """What one network minimises in one step."""

    cross_entropy: Tensor
    latent: Tensor

    def total(self, latent_weight: float) -> Tensor:
        """Return both terms together."""
        return self.cross_entropy + latent_weight * self.latent


@dataclass(frozen=True)
class StepLosses:
    """The terms of one step; None for a network that is not trained."""

    net_2d: NetworkLosses | None
    net_3d: NetworkLosses | None

    def trained(self) -> tuple[NetworkLosses, ...]:
        """Return the losses of the networks that are trained, 2D first."""
        return tuple(losses for losses in (self.net_2d, self.net_3d) if losses is not None)

    def record(self) -> dict[str, float]:
        """Return the terms by name, as metrics.jsonl keeps them."""
        both = {"2d": self.net_2d, "3d": self.net_3d}
        there = {name: losses for name, losses in both.items() if losses is not None}
        terms = {f"ce_{name}": float(losses.cross_entropy.detach()) for name, losses in there.items()}
        return terms | {f"latent_{name}": float(losses.latent.detach()) for name, losses in there.items()}


@dataclass(frozen=True)
class StepLabels:
    """The labels each network is trained on in this step; None for a network that is not trained."""

    pixels: Tensor | None  # [B, H, W]
    pairs: Tensor | None  # [P]


def stage_of(epoch: int, config: SwitchConfig) -> int:
    """Return 1 before the switch starts, 2 from then on."""
    return 2 if epoch >= config.start_epoch else 1


def step_labels(
    batch: Batch,
    logits_2d: Tensor | None,  # [B, K, H, W]; None where the 2D network is not trained
    logits_3d: Tensor | None,  # [P, K] at the pairs; None where the 3D network is not trained
    stage: int,
    config: SwitchConfig,
    generator: torch.Generator,
) -> StepLabels:
    """Return refined CLIP labels in stage one, R of Eq. 6 in stage two, drawn for each network on its own."""
    pixels, pairs = _candidates(batch, logits_2d, logits_3d, config)
    if stage == 1:
        return StepLabels(
            None if logits_2d is None else pixels[Source.CLIP_2D](),
            None if logits_3d is None else pairs[Source.CLIP_3D](),
        )

    def drawn(
        pool: tuple[Source, ...], labels: Candidates, sample_of: Tensor, shape: torch.Size, logits: Tensor | None
    ) -> Tensor | None:
        return None if logits is None else _switch(pool, labels, config.granularity, sample_of, shape, generator)

    return StepLabels(
        drawn(config.pool_2d, pixels, batch.image_scene, batch.labels.shape, logits_2d),
        drawn(config.pool_3d, pairs, batch.pair_scene, batch.pair_scene.shape, logits_3d),
    )


def _candidates(
    batch: Batch, logits_2d: Tensor | None, logits_3d: Tensor | None, config: SwitchConfig
) -> tuple[Candidates, Candidates]:
    """Return each source's labels of the pixels and of the pairs, computed when asked for."""
    masks = batch.mask_ids if config.refine else torch.zeros_like(batch.mask_ids)
    pixels: Candidates = {Source.CLIP_2D: lambda: batch.labels, Source.CLIP_3D: lambda: batch.labels}
    pairs: Candidates = {
        Source.CLIP_2D: lambda: batch.pairs.gather(batch.labels),
        Source.CLIP_3D: lambda: batch.pairs.gather(batch.labels),
    }
    # The closures hold each other's functions, never the dictionaries: a cycle would keep logits beyond the step.
    if logits_2d is not None:
        own_2d = partial(_own_2d, logits_2d, masks, batch.labels if config.align else None)
        pixels[Source.NET_2D], pairs[Source.NET_2D] = own_2d, lambda: batch.pairs.gather(own_2d())
    if logits_3d is not None:
        seen = batch.pairs.gather(batch.labels) if config.align else None
        own_3d, classes = partial(_own_3d, logits_3d, batch.pairs.gather(masks), seen), logits_3d.shape[1]
        pairs[Source.NET_3D] = own_3d
        pixels[Source.NET_3D] = lambda: spread_to_pixels(own_3d(), batch.pairs, masks, classes)
    return pixels, pairs


def _own_2d(logits: Tensor, masks: Tensor, clip: Tensor | None) -> Tensor:
    return refined_2d_prediction(_aligned(logits, clip), masks)


def _own_3d(logits: Tensor, masks: Tensor, clip: Tensor | None) -> Tensor:
    return refined_3d_prediction(_aligned(logits, clip), masks)


def _aligned(logits: Tensor, clip: Tensor | None) -> Tensor:
    """Return logits with the class frequencies of CLIP's labels, or as they are."""
    return logits if clip is None else align_logits(logits, class_frequencies(clip, logits.shape[1]))


def _switch(
    pool: tuple[Source, ...],
    labels: Candidates,
    granularity: Granularity,
    sample_of: Tensor,  # [B] or [P] int64
    shape: torch.Size,
    generator: torch.Generator,
) -> Tensor:
    if granularity == "batch":
        return labels[pool[int(draw_sources(pool, (1,), generator))]]()
    if granularity == "sample":
        samples = int(sample_of.max()) + 1 if sample_of.numel() else 1
        drawn = draw_sources(pool, (samples,), generator).to(sample_of.device)[sample_of]
    else:
        drawn = draw_sources(pool, tuple(shape), generator)
    return switch_labels([labels[source]() for source in pool], drawn)


def step_losses(
    batch: Batch,
    output_2d: Output2D | None,
    output_3d: Output3D | None,
    labels: StepLabels,
    joint_mean: JointMean,
    class_balance: float = 0.0,
) -> StepLosses:
    """Return the losses of one step; `joint_mean` makes several processes equal one on the joint batch.

    `class_balance` is the power of `method.class_balance`.
    """
    targets = None
    if len(batch.targets):
        count = joint_mean(torch.tensor(float(len(batch.targets)), device=batch.targets.device))
        targets = _Targets(batch.targets, count)
    net_2d = net_3d = None
    if output_2d is not None and labels.pixels is not None:
        size = (batch.images.shape[-2], batch.images.shape[-1])
        where = (batch.pairs.image, batch.pairs.row, batch.pairs.column)
        net_2d = _losses(
            output_2d.logits,
            labels.pixels,
            output_2d.latent,
            lambda latent: latent_at_pixels(latent, *where, size),
            targets,
            joint_mean,
            class_balance,
        )
    if output_3d is not None and labels.pairs is not None:
        net_3d = _losses(
            output_3d.logits.index_select(0, batch.pair_voxel),
            labels.pairs,
            output_3d.latent,
            lambda latent: latent.index_select(0, batch.pair_voxel),
            targets,
            joint_mean,
            class_balance,
        )
    return StepLosses(net_2d, net_3d)


@dataclass(frozen=True)
class _Targets:
    features: Tensor  # [P, D]
    count: Tensor  # scalar


def _losses(
    logits: Tensor,  # [B, K, H, W] or [P, K]
    labels: Tensor,  # [B, H, W] or [P]
    latent: Tensor,
    at_pairs: Callable[[Tensor], Tensor],  # the latent features of the P pairs
    targets: _Targets | None,
    joint_mean: JointMean,
    class_balance: float,
) -> NetworkLosses:
    # Zero, but attached to the head: several processes expect a gradient for every parameter.
    consistency = latent.float().sum() * 0.0
    if targets is not None:
        consistency = latent_consistency(at_pairs(latent), targets.features, targets.count)
    weights = None
    if class_balance:
        weights = balance_weights(joint_mean(class_counts(labels, logits.shape[1])), class_balance)
    return NetworkLosses(cross_entropy(logits, labels, joint_mean(count_labelled(labels)), weights), consistency)
