from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional

from labelfree.config.teachers import SamOptions
from labelfree.errors import InputError
from labelfree.teachers.everything_mode import MaskCandidates, paint_mask_ids, point_grid
from labelfree.teachers.sam import SamTeacher

if TYPE_CHECKING:
    from transformers import SamModel

OPEN = SamOptions(
    mode="fast",
    points_per_side=4,
    pred_iou_threshold=0,
    stability_threshold=0,
    box_nms_threshold=0,
    precision="float32",
)
MEAN = torch.tensor([0.485, 0.456, 0.406])
STD = torch.tensor([0.229, 0.224, 0.225])


def _padded(image: torch.Tensor) -> torch.Tensor:
    """The 40 x 64 test image as SAM's processor would hand it over: 80 x 128 in a square of 128."""
    pixels = image.permute(2, 0, 1)[None].float()
    resized = functional.interpolate(pixels, size=(80, 128), mode="bilinear", align_corners=False)
    normalised = (resized / 255 - MEAN[:, None, None]) / STD[:, None, None]
    return functional.pad(normalised, (0, 0, 0, 48))


def _official_upsampling(low_res: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Two steps, as SAM's own code: to the padded square, crop to the image, to the image's size."""
    square = functional.interpolate(low_res[None], (128, 128), mode="bilinear", align_corners=False)
    return functional.interpolate(square[..., :80, :128], size, mode="bilinear", align_corners=False)[0] > 0


@torch.no_grad()
def _one_by_one(model: SamModel, image: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each point on its own through the whole model, image encoder included."""
    outputs = [model(pixel_values=_padded(image), input_points=point.reshape(1, 1, 1, 2)) for point in points]
    return torch.cat([out.pred_masks[0, 0] for out in outputs]), torch.cat(
        [out.iou_scores.flatten() for out in outputs]
    )


def _overlap(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one & other).sum((1, 2)) / (one | other).sum((1, 2))


@torch.no_grad()
def test_embedding_is_the_neck_without_padding(sam_folder: Path, image: torch.Tensor) -> None:
    teacher = SamTeacher.from_pretrained(sam_folder, OPEN)
    embedding = teacher.encode(image)
    neck = teacher.model.get_image_embeddings(_padded(image))
    torch.testing.assert_close(embedding.padded, neck, atol=1e-4, rtol=1e-4)
    assert embedding.features.shape == (32, 5, 8)
    assert embedding.features.dtype == torch.float16
    torch.testing.assert_close(embedding.features.float(), neck[0, :, :5], atol=2e-3, rtol=2e-3)
    assert embedding.extent == (5.0, 8.0)


@pytest.mark.parametrize(
    ("size", "shape", "extent"),
    [((40, 64), (5, 8), (5.0, 8.0)), ((50, 64), (7, 8), (6.25, 8.0)), ((300, 90), (8, 3), (8.0, 38 / 16))],
)
def test_crop_follows_the_image(
    sam_folder: Path, size: tuple[int, int], shape: tuple[int, int], extent: tuple[float, float]
) -> None:
    embedding = SamTeacher.from_pretrained(sam_folder, OPEN).encode(torch.zeros(*size, 3, dtype=torch.uint8))
    assert tuple(embedding.features.shape) == (32, *shape)
    assert embedding.extent == extent


def test_masks_agree_with_one_pass_per_point_at_full_resolution(sam_folder: Path, image: torch.Tensor) -> None:
    teacher = SamTeacher.from_pretrained(sam_folder, OPEN)
    embedding = teacher.encode(image)
    points = point_grid(4) * torch.tensor([128, 80])
    low_res, scores = _one_by_one(teacher.model, image, points)
    decoded = teacher.decode(embedding, points)
    assert decoded.logits.shape == (48, 20, 32)
    torch.testing.assert_close(decoded.scores, scores, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(decoded.logits, low_res[:, :20], atol=1e-3, rtol=1e-3)
    fast = torch.cat(list(teacher.full_size_masks(embedding, decoded, (80, 128))))
    slow = _official_upsampling(low_res, (80, 128))
    shares = slow.float().mean((1, 2))
    assert int(((shares > 0.05) & (shares < 0.95)).sum()) > 20  # masks worth comparing
    # The official code lets the padding bleed into the last rows; here the image's own border goes on.
    assert float(_overlap(fast[:, :78], slow[:, :78]).min()) > 0.999


@pytest.mark.parametrize("size", [(40, 64), (60, 96), (80, 128), (160, 256), (333, 517)])
def test_one_step_upsampling_agrees_with_the_official_two(
    sam_folder: Path, image: torch.Tensor, size: tuple[int, int]
) -> None:
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    centres = [(4, 5, 4), (12, 20, 7), (18, 30, 5), (10, 15, 9)]
    blobs = torch.stack([radius - ((rows - y) ** 2 + (columns - x) ** 2).sqrt() for y, x, radius in centres])
    teacher = SamTeacher.from_pretrained(sam_folder, OPEN)
    candidates = MaskCandidates(blobs[:, :20], torch.ones(4))
    fast = torch.cat(list(teacher.full_size_masks(teacher.encode(image), candidates, size)))
    assert float(_overlap(fast, _official_upsampling(blobs, size)).min()) > 0.99


def test_mask_ids_agree_with_painting_all_masks(sam_folder: Path, image: torch.Tensor) -> None:
    teacher = SamTeacher.from_pretrained(sam_folder, OPEN)
    embedding = teacher.encode(image)
    candidates = teacher.everything(embedding)
    masks = torch.cat(list(teacher.full_size_masks(embedding, candidates, (40, 64))))
    ids = teacher.mask_ids(image)
    assert ids.shape == (40, 64)
    assert ids.dtype == torch.uint16
    assert ids.long().tolist() == paint_mask_ids([masks], (40, 64)).long().tolist()
    assert sorted(set(ids.flatten().tolist()) - {0}) == list(range(1, int(ids.long().max()) + 1))


def test_batches_of_points_change_nothing(sam_folder: Path, image: torch.Tensor) -> None:
    teacher = SamTeacher.from_pretrained(sam_folder, OPEN)
    few = SamTeacher.from_pretrained(sam_folder, replace(OPEN, points_per_batch=3))
    assert few.fingerprint() == teacher.fingerprint()
    same = teacher.mask_ids(image).long() == few.mask_ids(image).long()
    assert float(same.float().mean()) > 0.999  # sums in another order may move a pixel on an edge


def test_other_sizes_and_single_masks(sam_folder: Path, image: torch.Tensor) -> None:
    teacher = SamTeacher.from_pretrained(sam_folder, replace(OPEN, multimask=False))
    embedding = teacher.encode(image)
    assert len(teacher.decode(embedding, torch.tensor([[5.0, 6.0], [70.0, 20.0]]))) == 2
    assert teacher.segment(embedding, (20, 32)).shape == (20, 32)


def test_no_mask_passes(sam_folder: Path, image: torch.Tensor) -> None:
    teacher = SamTeacher.from_pretrained(sam_folder, replace(OPEN, pred_iou_threshold=1e9))
    assert teacher.mask_ids(image).long().sum() == 0


def test_low_precision_keeps_point_positions_exact(sam_folder: Path, image: torch.Tensor) -> None:
    teacher = SamTeacher.from_pretrained(sam_folder, OPEN)
    rough = SamTeacher.from_pretrained(sam_folder, replace(OPEN, precision="bfloat16"))
    points = point_grid(8) * torch.tensor([128, 80])
    one, other = teacher.decode(teacher.encode(image), points), rough.decode(rough.encode(image), points)
    assert float(((one.logits > 0) == (other.logits > 0)).float().mean()) > 0.98
    assert rough.fingerprint() != teacher.fingerprint()


def test_fingerprint_and_description(sam_folder: Path, tmp_path: Path) -> None:
    teacher = SamTeacher.from_pretrained(sam_folder, OPEN)
    assert teacher.fingerprint() == SamTeacher.from_pretrained(str(sam_folder), OPEN).fingerprint()
    other = SamTeacher.from_pretrained(sam_folder, replace(OPEN, box_nms_threshold=0.7))
    assert other.fingerprint() != teacher.fingerprint()
    assert "4x4 points" in teacher.describe()


def test_wrong_input_is_told(sam_folder: Path, clip_folder: Path, image: torch.Tensor) -> None:
    with pytest.raises(InputError, match="model_type is 'clip' but a 'sam' model"):
        SamTeacher.from_pretrained(clip_folder)
    with pytest.raises(InputError, match="one image at a time, found a batch of 2"):
        SamTeacher.from_pretrained(sam_folder).encode(torch.stack([image, image]))


@pytest.mark.parametrize("value", [True, 4.5, "4", [4]])
def test_a_configuration_of_another_type_is_one_sentence(value: object, sam_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(sam_folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["prompt_encoder_config"]["image_embedding_size"] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        SamTeacher.from_pretrained(tmp_path)
