from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from labelfree.config.teachers import ClipOptions
from labelfree.errors import InputError
from labelfree.method.clip_labels import clip_labels
from labelfree.teachers.clip import DenseClip
from labelfree.teachers.dense_values import dense_values, dense_values_and_keys
from labelfree.teachers.prompts import fill_templates
from labelfree.vocabulary import Vocabulary

FLOAT = ClipOptions(precision="float32")
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])


def _pixels(image: torch.Tensor) -> torch.Tensor:
    return ((image / 255 - MEAN) / STD).permute(2, 0, 1)[None]


@torch.no_grad()
def test_features_are_the_normalised_dense_values(clip_folder: Path, image: torch.Tensor) -> None:
    teacher = DenseClip.from_pretrained(clip_folder, FLOAT)
    features = teacher.features(image)
    assert features.shape == (5, 8, 16)
    expected = functional.normalize(dense_values(teacher.model, _pixels(image)), dim=-1).reshape(5, 8, 16)
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-4)
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())


def test_padding_goes_below_and_right_and_is_zero(clip_folder: Path, image: torch.Tensor) -> None:
    teacher = DenseClip.from_pretrained(clip_folder, FLOAT)
    cut = image[:37, :50]
    padded = functional.pad(_pixels(cut), (0, 6, 0, 3))
    with torch.no_grad():
        expected = functional.normalize(dense_values(teacher.model, padded), dim=-1).reshape(5, 7, 16)
    torch.testing.assert_close(teacher.features(cut), expected, atol=1e-5, rtol=1e-4)
    assert teacher.grid_extent((37, 50)) == (37 / 8, 50 / 8)


@pytest.mark.parametrize(
    ("options", "shape", "extent"),
    [
        (ClipOptions(scale=1.5), (8, 12), (7.5, 12.0)),
        (ClipOptions(input_size=(24, 32)), (3, 4), (3.0, 4.0)),
        (ClipOptions(scale=0.3), (2, 3), (1.5, 19 / 8)),
    ],
)
def test_size_of_the_grid(
    clip_folder: Path, image: torch.Tensor, options: ClipOptions, shape: tuple[int, int], extent: tuple[float, float]
) -> None:
    teacher = DenseClip.from_pretrained(clip_folder, options)
    assert tuple(teacher.features(image).shape) == (*shape, 16)
    assert teacher.grid_extent((40, 64)) == extent


@pytest.mark.parametrize("window", [64, 40, 4000])
def test_windows_not_smaller_than_the_image_change_nothing(clip_folder: Path, image: torch.Tensor, window: int) -> None:
    square = image[:40, :40]
    whole = DenseClip.from_pretrained(clip_folder, FLOAT).features(square)
    windowed = DenseClip.from_pretrained(clip_folder, replace(FLOAT, window=window, stride=8)).features(square)
    torch.testing.assert_close(windowed, whole)


@pytest.mark.parametrize("stride", [8, 16, 24])
@torch.no_grad()
def test_windows_agree_with_a_loop(clip_folder: Path, image: torch.Tensor, stride: int) -> None:
    teacher = DenseClip.from_pretrained(clip_folder, replace(FLOAT, window=32, stride=stride, windows_per_batch=3))
    pixels = _pixels(image)
    total, count = torch.zeros(5, 8, 16), torch.zeros(5, 8, 1)
    for top in sorted({*range(0, 40 - 32, stride), 8}):
        for left in sorted({*range(0, 64 - 32, stride), 32}):
            values = dense_values(teacher.model, pixels[..., top : top + 32, left : left + 32])[0]
            for index, value in enumerate(values):
                row, column = top // 8 + index // 4, left // 8 + index % 4
                total[row, column] += value / value.norm()
                count[row, column] += 1
    assert bool((count > 0).all())
    mean = total / count
    expected = mean / mean.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(teacher.features(image), expected, atol=1e-5, rtol=1e-4)


