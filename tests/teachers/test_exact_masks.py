"""Mode `exact` of everything mode, against a plain implementation of the official order of operations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks import plain_everything_mode as plain
from benchmarks.random_sam import random_sam
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from labelfree.config.teachers import SamOptions
from labelfree.runtime.lab import weights_folder
from labelfree.teachers.everything_mode import MaskCandidates, box_overlap, greedy_suppression, mask_overlap
from labelfree.teachers.exact_masks import (
    ExactMasks,
    Upsampling,
    count_above,
    filter_exactly,
    last_pixel_boxes,
    pack,
    suppress_exactly,
)
from labelfree.teachers.images import resize_with_pillow
from labelfree.teachers.sam import SamTeacher

Image = NDArray[np.uint8]
CPU = torch.device("cpu")
SHAPES = [(40, 64), (64, 40), (37, 91), (131, 77), (128, 128), (200, 333)]
"""Landscape, portrait, odd, SAM's own size, larger than SAM's input."""


def _waves(size: tuple[int, int]) -> Image:
    """An image [H, W, 3] of smooth shapes and some noise."""
    generator = np.random.default_rng(size[0])
    rows, columns = np.mgrid[: size[0], : size[1]]
    waves = np.stack([np.sin(rows / 9), np.sin(columns / 11), np.sin((rows + columns) / 17)], axis=-1)
    return (waves * 100 + 128 + 9 * generator.standard_normal((*size, 3))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def lively_sam() -> Any:
    """A random SAM whose masks depend on the prompt."""
    from transformers import SamConfig

    config = SamConfig(
        vision_config={
            "hidden_size": 32, "output_channels": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 128, "patch_size": 16, "num_pos_feats": 16, "mlp_dim": 64, "window_size": 4,
            "global_attn_indexes": [0],
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 128, "patch_size": 16},
        mask_decoder_config={"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 2, "iou_head_hidden_dim": 32},
    )  # fmt: skip
    return random_sam(config, seed=1)


def _passing(model: Any, image: Image, options: SamOptions) -> SamOptions:
    """Thresholds that a part of the masks of this image passes, far from the values of any mask."""
    neck, size = plain.encode(model, image), (image.shape[0], image.shape[1])
    points = plain.grid(options.points_per_side) * torch.tensor(plain.input_size(128, size)[::-1])
    with torch.inference_mode():
        logits, scores = plain.decode(model, neck, points)
        stability = plain.stability_score(plain.upsample(model, logits, size).flatten(0, 1), options.stability_offset)
    best = stability[scores.flatten() > (least := _gap(scores.flatten(), 0.4))]
    return replace(options, pred_iou_threshold=least, stability_threshold=_gap(best.nan_to_num(0), 0.3))


def _gap(values: Tensor, share: float) -> float:
    """Return the middle of the widest gap around a quantile."""
    ladder = values.sort().values[int((share - 0.1) * len(values)) : int((share + 0.1) * len(values)) + 2]
    widest = int(ladder.diff().argmax())
    return float((ladder[widest] + ladder[widest + 1]) / 2)


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize(("overlap", "least"), [(0.99, 3), (1.0, 20)])  # many masks of this SAM span the image
def test_masks_are_those_of_the_official_order(
    lively_sam: Any, size: tuple[int, int], overlap: float, least: int
) -> None:
    image = _waves(size)
    per_batch = 64 if size[0] < size[1] else 5
    options = SamOptions(points_per_side=6, points_per_batch=per_batch, precision="float32")
    options = replace(_passing(lively_sam, image, options), box_nms_threshold=overlap)
    _compare(lively_sam, image, options, least, most=60)  # of 108


@pytest.mark.parametrize("size", [(96, 128), (110, 75), (240, 320)])
def test_masks_of_a_trained_sam_are_those_of_the_official_order(size: tuple[int, int]) -> None:
    options = SamOptions(points_per_side=8, pred_iou_threshold=0.3, stability_threshold=0.5, precision="float32")
    model = SamTeacher.from_pretrained(weights_folder("rooms", "sam"), options).model
    generator = np.random.default_rng(0)
    image = np.full((*size, 3), 200, dtype=np.uint8)
    for _ in range(9):
        low = [int(generator.integers(0, side - 12)) for side in size]
        high = [int(generator.integers(start + 8, side)) for start, side in zip(low, size)]
        image[low[0] : high[0], low[1] : high[1]] = generator.integers(0, 255, 3)
    _compare(model, image, options, least=5, most=100)  # of 192


def _compare(model: Any, image: Image, options: SamOptions, least: int, most: int) -> None:
    size = (image.shape[0], image.shape[1])
    expected = plain.everything(model, plain.encode(model, image), size, options)
    teacher = SamTeacher(model, options)
    found = teacher.exact_masks(teacher.encode(image))
    assert least < len(found) < most
    assert len(found) == len(expected.scores)
    torch.testing.assert_close(found.scores, torch.tensor(expected.scores), atol=1e-4, rtol=1e-4)
    assert (found.boxes - torch.tensor(expected.boxes)).abs().max() <= 1
    ours, official = torch.cat(list(found.chunks())), expected.unpacked(size)
    overlap = (ours & official).sum((1, 2)) / (ours | official).sum((1, 2))
    assert float(overlap.min()) >= 0.999


def test_the_image_is_resized_as_the_official_code_does(sam_folder: Path) -> None:
    image = _waves((37, 91))
    teacher = SamTeacher.from_pretrained(sam_folder, SamOptions(precision="float32"))
    neck = plain.encode(teacher.model, image)
    assert torch.allclose(teacher.encode(image).padded, neck, atol=1e-5)
    fast = SamTeacher.from_pretrained(sam_folder, SamOptions(mode="fast", precision="float32"))
    assert not torch.allclose(fast.encode(image).padded, neck, atol=1e-5)  # not rounded to whole numbers
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    assert torch.equal(resize_with_pillow(pixels, (37, 91)), pixels.float())


def test_id_maps_are_painted_from_the_masks(lively_sam: Any) -> None:
    image = _waves((40, 64))
    options = SamOptions(points_per_side=6, precision="float32")
    teacher = SamTeacher(lively_sam, replace(_passing(lively_sam, image, options), box_nms_threshold=0.99))
    masks = teacher.exact_masks(teacher.encode(image))
    expected = torch.zeros(40, 64, dtype=torch.int64)
    for index in sorted(range(len(masks)), key=lambda index: (-int(masks.areas[index]), -index)):
        expected[torch.cat(list(masks.chunks()))[index]] = index + 1
    ids = teacher.mask_ids(image).long()
    for number in ids.unique().tolist():  # the same regions, numbered by area
        assert len(expected[ids == number].unique()) == 1
    assert len(ids.unique()) == len(expected.unique())
    half = teacher.mask_ids(image, (20, 32)).long()
    assert sorted(set(half.flatten().tolist()) - {0}) == list(range(1, int(half.max()) + 1))
    same = expected[1::2, 1::2]
    for number in half.unique().tolist():
        assert len(same[half == number].unique()) == 1


@pytest.mark.parametrize("size", [(48, 64), (90, 33), (300, 451)])
def test_upsampling_agrees_with_the_two_steps(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    low = torch.randn(5, 32, 32, generator=generator)
    inside = plain.input_size(128, size)
    square = functional.interpolate(low[None], (128, 128), mode="bilinear", align_corners=False)
    expected = functional.interpolate(square[..., : inside[0], : inside[1]], size, mode="bilinear", align_corners=False)
    upsampling = Upsampling(32, 128, inside, size, CPU)
    rows, columns = upsampling.needed
    torch.testing.assert_close(upsampling(low[:, :rows, :columns]), expected[0], atol=1e-5, rtol=1e-5)
    assert rows < 32 or columns < 32  # a part of the square is padding


def _logits(count: int = 12, size: tuple[int, int] = (9, 13)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    logits = 3 * torch.randn(count, *size, generator=generator) - 2
    logits[-2:] = torch.tensor([-9.0, 9.0])[:, None, None]
    return logits


def test_counts_and_boxes_agree_with_loops() -> None:
    logits = _logits()
    assert count_above(logits, 1.0).tolist() == [int((mask > 1).sum()) for mask in logits]
    boxes = last_pixel_boxes(logits)
    assert boxes.tolist() == [plain.box_of(mask > 0) for mask in logits]


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (9, 13)])
def test_packed_masks_are_unpacked(size: tuple[int, int]) -> None:
    masks = _logits(7, size) > 0
    packed = pack(masks.flatten(1))
    assert packed.shape == (7, -(-size[0] * size[1] // 8))
    zeros = torch.zeros(7)
    stored = ExactMasks(packed, size, masks.sum((1, 2)), torch.zeros(7, 4, dtype=torch.int64), zeros)
    assert torch.equal(torch.cat(list(stored.chunks())), masks)
    assert torch.equal(torch.cat(list(stored.take(torch.tensor([5, 0])).chunks())), masks[[5, 0]])


def test_other_sizes_read_pixel_centres() -> None:
    masks = _logits(4, (6, 8)) > 0
    stored = ExactMasks(pack(masks.flatten(1)), (6, 8), masks.sum((1, 2)), torch.zeros(4, 4), torch.zeros(4))
    assert torch.equal(torch.cat(list(stored.sampled((3, 4)))), masks[:, 1::2, 1::2])
    assert torch.equal(torch.cat(list(stored.sampled((12, 8)))), masks.repeat_interleave(2, dim=1))


def _identity(size: tuple[int, int]) -> Upsampling:
    side = max(size)
    return Upsampling(side, side, size, size, CPU)


@pytest.mark.parametrize(
    "options",
    [
        SamOptions(stability_threshold=0.3),
        SamOptions(stability_threshold=0.3, stability_offset=0.2),
        SamOptions(stability_threshold=0, min_area_fraction=0.2),
        SamOptions(stability_threshold=0),
    ],
)
def test_filters_agree_with_a_loop(options: SamOptions) -> None:
    logits = _logits()
    scores = torch.arange(12.0)
    kept = filter_exactly(MaskCandidates(logits, scores), _identity((9, 13)), options).scores.tolist()
    expected = []
    for mask, score in zip(logits, scores.tolist()):
        inner, outer = ((mask > cut).sum() for cut in (options.stability_offset, -options.stability_offset))
        stable = not options.stability_threshold or bool(inner / outer >= options.stability_threshold)
        if stable and int((mask > 0).sum()) >= options.min_area_fraction * 9 * 13:
            expected.append(score)
    assert kept == expected
    assert options == SamOptions(stability_threshold=0) or 0 < len(kept) < 12


def test_duplicates_are_suppressed_best_first() -> None:
    logits = _logits(40)
    scores = torch.randint(0, 9, (40,), generator=torch.Generator().manual_seed(3)) / 8
    options = SamOptions(stability_threshold=0, box_nms_threshold=0.8)
    masks = filter_exactly(MaskCandidates(logits, scores), _identity((9, 13)), options)
    found = plain.PlainMasks([plain.run_lengths(mask > 0) for mask in logits], masks.boxes.tolist(), scores.tolist())
    by_box = suppress_exactly(masks, options)
    assert by_box.scores.tolist() == plain.suppress(found, 0.8).scores
    assert by_box.boxes.tolist() == plain.suppress(found, 0.8).boxes
    assert 0 < len(by_box) < 40
    by_mask = suppress_exactly(masks, replace(options, box_nms_threshold=0, mask_nms_threshold=0.4))
    order = torch.sort(scores, descending=True, stable=True).indices
    kept = greedy_suppression((mask_overlap(logits > 0) > 0.4)[order][:, order])
    assert torch.equal(by_mask.areas, masks.areas[order][kept])
    assert torch.equal(box_overlap(masks.boxes[:5], masks.boxes), box_overlap(masks.boxes)[:5])


def test_no_mask_passes(sam_folder: Path) -> None:
    teacher = SamTeacher.from_pretrained(sam_folder, SamOptions(points_per_side=2, pred_iou_threshold=1e9))
    assert int(teacher.mask_ids(_waves((20, 30))).long().sum()) == 0
