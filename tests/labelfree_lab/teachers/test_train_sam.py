from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from labelfree import InputError
from labelfree.teachers.images import normalise, pad_bottom_right
from labelfree.teachers.sam import SAM_MEAN, SAM_STD
from labelfree_lab.teachers import sam_targets, tiny_sam, train_sam
from labelfree_lab.teachers.sam_probe import Probe, probe_scores

SETTINGS = train_sam.Settings(steps=2, batch=2, prompts=3, warm_up=1, probe_every=1, patch=8)


def rectangles(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures of coloured rectangles on a background, with their instance maps and parts: left and right halves."""
    rng = np.random.default_rng(seed)
    instances = np.ones((count, 96, 128), np.uint16)
    for picture in instances:
        for name in range(2, 6):
            top, left = rng.integers(0, 64), rng.integers(0, 96)
            picture[top : top + rng.integers(16, 40), left : left + rng.integers(16, 40)] = name
    colours = rng.integers(0, 255, (count, 6, 3)).astype(np.uint8)
    parts = 2 * instances + (np.arange(128) >= 64).astype(np.uint16)
    return np.stack([table[ids] for table, ids in zip(colours, instances)]), instances, parts


def learner(settings: train_sam.Settings = SETTINGS) -> train_sam.Learner:
    config = tiny_sam.tiny_sam_config(hidden=64, layers=2, channels=32, patch=8)
    return train_sam.Learner(tiny_sam.new_tiny_sam(config, settings.seed), settings)


def loss_of(model: train_sam.Learner, batch: train_sam.PromptBatch) -> torch.Tensor:
    return model(batch.pixels, batch.points, batch.targets, batch.owners)[0]


@pytest.mark.parametrize("step", [0, 1], ids=["padded", "cropped"])
def test_every_trained_part_gets_a_gradient_and_positions_stay(step: int) -> None:
    model = learner(train_sam.Settings(steps=9, batch=2, prompts=3, patch=8))
    batch = train_sam.draw_batch(*rectangles(2), model.settings, step)
    assert batch.pixels.shape[-2] == (128 if step == 0 else 96)
    loss_of(model, batch).backward()
    sam = model.sam
    first = sam.vision_encoder.patch_embed.projection.weight
    for weight in (first, sam.vision_encoder.neck.conv2.weight, sam.mask_decoder.upscale_conv1.weight):
        assert weight.grad is not None
        assert weight.grad.abs().max() > 1e-6
    shared = sam.shared_image_embedding.positional_embedding
    assert sam.prompt_encoder.shared_embedding.positional_embedding is shared
    assert not shared.requires_grad
    assert 0.7 < shared.std() < 1.3


def test_the_loss_of_one_batch_falls() -> None:
    model = learner(train_sam.Settings(steps=40, batch=2, prompts=3, warm_up=1, peak_rate=2e-3, patch=8))
    batch = train_sam.draw_batch(*rectangles(2), model.settings, 1)
    optimiser = train_sam.new_optimiser(model, model.settings)
    before = loss_of(model, batch).item()
    for step in range(12):
        train_sam.train_step(model, model, optimiser, batch, step)
    assert loss_of(model, batch).item() < 0.8 * before


def test_an_interrupted_run_goes_on_and_ends_alike(tmp_path: Path) -> None:
    images, instances, parts = rectangles(3)
    probe = Probe(images[:1], instances[:1], points_per_side=2)
    places = [train_sam.Places(tmp_path / name / "work", tmp_path / name / "out") for name in ("once", "twice")]
    whole = train_sam.train(learner(), images, instances, parts, probe, places[0])
    interrupted = learner()
    interrupted_at = _StopAt(images, draws=1)
    with pytest.raises(InterruptedError):
        train_sam.train(interrupted, interrupted_at, instances, parts, probe, places[1])
    again = train_sam.train(learner(), images, instances, parts, probe, places[1])
    for one, other in zip(whole.parameters(), again.parameters()):
        assert torch.equal(one, other)
    lines = (places[1].out / "training.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


class _StopAt(np.ndarray):
    """Pictures that can be drawn from a given number of times."""

    draws: float

    def __new__(cls, images: np.ndarray, draws: int) -> _StopAt:
        array = np.asarray(images).view(cls)
        array.draws = draws
        return array

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, np.ndarray):
            self.draws -= 0.5  # a batch looks its pictures up twice
            if self.draws < 0:
                raise InterruptedError
        return np.asarray(self)[index]


def test_exported_weights_load_into_the_teacher(tmp_path: Path) -> None:
    from labelfree.config.teachers import SamOptions
    from labelfree.teachers.sam import SamTeacher

    images, instances, _ = rectangles(1)
    model = learner()
    tiny_sam.export_tiny_sam(model.sam.config, model.sam.state_dict(), tmp_path)
    options = SamOptions(points_per_side=2, pred_iou_threshold=0.0, stability_threshold=0.0, precision="float32")
    teacher = SamTeacher.from_pretrained(tmp_path, options)
    shared = teacher.model.shared_image_embedding.positional_embedding
    assert torch.equal(shared, teacher.model.prompt_encoder.shared_embedding.positional_embedding)
    assert torch.allclose(shared, model.sam.shared_image_embedding.positional_embedding, atol=2e-3)
    assert teacher.mask_ids(images[0]).shape == (96, 128)
    # the probe's padding, points and decoding are the teacher's
    points = torch.tensor([[20.0, 30.0], [100.0, 60.0]])
    embedding = teacher.encode(images[0])
    pixels = normalise(torch.from_numpy(images[:1]).permute(0, 3, 1, 2).float(), *_sam_colours())
    features = tiny_sam.neck_features(teacher.model, pad_bottom_right(pixels, (128, 128)))
    logits, _ = tiny_sam.decode_points(teacher.model, features, points[None])
    assert torch.allclose(features, embedding.padded, atol=1e-4)
    assert torch.allclose(logits[0].flatten(0, 1)[:, :48], teacher.decode(embedding, points).logits, atol=1e-3)
    assert probe_scores(teacher.model, Probe(images, instances, points_per_side=2))["best_iou"] >= 0


def _sam_colours() -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    return SAM_MEAN, SAM_STD


@pytest.mark.parametrize("side", [128, 176])
def test_a_run_may_start_from_another_ones_weights(side: int, tmp_path: Path) -> None:
    first = tiny_sam.new_tiny_sam(tiny_sam.tiny_sam_config(patch=8), 0)
    tiny_sam.export_tiny_sam(first.config, first.state_dict(), tmp_path)
    second = tiny_sam.new_tiny_sam(tiny_sam.tiny_sam_config(image_side=side, patch=8), 1)
    tiny_sam.start_from(second, tmp_path)
    before, after = first.state_dict(), second.state_dict()
    for name in before.keys() - {tiny_sam.POSITIONS}:
        assert torch.equal(after[name], before[name].half().float())
    old, new = before[tiny_sam.POSITIONS], after[tiny_sam.POSITIONS]
    assert new.shape == (1, side // 8, side // 8, old.shape[-1])
    assert torch.allclose(new.mean((0, 1, 2)), old.mean((0, 1, 2)), atol=0.02)
    if side == 128:
        assert torch.allclose(new, old, atol=1e-3)


def test_a_deeper_encoder_starts_as_the_smaller_one(tmp_path: Path) -> None:
    small = tiny_sam.new_tiny_sam(tiny_sam.tiny_sam_config(hidden=64, layers=2, channels=32, patch=8), 0)
    tiny_sam.export_tiny_sam(small.config, small.state_dict(), tmp_path)
    tiny_sam.start_from(small, tmp_path)  # in the precision of the file
    deep = tiny_sam.new_tiny_sam(tiny_sam.tiny_sam_config(hidden=64, layers=5, channels=32, patch=8), 1)
    tiny_sam.start_from(deep, tmp_path)
    assert len(deep.vision_encoder.layers) == 5
    pixels = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first, second = (tiny_sam.neck_features(model, pixels) for model in (small, deep))
    assert torch.allclose(first, second, atol=1e-5)


def test_finer_patches_answer_an_image_of_that_scale_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    kernel, small = torch.randn(5, 3, 8, 8, generator=generator), torch.randn(1, 3, 12, 16, generator=generator)
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    coarse = torch.nn.functional.conv2d(large, kernel, stride=8)
    fine = torch.nn.functional.conv2d(small, tiny_sam.finer_patches(kernel, 4), stride=4)
    assert torch.allclose(fine, coarse, atol=1e-4)
    assert tiny_sam.finer_patches(kernel, 8) is kernel


def test_the_loss_of_two_levels_equals_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, scores = torch.randn(2, 3, 4, 5, 6, generator=generator), torch.rand(2, 3, 4, generator=generator)
    targets = (torch.rand(2, 3, 2, 5, 6, generator=generator) > 0.5).float()
    best, everything, squared, picked = [], [], [], []
    for image in range(2):
        for prompt in range(3):
            own = logits[image, prompt]
            costs, ious = np.zeros((2, 4)), np.zeros((2, 4))
            for level in range(2):
                wanted = targets[image, prompt, level]
                for mask in range(4):
                    one, true = own[mask][None, None, None], wanted[None, None]
                    costs[level, mask] = sam_targets.mask_costs(one, true).item()
                    ious[level, mask] = sam_targets.hard_ious(one, true).item()
            best.append(costs.min(1).mean())
            everything.append(costs.min(0).mean())
            squared.append(((scores[image, prompt].numpy() - ious.max(0)) ** 2).mean())
            picked.append(ious.max(0)[scores[image, prompt].argmax()])
    found = sam_targets.mask_losses(logits, scores, targets, share_for_all=0.1)
    assert found.masks.item() == pytest.approx(np.mean(best) + 0.1 * np.mean(everything), rel=1e-5)
    assert found.scores.item() == pytest.approx(np.mean(squared), rel=1e-5)
    assert found.picked_iou.item() == pytest.approx(np.mean(picked), rel=1e-5)


def test_half_of_the_points_ask_for_parts() -> None:
    """Both levels have the mask of the id at the point, also where the image is mirrored."""
    settings = train_sam.Settings(batch=4, prompts=8, patch=8)
    batch = train_sam.draw_batch(*rectangles(4), settings, 3)
    assert batch.targets.shape == (4, 8, 2, 48, 64)
    x, y = (batch.points // 2).long().unbind(-1)
    inside = batch.targets[torch.arange(4)[:, None], torch.arange(8), :, y, x]
    assert (inside > 0).all()
    assert (batch.targets[:, :, 1] <= batch.targets[:, :, 0]).all()  # a part lies in its object


def test_a_run_does_not_start_from_anything_else(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="not a tiny SAM such as"):
        tiny_sam.start_from(tiny_sam.new_tiny_sam(tiny_sam.tiny_sam_config(), 0), tmp_path)


def test_prompts_lie_on_their_instances_and_small_ones_get_their_share() -> None:
    instances = np.ones((1, 96, 128), np.uint16)
    instances[0, 10:20, 30:40] = 7  # 100 of 12288 pixels
    instances[0, 50, 50:60] = 9  # 10 pixels: too few to be asked for
    instances[0, :5] = 0
    prompts = sam_targets.draw_prompts(np.random.default_rng(0), instances, 2000)
    x, y = prompts.points[0].T.astype(int)
    assert (instances[0, y, x] == prompts.instances[0]).all()
    assert set(prompts.instances[0]) == {1, 7}
    share = (prompts.instances[0] == 7).mean()
    assert share == pytest.approx(1 / (1 + (11538 / 100) ** 0.5), abs=0.02)


def test_affinity_loss_equals_a_loop_over_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 3, 2, 6, generator=generator)
    owners = torch.tensor([[1, 1, 2, 2, 0, 3, 1, 2, 2, 2, 3, 3]])
    tokens = torch.nn.functional.normalize(features.flatten(2), dim=1)[0].T
    kinds: dict[tuple[bool, bool], list[float]] = {(near, same): [] for near in (False, True) for same in (False, True)}
    for i in range(12):
        for j in range(12):
            if not owners[0, i] * owners[0, j]:
                continue
            same = bool(owners[0, i] == owners[0, j])
            chance = torch.sigmoid(4 * tokens[i] @ tokens[j] - 1)
            cost = -torch.log(chance if same else 1 - chance).item()
            kinds[False, same].append(cost)
            if 0 < max(abs(i // 6 - j // 6), abs(i % 6 - j % 6)) <= sam_targets.NEAR:
                kinds[True, same].append(cost)
    expected = np.mean([np.mean(costs) for costs in kinds.values()])
    found = sam_targets.affinity_loss(features, owners, torch.tensor(4.0), torch.tensor(-1.0))
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("logits", "target", "iou"),
    [([9, 9, -9, -9], [1, 1, 0, 0], 1.0), ([9, 9, 9, -9], [1, 0, 0, 0.4], 1 / 3), ([-9] * 4, [0, 0, 0, 0], 0.0)],
)
def test_hard_ious(logits: list[float], target: list[float], iou: float) -> None:
    found = sam_targets.hard_ious(
        torch.tensor(logits, dtype=torch.float32).view(1, 1, 1, 2, 2), torch.tensor(target).view(1, 1, 2, 2).float()
    )
    assert found.item() == pytest.approx(iou)


def test_masks_and_patches_of_instances() -> None:
    instances = torch.zeros(1, 8, 16, dtype=torch.int64)
    instances[:, :, 3:] = 4
    instances[:, :, 11:] = 65535
    masks = sam_targets.instance_masks(instances, torch.tensor([[4]]), 2)
    assert masks[0, 0, 0].tolist() == [0, 0.5, 1, 1, 1, 0.5, 0, 0]
    assert sam_targets.token_instances(instances, 8).tolist() == [[4, 65535]]