def test_a_batch_gives_what_its_images_give(clip_folder: Path, image: torch.Tensor) -> None:
    teacher = DenseClip.from_pretrained(clip_folder, replace(FLOAT, window=32))
    batch = torch.stack([image, image.flip(0), image.flip(1)])
    together = teacher.features(batch.numpy())
    for one, features in zip(batch, together):
        torch.testing.assert_close(teacher.features(one), features, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_picture_that_must_not_be_written_is_copied_without_a_warning(clip_folder: Path, image: torch.Tensor) -> None:
    kept = image.numpy().copy()
    kept.flags.writeable = False
    teacher = DenseClip.from_pretrained(clip_folder, FLOAT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(teacher.features(kept), teacher.features(image))


@torch.no_grad()
def test_parity_options(clip_folder: Path, image: torch.Tensor) -> None:
    raw = DenseClip.from_pretrained(clip_folder, replace(FLOAT, preprocessing="raw01"))
    expected = dense_values(raw.model, (image / 255).permute(2, 0, 1)[None]).reshape(5, 8, 16)
    torch.testing.assert_close(raw.features(image), functional.normalize(expected, dim=-1), atol=1e-5, rtol=1e-4)
    exact = DenseClip.from_pretrained(clip_folder, replace(FLOAT, exact_gelu=True)).model
    activation = exact.vision_model.encoder.layers[0].mlp.activation_fn
    torch.testing.assert_close(activation(torch.ones(3)), functional.gelu(torch.ones(3)))
    assert exact.text_model.encoder.layers[0].mlp.activation_fn(torch.ones(1)) != functional.gelu(torch.ones(1))


@torch.no_grad()
def test_key_smoothing_averages_over_like_keys(clip_folder: Path, image: torch.Tensor) -> None:
    teacher = DenseClip.from_pretrained(clip_folder, replace(FLOAT, key_smoothing=True))
    values, keys = dense_values_and_keys(teacher.model, _pixels(image))
    similarity = torch.cosine_similarity(keys[0, :, None], keys[0, None], dim=-1).clamp_min(0)
    expected = functional.normalize(similarity @ functional.normalize(values[0], dim=-1), dim=-1)
    torch.testing.assert_close(teacher.features(image), expected.reshape(5, 8, 16), atol=1e-5, rtol=1e-4)


def test_text_goes_through_the_models_own_text_tower(clip_folder: Path) -> None:
    teacher = DenseClip.from_pretrained(clip_folder, FLOAT)
    embeddings = teacher.embed(Vocabulary.from_names(["wall", "bed"]))
    for vector, name in zip(embeddings.vectors, ["wall", "bed"]):
        total = torch.zeros(16)
        for sentence in fill_templates(name):
            ids = torch.tensor([[298, *sentence.encode(), 299][:39] + [299] * (len(sentence) > 37)])
            with torch.no_grad():
                encoded = teacher.model.get_text_features(ids).pooler_output[0]
            total += encoded / encoded.norm()
        torch.testing.assert_close(vector, total / total.norm(), atol=1e-4, rtol=1e-4)
    assert float(embeddings.vectors[0] @ embeddings.vectors[1]) < 0.9999


def test_bytes_are_announced(clip_folder: Path) -> None:
    teacher = DenseClip.from_pretrained(clip_folder)
    assert len(teacher.warnings) == 1
    assert "MEANINGLESS" in teacher.warnings[0]


def test_a_small_config_with_clips_own_end_token_still_tells_classes_apart(clip_folder: Path, tmp_path: Path) -> None:
    """`CLIPConfig` defaults name tokens beyond a small vocabulary; read naively, every sentence is the same."""
    shutil.copytree(clip_folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["text_config"].update(bos_token_id=49406, eos_token_id=49407)
    (tmp_path / "config.json").write_text(json.dumps(config))
    teacher = DenseClip.from_pretrained(tmp_path, FLOAT)
    vectors = teacher.embed(Vocabulary.from_names(["wall", "bed"])).vectors
    assert float(vectors[0] @ vectors[1]) < 0.9999


def test_from_image_to_labels(clip_folder: Path, image: torch.Tensor) -> None:
    teacher = DenseClip.from_pretrained(clip_folder, FLOAT)
    text = teacher.embed(Vocabulary.from_names(["wall", "floor", "bed"]))
    cut = image[:37, :50]
    labels = clip_labels(teacher.features(cut), text.vectors, (37, 50), text.owners, teacher.grid_extent((37, 50)))
    assert labels.shape == (37, 50)
    assert int(labels.max()) <= 2


def test_low_precision_stays_close(clip_folder: Path, image: torch.Tensor) -> None:
    exact = DenseClip.from_pretrained(clip_folder, FLOAT).features(image)
    rough = DenseClip.from_pretrained(clip_folder, ClipOptions(precision="bfloat16")).features(image)
    assert rough.dtype == torch.float32
    assert float((exact * rough).sum(-1).min()) > 0.999


def test_fingerprint_follows_what_changes_features(clip_folder: Path, tmp_path: Path) -> None:
    first = DenseClip.from_pretrained(clip_folder, FLOAT)
    assert first.fingerprint() == DenseClip.from_pretrained(str(clip_folder), FLOAT).fingerprint()
    same = replace(FLOAT, windows_per_batch=2)
    assert first.fingerprint() == DenseClip.from_pretrained(clip_folder, same).fingerprint()
    others = [
        replace(FLOAT, scale=2.0),
        replace(FLOAT, attention="kk"),
        replace(FLOAT, exact_gelu=True),
        replace(FLOAT, precision="bfloat16"),
    ]
    prints = {DenseClip.from_pretrained(clip_folder, options).fingerprint() for options in others}
    with torch.no_grad():
        first.model.visual_projection.weight[0, 0] += 1e-3
    first.model.save_pretrained(tmp_path)
    prints.add(DenseClip.from_pretrained(tmp_path, FLOAT).fingerprint())
    assert len(prints - {DenseClip.from_pretrained(clip_folder, FLOAT).fingerprint()}) == 5
    assert "patch 8" in first.describe()


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("no config", r"config\.json is missing"),
        ("no weights", r"model\.safetensors is missing"),
        ("not json", "is not JSON"),
        ("other model", "model_type is 'sam'"),
        ("half the weights", r"weights of CLIPModel are missing, first 'text_model"),
        ("cut short", r"model\.safetensors: not a readable safetensors file \(a header of .* in a file of 1,000\)"),
        ("grown", r"model\.safetensors: not a readable safetensors file \(8,589,934,592 bytes, its header promises"),
        ("other shape", "cannot load CLIPModel"),
        ("not a number", r"weight 'visual_projection\.weight' holds NaN or infinite values"),
        ("an object", r"cannot load CLIPModel \(pytorch_model\.bin is damaged or holds more than tensors"),
        ("not a size", "cannot load CLIPModel"),
    ],
)
def test_broken_folders_are_named(clip_folder: Path, tmp_path: Path, broken: str, message: str) -> None:
    shutil.copytree(clip_folder, tmp_path, dirs_exist_ok=True)
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    match broken:
        case "no config":
            config.unlink()
        case "no weights":
            weights.unlink()
        case "not json":
            config.write_text("weights")
        case "other model":
            config.write_text(config.read_text().replace('"model_type": "clip"', '"model_type": "sam"'))
        case "half the weights":
            from safetensors.torch import load_file, save_file

            kept = {name: tensor for name, tensor in load_file(weights).items() if not name.startswith("text_model")}
            save_file(kept, weights, {"format": "pt"})
        case "cut short":
            weights.write_bytes(weights.read_bytes()[:1000])
        case "grown":
            os.truncate(weights, 8 << 30)  # sparse: it takes no room
        case "other shape":
            config.write_text(config.read_text().replace('"projection_dim": 16', '"projection_dim": 12'))
        case "not a number":
            from safetensors.torch import load_file, save_file

            stored = load_file(weights)
            stored["visual_projection.weight"][2, 3] = torch.nan
            save_file(stored, weights, {"format": "pt"})
        case "an object":
            weights.unlink()
            torch.save({"visual_projection.weight": Vocabulary(("a",))}, tmp_path / "pytorch_model.bin")
        case "not a size":
            config.write_text(config.read_text().replace('"num_attention_heads": 2', '"num_attention_heads": null'))
    with pytest.raises(InputError, match=message) as error:
        DenseClip.from_pretrained(tmp_path, FLOAT)
    assert str(tmp_path) in str(error.value)
    assert "weights_only" not in str(error.value)


@pytest.mark.parametrize("name", ["missing-folder", "/missing/folder", "./missing", "a/b/c"])
def test_missing_folders_are_named(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: no such folder"):
        DenseClip.from_pretrained(name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClipOptions(attention="qk"), "attention is 'qk'"),  # type: ignore[arg-type]
        (lambda: ClipOptions(preprocessing="imagenet"), "preprocessing is 'imagenet'"),  # type: ignore[arg-type]
        (lambda: ClipOptions(scale=0), "scale is 0: give a positive number"),
        (lambda: ClipOptions(stride=0), "stride is 0"),
        (lambda: ClipOptions(input_size=(0, 3)), "input_size"),
    ],
)
def test_bad_options_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_bad_windows_and_images_are_named(clip_folder: Path) -> None:
    with pytest.raises(InputError, match="window is 20 pixels: give a multiple of this CLIP's patch of 8"):
        DenseClip.from_pretrained(clip_folder, ClipOptions(window=20))
    with pytest.raises(InputError, match="precision is 'half'"):
        DenseClip.from_pretrained(clip_folder, ClipOptions(precision="half"))  # type: ignore[arg-type]
    teacher = DenseClip.from_pretrained(clip_folder)
    for bad in (torch.zeros(4, 4, 3), torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(0, 4, 3, dtype=torch.uint8)):
        with pytest.raises(InputError, match="need uint8 RGB"):
            teacher.features(bad)
