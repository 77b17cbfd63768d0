"""One training step's losses: Eq. 5 in stage one, Eq. 6 in stage two, Eq. 7 in both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from labelfree.errors import InputError
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
from labelfree.training.samples import Batch

JointMean = Callable[[Tensor], Tensor]
"""Mean of a scalar over all processes; the identity in a single one."""


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

    def __post_init__(self) -> None:
        if not self.pool_2d or not self.pool_3d:
            raise InputError("switch.pool_2d and switch.pool_3d need at least one source, such as clip_2d.")
        if self.start_epoch < 0:
            raise InputError(f"switch.start_epoch is {self.start_epoch}: give 0 or more.")


@dataclass(frozen=True)
class StepLosses:
    """The terms of one step, each a scalar."""

    ce_2d: Tensor
    ce_3d: Tensor
    latent_2d: Tensor
    latent_3d: Tensor

    def of_2d(self, latent_weight: float) -> Tensor:
        """Return what the 2D network minimises."""
        return self.ce_2d + latent_weight * self.latent_2d

    def of_3d(self, latent_weight: float) -> Tensor:
        """Return what the 3D network minimises."""
        return self.ce_3d + latent_weight * self.latent_3d


@dataclass(frozen=True)
class StepLabels:
    """The labels each network is trained on in this step."""

    pixels: Tensor  # [B, H, W]
    pairs: Tensor  # [P]


def stage_of(epoch: int, config: SwitchConfig) -> int:
    """Return 1 before the switch starts, 2 from then on."""
    return 2 if epoch >= config.start_epoch else 1


def step_labels(
    batch: Batch,
    logits_2d: Tensor,  # [B, K, H, W]
    logits_3d: Tensor,  # [P, K] at the pairs
    stage: int,
    config: SwitchConfig,
    generator: torch.Generator,
) -> StepLabels:
    """Return refined CLIP labels in stage one, R of Eq. 6 in stage two, drawn for each network on its own."""
    pixel_labels = {Source.CLIP_2D: lambda: batch.labels, Source.CLIP_3D: lambda: batch.labels}
    pair_labels = {
        Source.CLIP_2D: lambda: batch.pairs.gather(batch.labels),
        Source.CLIP_3D: lambda: batch.pairs.gather(batch.labels),
    }
    if stage == 1:
        return StepLabels(pixel_labels[Source.CLIP_2D](), pair_labels[Source.CLIP_3D]())
    masks = batch.mask_ids if config.refine else torch.zeros_like(batch.mask_ids)
    classes = logits_2d.shape[1]

    def own_2d() -> Tensor:
        return refined_2d_prediction(logits_2d, masks)

    def own_3d() -> Tensor:
        return refined_3d_prediction(logits_3d, batch.pairs.gather(masks))

    pixel_labels |= {Source.NET_2D: own_2d, Source.NET_3D: lambda: _spread(own_3d(), batch, masks, classes)}
    pair_labels |= {Source.NET_2D: lambda: batch.pairs.gather(own_2d()), Source.NET_3D: own_3d}
    return StepLabels(
        _switch(config.pool_2d, pixel_labels, config.granularity, batch.image_scene, batch.labels.shape, generator),
        _switch(config.pool_3d, pair_labels, config.granularity, batch.pair_scene, batch.pair_scene.shape, generator),
    )


def _spread(pair_labels: Tensor, batch: Batch, masks: Tensor, classes: int) -> Tensor:
    return spread_to_pixels(pair_labels, batch.pairs, masks, classes)


def _switch(
    pool: tuple[Source, ...],
    labels: dict[Source, Callable[[], Tensor]],
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
    output_2d: Output2D,
    output_3d: Output3D,
    labels: StepLabels,
    joint_mean: JointMean,
) -> StepLosses:
    """Return the losses of one step; `joint_mean` makes several processes equal one on the joint batch."""
    # Zero, but attached to the heads: several processes expect a gradient for every parameter.
    latent_2d, latent_3d = output_2d.latent.float().sum() * 0.0, output_3d.latent.float().sum() * 0.0
    if len(batch.targets):
        size = (batch.images.shape[-2], batch.images.shape[-1])
        pixels = latent_at_pixels(output_2d.latent, batch.pairs.image, batch.pairs.row, batch.pairs.column, size)
        pairs = joint_mean(torch.tensor(float(len(batch.targets)), device=batch.targets.device))
        latent_2d = latent_consistency(pixels, batch.targets, pairs)
        latent_3d = latent_consistency(output_3d.latent[batch.pair_voxel], batch.targets, pairs)
    return StepLosses(
        cross_entropy(output_2d.logits, labels.pixels, joint_mean(count_labelled(labels.pixels))),
        cross_entropy(output_3d.logits[batch.pair_voxel], labels.pairs, joint_mean(count_labelled(labels.pairs))),
        latent_2d,
        latent_3d,
    )
