"""Labels and losses of one training step: Eq. 5 in stage one, Eq. 6 in stage two, Eq. 7 in both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from labelfree.config.training import Modality, SwitchConfig
from labelfree.method.extensions.class_balance import balance_weights, class_counts
from labelfree.method.extensions.distribution_alignment import align_logits, class_frequencies
from labelfree.method.extensions.drawn_labels import draw_labels
from labelfree.method.extensions.sweep_consistency import cell_attention, grid_cells, sweep_consistency
from labelfree.method.label_switching import (
    PickLabels,
    draw_sources,
    most_probable,
    refined_2d_prediction,
    refined_3d_prediction,
    spread_to_pixels,
    switch_labels,
)
from labelfree.method.latent_consistency import latent_consistency
from labelfree.method.prediction_consistency import count_labelled, prediction_consistency
from labelfree.method.sources import Source
from labelfree.nets.cotrained import NetworkOutput
from labelfree.nets.segmenters import latent_at_pixels
from labelfree.training.samples import Batch

JointMean = Callable[[Tensor], Tensor]
"""Mean of a small tensor over all processes; the identity in a single one."""

Logits = Mapping[Modality, Tensor]
"""Of each trained network: [B, K, H, W] of the pixels in 2D, [P, K] of the pairs in 3D."""

Labels = Mapping[Modality, Tensor]
"""For each trained network: [B, H, W] of the pixels in 2D, [P] of the pairs in 3D; 255 = ignored."""


@dataclass(frozen=True)
class NetworkLosses:
    """The losses of one network in one step."""

    cross_entropy: Tensor
    latent: Tensor

    def total(self, latent_weight: float) -> Tensor:
        """Return the weighted sum of both terms."""
        return self.cross_entropy + latent_weight * self.latent


StepLosses = Mapping[Modality, NetworkLosses]
"""The losses of each trained network."""


def loss_record(losses: StepLosses) -> dict[str, float]:
    """Return the loss terms by name, for metrics.jsonl."""
    terms = {f"ce_{modality}": float(each.cross_entropy.detach()) for modality, each in losses.items()}
    return terms | {f"latent_{modality}": float(each.latent.detach()) for modality, each in losses.items()}


def stage_of(epoch: int, config: SwitchConfig) -> int:
    """Return the stage of an epoch: 1 before `switch.start_epoch`, 2 from then on."""
    return 2 if epoch >= config.start_epoch else 1


def step_labels(
    batch: Batch, logits: Logits, stage: int, config: SwitchConfig, generator: torch.Generator
) -> dict[Modality, Tensor]:
    """Return each network's labels: CLIP's in stage one, those of a randomly drawn source (Eq. 6) in stage two."""
    if stage == 1:
        return {modality: _clip_labels(batch, modality) for modality in logits}
    # All sources before any label: processes with different numbers of pixels still draw the same sources.
    drawn = {modality: _drawn_sources(batch, modality, config, generator) for modality in logits}
    pick = most_probable if config.pick == "argmax" else partial(draw_labels, generator=generator)

    def labels_of(modality: Modality, source: Source) -> Tensor:
        return source_labels(batch, logits, modality, config, source, pick)

    pools = {"2d": config.pool_2d, "3d": config.pool_3d}
    return {
        each: _with_fixed(batch, each, switch_labels(pools[each], drawn[each], partial(labels_of, each)))
        for each in logits
    }


def _with_fixed(batch: Batch, modality: Modality, labels: Tensor) -> Tensor:  # [B, H, W] or [P]
    """Return labels of any source with those that were corrected by hand in their places."""
    if batch.fixed is None:
        return labels
    fixed = batch.fixed if modality == "2d" else batch.pairs.gather(batch.fixed)
    return torch.where(fixed, _clip_labels(batch, modality), labels)


def _drawn_sources(batch: Batch, modality: Modality, config: SwitchConfig, generator: torch.Generator) -> Tensor:
    """Return the positions of the drawn sources in the pool of a network."""
    pixels = batch.image_scene[:, None, None].expand(batch.labels.shape)
    pool, sample = (config.pool_2d, pixels) if modality == "2d" else (config.pool_3d, batch.pair_scene)
    return draw_sources(pool, config.granularity, sample, generator)


def source_labels(
    batch: Batch,
    logits: Logits,
    modality: Modality,
    config: SwitchConfig,
    source: Source,
    pick: PickLabels = most_probable,
) -> Tensor:
    """Return the labels of one source of R (Eq. 6) at the pixels [B, H, W] or at the pairs [P]."""
    masks = batch.mask_ids if config.refine else torch.zeros_like(batch.mask_ids)
    match source:
        case "clip_2d" | "clip_3d":
            return _clip_labels(batch, modality)
        case "net_2d":
            pixels = refined_2d_prediction(_aligned(logits["2d"], batch.labels, config), masks, pick)
            return pixels if modality == "2d" else batch.pairs.gather(pixels)
        case "net_3d":
            own = _aligned(logits["3d"], _clip_labels(batch, "3d"), config)
            pairs = refined_3d_prediction(own, batch.pairs.gather(masks), pick)
            return pairs if modality == "3d" else spread_to_pixels(pairs, batch.pairs, masks, own.shape[1])


def _clip_labels(batch: Batch, modality: Modality) -> Tensor:
    return batch.labels if modality == "2d" else batch.pairs.gather(batch.labels)


def _aligned(logits: Tensor, clip: Tensor, config: SwitchConfig) -> Tensor:
    """Return logits aligned to the class frequencies of CLIP's labels if `config.align` is on."""
    return align_logits(logits, class_frequencies(clip, logits.shape[1])) if config.align else logits


