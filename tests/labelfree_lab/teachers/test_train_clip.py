from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from labelfree.errors import InputError
from labelfree.teachers.clip import DenseClip
from labelfree.teachers.dense_values import dense_values
from labelfree.vocabulary import Vocabulary
from labelfree_lab.shapes.primitives import CLASS_NAMES
from labelfree_lab.teachers.activation_maps import Album, activation_maps, fill_album, map_loss
from labelfree_lab.teachers.captions import build_tokenizer
from labelfree_lab.teachers.clip_probe import probe_scores, reading, retrieval_at_1
from labelfree_lab.teachers.crops import TaggedPictures
from labelfree_lab.teachers.tiny_clip import export, image_features, new_tiny_clip, tiny_clip_config
from labelfree_lab.teachers.train_backbone import new_tag_net
from labelfree_lab.teachers.train_clip import (
    Settings,
    caption_loss,
    draw_batch,
    new_optimiser,
    start_from,
    train_step,
)
from labelfree_lab.teachers.training_log import load_checkpoint, save_checkpoint

SETTINGS = Settings(steps=4, batch=8, warm_up=2)
K = len(CLASS_NAMES)


@pytest.fixture(scope="module")
def pictures() -> TaggedPictures:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 96, 128, 3), dtype=np.uint8)
    classes = rng.integers(0, K, (20, 3, 4), dtype=np.uint8).repeat(32, 1).repeat(32, 2)
    return TaggedPictures.index(images, classes, K)


@pytest.fixture(scope="module")
def album(pictures: TaggedPictures) -> Album:
    return fill_album(np.random.default_rng(1), pictures, new_tag_net(0, K).eval(), 16, (24, 80), 0.04, at_once=8)


def test_features_are_those_of_the_library_model() -> None:
    model = new_tiny_clip(tiny_clip_config(90), 0).eval()
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    whole, patches = image_features(model, pixels)
    assert torch.allclose(whole, model.get_image_features(pixel_values=pixels).pooler_output, atol=1e-5)
    assert torch.allclose(patches, dense_values(model, pixels, "value"), atol=1e-5)


def test_two_steps_reach_every_weight_and_resume_exactly(
    pictures: TaggedPictures, album: Album, tmp_path: Path
) -> None:
    tokenizer = build_tokenizer(CLASS_NAMES)
    model = new_tiny_clip(tiny_clip_config(len(tokenizer), layers=2), 0)
    optimiser = new_optimiser(model, SETTINGS)
    batches = [draw_batch(pictures, album, CLASS_NAMES, tokenizer, SETTINGS, step) for step in range(2)]
    train_step(model, optimiser, batches[0], SETTINGS, 0)
    save_checkpoint(tmp_path / "checkpoint.pt", model, optimiser, 1)
    losses = train_step(model, optimiser, batches[1], SETTINGS, 1)
    assert all(np.isfinite(losses))
    without_gradient = [
        name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()
    ]
    assert without_gradient == []

    again = new_tiny_clip(tiny_clip_config(len(tokenizer), layers=2), 7)
    optimiser = new_optimiser(again, SETTINGS)
    assert load_checkpoint(tmp_path / "checkpoint.pt", again, optimiser) == 1
    assert train_step(again, optimiser, batches[1], SETTINGS, 1) == losses
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values()))


def test_batches_know_of_class_maps_only_which_classes_are_visible(pictures: TaggedPictures, album: Album) -> None:
    """Other class maps, same tags: not a bit of the batch changes."""
    tokenizer = build_tokenizer(CLASS_NAMES)
    scrambled = TaggedPictures(pictures.images, 255 - pictures.classes, pictures.shows)
    one, two = (draw_batch(source, album, CLASS_NAMES, tokenizer, SETTINGS, 3) for source in (pictures, scrambled))
    for name in vars(one):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    assert not (one.named & ~one.visible).any()


def test_caption_loss_ignores_true_statements_of_other_pictures() -> None:
    generator = torch.Generator().manual_seed(0)
    images, texts = torch.randn(2, 5, 8, generator=generator)
    true_of = torch.rand(5, 5, generator=generator) < 0.4
    scale = torch.tensor(7.0)
    total = 0.0
    for n in range(5):
        cosines = functional.cosine_similarity(images[n], texts) * scale
        rivals = [j for j in range(5) if j == n or not true_of[n, j]]
        total += float(cosines[rivals].logsumexp(0) - cosines[n]) / 10
        cosines = functional.cosine_similarity(texts[n], images) * scale
        rivals = [i for i in range(5) if i == n or not true_of[i, n]]
        total += float(cosines[rivals].logsumexp(0) - cosines[n]) / 10
    assert float(caption_loss(images, texts, scale, true_of)) == pytest.approx(total, rel=1e-5)


def test_map_loss_follows_the_map_among_the_tags() -> None:
    generator = torch.Generator().manual_seed(0)
    patches, texts = torch.randn(1, 4, 8, generator=generator), torch.randn(3, 8, generator=generator)
    maps, visible = torch.randn(1, 3, 2, 2, generator=generator), torch.tensor([[True, False, True]])
    prior = torch.tensor([0.5, 0.3, 0.2])
    total = 0.0
    for place in range(4):
        wanted = maps[0, :, place // 2, place % 2][[0, 2]].softmax(0)
        logits = (functional.cosine_similarity(patches[0, place], texts) * 5 + prior.log()).log_softmax(0)[[0, 2]]
        total -= float((wanted * logits).sum()) / 4
    loss = map_loss(patches, texts, torch.tensor(5.0), maps, visible, prior)
    assert float(loss) == pytest.approx(total, rel=1e-5)


def test_the_album_holds_the_tag_networks_maps(album: Album) -> None:
    assert len(album) == 16
    assert album.maps.shape == (16, K, 4, 4)
    grey = torch.full((1, 3, 128, 128), 0.5)
    assert activation_maps(new_tag_net(0, K).eval(), grey).shape == (1, K, 4, 4)


def test_exported_weights_load_as_a_teacher(pictures: TaggedPictures, album: Album, tmp_path: Path) -> None:
    tokenizer = build_tokenizer(CLASS_NAMES)
    model = new_tiny_clip(tiny_clip_config(len(tokenizer), layers=2), 0)
    export(model, tokenizer, tmp_path)
    few = TaggedPictures(pictures.images[:2], pictures.classes[:2], pictures.shows)
    vocabulary = Vocabulary.from_names(CLASS_NAMES)
    scores = probe_scores(model, tokenizer, few, vocabulary, {"value": reading("value", 1.0)})
    assert set(scores) == {"miou_value", "accuracy_value"}
    assert 0 <= retrieval_at_1(model, draw_batch(pictures, album, CLASS_NAMES, tokenizer, SETTINGS, 0)) <= 1
    teacher = DenseClip.from_pretrained(tmp_path)
    assert teacher.warnings == []
    assert teacher.features(few.images[0]).shape == (12, 16, 128)


def test_training_starts_from_another_clip_of_the_same_words(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(CLASS_NAMES)
    first, second = (new_tiny_clip(tiny_clip_config(len(tokenizer)), seed) for seed in (0, 1))
    export(first, tokenizer, tmp_path)
    start_from(second, tmp_path)
    loaded = second.state_dict()
    assert all(torch.equal(value.half().float(), loaded[name]) for name, value in first.state_dict().items())
    with pytest.raises(InputError, match="not a tiny CLIP of the same words"):
        start_from(new_tiny_clip(tiny_clip_config(len(tokenizer) + 1), 0), tmp_path)
