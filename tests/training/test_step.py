from __future__ import annotations

import gc
import weakref
from typing import get_args

import numpy as np
import pytest
import torch

from helpers.toy_training import CLASSES, STILL, collate, toy_networks, toy_scene
from labelfree import InputError
from labelfree.config.training import AugmentConfig, Modality, SwitchConfig
from labelfree.method.mask_vote import refine_labels
from labelfree.method.sources import Pick, Source
from labelfree.nets.cotrained import HeldVoxels, NetworkOutput
from labelfree.training.samples import Batch, LabelledFrame, LabelledScene, draw_sample, scene_random
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


def test_drawn_own_labels_leave_the_sources_as_they_are() -> None:
    batch = batch_of()
    logits = outputs(batch)
    clip = {"2d": batch.labels, "3d": batch.pairs.gather(batch.labels)}
    own = {"2d": logits["2d"].argmax(1), "3d": batch.pairs.gather(logits["2d"].argmax(1))}
    pool: tuple[Source, ...] = ("clip_2d", "net_2d")
    seen = set()
    for seed in range(12):
        found = {
            pick: step_labels(
                batch,
                logits,
                2,
                SwitchConfig(0, pool, pool, refine=False, pick=pick),
                torch.Generator().manual_seed(seed),
            )
            for pick in get_args(Pick)
        }
        from_clip = {side: torch.equal(found["argmax"][side], clip[side]) for side in ("2d", "3d")}
        seen |= set(from_clip.values())
        for side, is_clip in from_clip.items():
            assert torch.equal(found["draw"][side], clip[side]) is is_clip  # type: ignore[index]
            if not is_clip:
                assert torch.equal(found["argmax"][side], own[side])  # type: ignore[index]
                assert not torch.equal(found["draw"][side], own[side])  # type: ignore[index]
    assert seen == {True, False}


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


def ramp_scene(height: int = 48, width: int = 64) -> LabelledScene:
    """A scene whose image, latent target and point features all hold one colour per pixel of the whole frame."""
    rows, columns = np.indices((height, width))
    ramp = np.stack([1 - rows / height, 1 - columns / width, 0.2 + 0 * rows], axis=-1)
    image = (ramp * 255).round().astype(np.uint8)
    frame = LabelledFrame(
        image=image,
        labels=np.zeros((height, width), np.uint8),
        mask_ids=np.zeros((height, width), np.uint16),
        pair_point=np.arange(height * width, dtype=np.int32),
        pair_row=rows.ravel().astype(np.int32),
        pair_column=columns.ravel().astype(np.int32),
        target=(image.transpose(2, 0, 1) / 255).astype(np.float16),
    )
    points = np.stack([rows.ravel(), columns.ravel(), 0 * rows.ravel()], axis=1).astype(np.float32)
    return LabelledScene("ramp", points, (image.reshape(-1, 3) / 255).astype(np.float32), (frame,))


@pytest.mark.parametrize("seed", range(4))
def test_latent_features_meet_the_target_of_their_own_pixel_under_crop_and_flip(seed: int) -> None:
    """The latent loss of networks that return their input as latent features is zero, because target = input.

    2D features are read at the augmented pixel and targets at the original pixel; any other choice compares colours of
    different pixels.
    """
    augment = AugmentConfig(crop_area=(0.3, 0.6))
    sample = draw_sample(ramp_scene(), 1, augment, scene_random(seed, 0, 0))
    view = sample.views[0]
    assert (view.pair_row != view.source_row).mean() > 0.5
    assert (view.pair_column != view.source_column).mean() > 0.5
    batch = collate([sample], voxel_m=0.5)  # one point per voxel
    logits = outputs(batch)
    networks: dict[Modality, NetworkOutput] = {
        "2d": NetworkOutput(logits["2d"], batch.images),
        "3d": NetworkOutput(logits["3d"], batch.voxels.features),
    }
    labels = step_labels(batch, logits, 1, SwitchConfig(), torch.Generator())
    losses = step_losses(batch, networks, logits, labels, lambda value: value)
    assert float(losses["2d"].latent) < 1e-3
    assert float(losses["3d"].latent) < 1e-5


@pytest.mark.parametrize("seed", range(4))
def test_pairs_gather_from_maps_at_the_augmented_pixel(seed: int) -> None:
    """The crop shows each pair's point in the point's own colour, up to one pixel of rounding on either side."""
    scene = ramp_scene()
    sample = draw_sample(scene, 1, AugmentConfig(crop_area=(0.3, 0.6)), scene_random(seed, 0, 0))
    crop = torch.from_numpy(sample.views[0].image[None].astype(np.int64))
    batch = collate([sample], voxel_m=0.5)
    found = batch.pairs.gather(crop[..., 0]), batch.pairs.gather(crop[..., 1])
    colours = (batch.voxels.features[batch.pair_voxel] * 255).round()
    for axis, size in ((0, 48), (1, 64)):
        assert (found[axis] - colours[:, axis]).abs().max() <= 2 * 255 / size