def step_losses(
    batch: Batch,
    outputs: Mapping[Modality, NetworkOutput],
    logits: Logits,
    labels: Labels,
    joint_mean: JointMean,
    class_balance: float = 0.0,
    sweeps: bool = False,
) -> dict[Modality, NetworkLosses]:
    """Return the losses of one step; with `joint_mean`, several processes equal one process on the joint batch.

    `class_balance` is the power of `method.extensions.class_balance`. With `sweeps`, latent consistency in 3D is that
    of `method.extensions.sweep_consistency`.
    """
    count, labelled, classes = _joint_counts(batch, logits, labels, joint_mean, bool(class_balance))
    targets = batch.targets.at_pairs()

    def losses(modality: Modality) -> NetworkLosses:
        latent = outputs[modality].latent
        # Zero without a latent target, but part of the graph: processes expect a gradient for every parameter.
        consistency = latent.float().sum() * 0.0
        if len(batch.targets):
            at_pairs = _latent_at_pairs(batch, modality, latent)
            if sweeps and modality == "3d":
                consistency = _sweep_consistency(batch, logits["3d"], at_pairs, targets, count)
            else:
                consistency = latent_consistency(at_pairs, targets, count)
        weights = balance_weights(classes[modality], class_balance) if class_balance else None
        cross_entropy = prediction_consistency(logits[modality], labels[modality], labelled[modality], weights)
        return NetworkLosses(cross_entropy, consistency)

    return {modality: losses(modality) for modality in outputs}


def _sweep_consistency(batch: Batch, logits: Tensor, at_pairs: Tensor, targets: Tensor, count: Tensor) -> Tensor:
    """Return CLIP2Scene's consistency over the voxels that the sweeps of a sample share."""
    cell = grid_cells(batch.voxels.coords.index_select(0, batch.pair_voxel)[:, 1:], batch.pair_scene)
    attention = cell_attention(logits, batch.pairs.gather(batch.labels), cell)
    return sweep_consistency(at_pairs, targets, attention, cell, count)


def _joint_counts(
    batch: Batch, logits: Logits, labels: Labels, joint_mean: JointMean, by_class: bool
) -> tuple[Tensor, dict[Modality, Tensor], dict[Modality, Tensor]]:
    """Return the mean number per process of latent targets and, for each network, of labels and of each class [K].

    All processes exchange them in one call per step, whatever their batches hold. If a process without pairs left an
    exchange out, the others would wait for it. Classes are only counted with `by_class`.
    """
    widths = [logits[modality].shape[1] if by_class else 0 for modality in logits]
    own = [torch.tensor([float(len(batch.targets))], device=batch.images.device)]
    for modality, width in zip(logits, widths):
        own.append(count_labelled(labels[modality])[None])
        own += [class_counts(labels[modality], width)] if by_class else []
    targets, *parts = joint_mean(torch.cat(own)).split([1, *(1 + width for width in widths)])
    labelled = {modality: part[0] for modality, part in zip(logits, parts)}
    return targets[0], labelled, {modality: part[1:] for modality, part in zip(logits, parts)}


def _latent_at_pairs(batch: Batch, modality: Modality, latent: Tensor) -> Tensor:  # [P, D]
    if modality == "3d":
        return latent.index_select(0, batch.pair_voxel)
    size = (batch.images.shape[-2], batch.images.shape[-1])
    return latent_at_pixels(latent, batch.pairs.image, batch.pairs.row, batch.pairs.column, size)
