from __future__ import annotations

import gc
import weakref
from typing import get_args

import pytest
import torch

from helpers.toy_training import CLASSES, STILL, collate, toy_networks, toy_scene
from labelfree import InputError
from labelfree.config.training import Modality, SwitchConfig
from labelfree.method.mask_vote import refine_labels
from labelfree.method.sources import Source
from labelfree.nets.cotrained import HeldVoxels, NetworkOutput
from labelfree.training.samples import Batch, draw_sample, scene_random
from labelfree.training.step import loss_record, stage_of, step_labels, step_losses


def batch_of(scenes: int = 2) -> Batch:
    return collate([draw_sample(toy_scene(i), 2, STILL, scene_random(0, 0, i)) for i in range(scenes)], 0.2)


def outputs(batch: Batch) -> dict[Modality, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images, _, height, width = batch.images.shape
    logits_2d = torch.randn(images, CLASSES, height, width, generator=generator)
    return {"2d": logits_2d, "3d": torch.randn(len(batch.pair_voxel), CLASSES, generator=generator)}


def test_stages() -> None:
    assert [stage_of(epoch, SwitchConfig(2)) for epoch in range(4)] == [1, 1, 2, 2]


def test_stage_one_is_clip_for_both() -> None:
    batch = batch_of()
    labels = step_labels(batch, outputs(batch), 1, SwitchConfig(), torch.Generator())
    assert torch.equal(labels["2d"], batch.labels)
    assert torch.equal(labels["3d"], batch.labels[batch.pairs.image, batch.pairs.row, batch.pairs.column])


@pytest.mark.parametrize("granularity", ["batch", "sample", "pixel"])
@pytest.mark.parametrize("source", get_args(Source))
def test_a_pool_of_one_gives_that_source(source: Source, granularity: str) -> None:
    batch = batch_of()
    logits = outputs(batch)
    config = SwitchConfig(0, (source,), (source,), granularity)  # type: ignore[arg-type]
    labels = step_labels(batch, logits, 2, config, torch.Generator())
    own_2d = refine_labels(logits["2d"].argmax(1), batch.mask_ids, CLASSES)
    own_3d = refine_labels(logits["3d"].argmax(1), batch.pairs.gather(batch.mask_ids), CLASSES)
    if source in ("clip_2d", "clip_3d"):
        assert torch.equal(labels["2d"], batch.labels)
        assert torch.equal(labels["3d"], batch.pairs.gather(batch.labels))
    elif source == "net_2d":
        assert torch.equal(labels["2d"], own_2d)
        assert torch.equal(labels["3d"], batch.pairs.gather(own_2d))
    else:
        assert torch.equal(labels["3d"], own_3d)
        masked = batch.pairs.gather(batch.mask_ids) > 0
        assert torch.equal(batch.pairs.gather(labels["2d"])[masked], own_3d[masked])


def test_aligned_labels_keep_the_frequencies_of_clips() -> None:
    batch = batch_of()
    logits = outputs(batch)
    logits["2d"][:, 0] += 10.0  # an argmax would pick nothing else
    logits["3d"][:, 0] += 10.0
    found = {}
    for align in (False, True):
        config = SwitchConfig(0, ("net_2d",), ("net_3d",), refine=False, align=align)
        found[align] = step_labels(batch, logits, 2, config, torch.Generator())
    clip = torch.bincount(batch.labels[batch.labels != 255].flatten().long(), minlength=CLASSES)
    assert not found[False]["2d"].any()
    assert not found[False]["3d"].any()
    for labels in found[True].values():
        share = torch.bincount(labels.flatten(), minlength=CLASSES) / labels.numel()
        assert (share - clip / clip.sum()).abs().max() < 0.25


def test_networks_draw_independently() -> None:
    batch, generator = batch_of(1), torch.Generator().manual_seed(0)
    logits = outputs(batch)
    config = SwitchConfig(0)
    seen = set()
    for _ in range(60):
        labels = step_labels(batch, logits, 2, config, generator)
        clip_2d = torch.equal(labels["2d"], batch.labels)
        clip_3d = torch.equal(labels["3d"], batch.pairs.gather(batch.labels))
        seen.add((clip_2d, clip_3d))
    assert seen == {(True, True), (True, False), (False, True), (False, False)}


def test_every_parameter_gets_a_gradient_with_and_without_targets() -> None:
    for latent in (True, False):
        networks = toy_networks()
        scene = toy_scene(0, latent=latent)
        batch = collate([draw_sample(scene, 2, STILL, scene_random(0, 0, 0))], 0.2)
        raw = networks({"2d": batch.images, "3d": HeldVoxels(batch.voxels)})
        outputs: dict[Modality, NetworkOutput] = {modality: NetworkOutput(*output) for modality, output in raw.items()}
        logits: dict[Modality, torch.Tensor] = {
            "2d": outputs["2d"].logits,
            "3d": outputs["3d"].logits[batch.pair_voxel],
        }
        labels = step_labels(batch, logits, 1, SwitchConfig(), torch.Generator())
        losses = step_losses(batch, outputs, logits, labels, lambda value: value)
        torch.stack([network.total(1.0) for network in losses.values()]).sum().backward()
        assert all(parameter.grad is not None for parameter in networks.parameters())
        assert (loss_record(losses)["latent_2d"] > 0) is latent


def test_empty_pools_are_refused() -> None:
    with pytest.raises(InputError, match="at least one source"):
        SwitchConfig(pool_2d=())


def test_nothing_holds_the_logits_beyond_the_step() -> None:
    batch = batch_of(1)
    logits = outputs(batch)
    held = weakref.ref(logits["2d"]), weakref.ref(logits["3d"])
    gc.disable()
    try:
        step_labels(batch, logits, 2, SwitchConfig(0), torch.Generator())
        del logits
        assert [reference() for reference in held] == [None, None]
    finally:
        gc.enable()
