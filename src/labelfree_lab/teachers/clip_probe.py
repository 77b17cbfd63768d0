"""Evaluation of a tiny CLIP during training: dense labels and retrieval on held-out images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from labelfree.config.teachers import ClipOptions
from labelfree.evaluation.confusion import ConfusionMatrix
from labelfree.method.clip_labels import clip_labels
from labelfree.teachers.clip import DenseClip
from labelfree.teachers.tokenizers import Tokenizer
from labelfree.vocabulary import Vocabulary
from labelfree_lab.teachers.crops import TaggedPictures, normalise

if TYPE_CHECKING:
    from transformers import CLIPModel, PreTrainedTokenizerFast

    from labelfree_lab.teachers.crops import CaptionBatch

WINDOW = 64
"""Side of a window, that of training; interpolated positions lower the mIoU by a third to three quarters."""

PICTURES_AT_ONCE = 10


def reading(attention: str, scale: float, keep_residual: bool = False) -> ClipOptions:
    """Return the options of dense labelling in windows of the training size."""
    return ClipOptions(
        attention=attention,  # type: ignore[arg-type]
        keep_residual=keep_residual,
        scale=scale,
        window=WINDOW,
        stride=WINDOW // 2,
        windows_per_batch=64,
    )


CURVE: Mapping[str, ClipOptions] = {"value_x2": reading("value", 2), "value+residual_x2": reading("value", 2, True)}
"""Options that are measured during training."""

TABLE: Mapping[str, ClipOptions] = {
    f"{attention}{'+residual' if residual else ''}_x{scale:g}": reading(attention, scale, residual)
    for attention, residual in (("value", True), ("value", False), ("kk", False), ("nacl", False), ("qq+kk", False))
    for scale in (1.0, 1.5, 2.0)
}
"""Options that are measured once at the end, for the model card."""


def dense_scores(
    model: CLIPModel,
    tokenizer: PreTrainedTokenizerFast,
    pictures: TaggedPictures,
    vocabulary: Vocabulary,
    options: ClipOptions,
) -> ConfusionMatrix:
    """Return the confusion matrix of dense labels over all images."""
    encode = Tokenizer(lambda text: list(tokenizer(text)["input_ids"]), tokenizer.model_max_length, "captions")
    teacher = DenseClip(model.eval(), encode, options)
    text = teacher.embed(vocabulary).vectors
    size = pictures.classes.shape[1:]
    matrix = ConfusionMatrix(len(vocabulary))
    for start in range(0, len(pictures.images), PICTURES_AT_ONCE):
        part = slice(start, start + PICTURES_AT_ONCE)
        for features, truth in zip(teacher.features(pictures.images[part]), pictures.classes[part]):
            matrix.update(truth, clip_labels(features, text, (size[0], size[1])).numpy())
    return matrix


def probe_scores(
    model: CLIPModel,
    tokenizer: PreTrainedTokenizerFast,
    pictures: TaggedPictures,
    vocabulary: Vocabulary,
    readings: Mapping[str, ClipOptions] = CURVE,
) -> dict[str, float]:
    """Return mIoU and pixel accuracy in percent for each of several options."""
    scores = {}
    for name, options in readings.items():
        matrix = dense_scores(model, tokenizer, pictures, vocabulary, options)
        scores[f"miou_{name}"] = 100 * matrix.miou()
        scores[f"accuracy_{name}"] = 100 * matrix.accuracy()
    return scores


@torch.inference_mode()
def retrieval_at_1(model: CLIPModel, batch: CaptionBatch) -> float:
    """Return the share of images whose CLS token is nearest to their own caption or to an equivalent one."""
    images = model.eval().get_image_features(pixel_values=normalise(batch.pixels)).pooler_output
    texts = model.get_text_features(input_ids=batch.tokens).pooler_output
    best = (functional.normalize(images, dim=-1) @ functional.normalize(texts, dim=-1).T).argmax(1)
    same = (batch.named[:, None] == batch.named[None]).all(-1)
    return float(same[torch.arange(len(best)), best].float().mean())
