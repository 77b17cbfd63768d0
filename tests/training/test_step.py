from __future__ import annotations

import gc
import weakref

import pytest
import torch
from toy_training import CLASSES, STILL, toy_networks, toy_scene

from labelfree import InputError
from labelfree.method.label_switching import Source
from labelfree.method.mask_vote import refine_labels
from labelfree.training.samples import Batch, collate, draw_sample, scene_random
from labelfree.training.step import SwitchConfig, stage_of, step_labels, step_losses


def batch_of(scenes: int = 2) -> Batch:
    return collate([draw_sample(toy_scene(i), 2, STILL, scene_random(0, 0, i)) for i in range(scenes)], 0.2)


def outputs(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images, _, height, width = batch.images.shape
    logits_2d = torch.randn(images, CLASSES, height, width, generator=generator)
    return logits_2d, torch.randn(len(batch.pair_voxel), CLASSES, generator=generator)


def test_stages() -> None:
    assert [stage_of(epoch, SwitchConfig(2)) for epoch in range(4)] == [1, 1, 2, 2]


def test_stage_one_is_clip_for_both() -> None:
    batch = batch_of()
    labels = step_labels(batch, *outputs(batch), 1, SwitchConfig(), torch.Generator())
    assert torch.equal(labels.pixels, batch.labels)
    assert torch.equal(labels.pairs, batch.labels[batch.pairs.image, batch.pairs.row, batch.pairs.column])


@pytest.mark.parametrize("granularity", ["batch", "sample", "pixel"])
@pytest.mark.parametrize("source", list(Source))
def test_a_pool_of_one_gives_that_source(source: Source, granularity: str) -> None:
    batch = batch_of()
    logits_2d, logits_3d = outputs(batch)
    config = SwitchConfig(0, (source,), (source,), granularity)  # type: ignore[arg-type]
    labels = step_labels(batch, logits_2d, logits_3d, 2, config, torch.Generator())
    own_2d = refine_labels(logits_2d.argmax(1), batch.mask_ids, CLASSES)
    own_3d = refine_labels(logits_3d.argmax(1), batch.pairs.gather(batch.mask_ids), CLASSES)
    if source in (Source.CLIP_2D, Source.CLIP_3D):
        assert torch.equal(labels.pixels, batch.labels)
        assert torch.equal(labels.pairs, batch.pairs.gather(batch.labels))
    elif source == Source.NET_2D:
        assert torch.equal(labels.pixels, own_2d)
        assert torch.equal(labels.pairs, batch.pairs.gather(own_2d))
    else:
        assert torch.equal(labels.pairs, own_3d)
        masked = batch.pairs.gather(batch.mask_ids) > 0
        assert torch.equal(batch.pairs.gather(labels.pixels)[masked], own_3d[masked])


def test_aligned_labels_keep_the_frequencies_of_clips() -> None:
    batch = batch_of()
    logits_2d, logits_3d = outputs(batch)
    logits_2d[:, 0] += 10.0  # an argmax would pick nothing else
    logits_3d[:, 0] += 10.0
    found = {}
    for align in (False, True):
        config = SwitchConfig(0, (Source.NET_2D,), (Source.NET_3D,), refine=False, align=align)
        found[align] = step_labels(batch, logits_2d, logits_3d, 2, config, torch.Generator())
    clip = torch.bincount(batch.labels[batch.labels != 255].flatten().long(), minlength=CLASSES)
    assert not found[False].pixels.any()
    assert not found[False].pairs.any()
    for labels in (found[True].pixels, found[True].pairs):
        share = torch.bincount(labels.flatten(), minlength=CLASSES) / labels.numel()
        assert (share - clip / clip.sum()).abs().max() < 0.25


def test_networks_draw_independently() -> None:
    batch, generator = batch_of(1), torch.Generator().manual_seed(0)
    logits_2d, logits_3d = outputs(batch)
    config = SwitchConfig(0)
    seen = set()
    for _ in range(60):
        labels = step_labels(batch, logits_2d, logits_3d, 2, config, generator)
        clip_2d = torch.equal(labels.pixels, batch.labels)
        clip_3d = torch.equal(labels.pairs, batch.pairs.gather(batch.labels))
        seen.add((clip_2d, clip_3d))
    assert seen == {(True, True), (True, False), (False, True), (False, False)}


def test_every_parameter_gets_a_gradient_with_and_without_targets() -> None:
    for latent in (True, False):
        networks = toy_networks()
        scene = toy_scene(0, latent=latent)
        batch = collate([draw_sample(scene, 2, STILL, scene_random(0, 0, 0))], 0.2)
        output_2d, output_3d = networks.net_2d(batch.images), networks.net_3d(batch.voxels)
        labels = step_labels(
            batch, output_2d.logits, output_3d.logits[batch.pair_voxel], 1, SwitchConfig(), torch.Generator()
        )
        losses = step_losses(batch, output_2d, output_3d, labels, lambda value: value)
        sum(network.total(1.0) for network in losses.trained()).backward()
        assert all(parameter.grad is not None for parameter in networks.parameters())
        assert (losses.record()["latent_2d"] > 0) is latent


def test_empty_pools_are_refused() -> None:
    with pytest.raises(InputError, match="at least one source"):
        SwitchConfig(pool_2d=())


def test_nothing_holds_the_logits_beyond_the_step() -> None:
    batch = batch_of(1)
    logits_2d, logits_3d = outputs(batch)
    held = weakref.ref(logits_2d), weakref.ref(logits_3d)
    gc.disable()
    try:
        step_labels(batch, logits_2d, logits_3d, 2, SwitchConfig(0), torch.Generator())
        del logits_2d, logits_3d
        assert [reference() for reference in held] == [None, None]
    finally:
        gc.enable()
