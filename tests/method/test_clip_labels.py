from __future__ import annotations

import pytest
import torch

from labelfree.errors import InputError
from labelfree.method.clip_labels import class_scores, clip_labels, labels_from_scores, upsample_scores
from labelfree.method.extensions.maskclip import key_smooth, prompt_denoise


def test_scores_are_cosines_whatever_the_lengths() -> None:
    features = torch.tensor([[[3.0, 0.0], [0.0, 0.5], [1.0, 1.0]]])
    text = torch.tensor([[2.0, 0.0], [0.0, 9.0]])
    half = 0.5**0.5
    expected = torch.tensor([[[1.0, 0.0, half]], [[0.0, 1.0, half]]])
    torch.testing.assert_close(class_scores(features, text), expected)
    torch.testing.assert_close(class_scores(features.half(), text), expected, atol=1e-3, rtol=1e-3)


def test_scores_agree_with_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    features, text = torch.randn(3, 4, 8, generator=generator), torch.randn(5, 8, generator=generator)
    scores = class_scores(features, text)
    for label in range(5):
        for row in range(3):
            for column in range(4):
                cosine = torch.cosine_similarity(features[row, column], text[label], dim=0)
                torch.testing.assert_close(scores[label, row, column], cosine)


def test_a_class_with_synonyms_takes_its_best_name() -> None:
    features = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    scores = class_scores(features, text, owners=torch.tensor([0, 0, 1]))
    torch.testing.assert_close(scores, torch.tensor([[[1.0, 1.0, 0.0]], [[-1.0, 0.0, 1.0]]]))


def test_wrong_width_is_told() -> None:
    with pytest.raises(InputError, match="width 4 but text embeddings 8"):
        class_scores(torch.zeros(1, 1, 4), torch.zeros(2, 8))


def test_ties_go_to_the_lowest_class() -> None:
    scores = torch.tensor([[0.1, 0.3, 0.2], [0.5, 0.3, 0.1], [0.5, 0.2, 0.2]])
    assert labels_from_scores(scores).tolist() == [1, 0, 0]
    assert labels_from_scores(scores).dtype == torch.uint8


def test_logits_are_upsampled_before_the_argmax() -> None:
    # Between a patch of class 0 and one of class 1, class 2 (second everywhere) wins in the middle: only
    # upsampled logits show it, upsampled labels never would.
    scores = torch.tensor([[[1.0, -1.0]], [[-1.0, 1.0]], [[0.4, 0.4]]])
    assert labels_from_scores(upsample_scores(scores, (1, 8))).tolist() == [[0, 0, 0, 2, 2, 1, 1, 1]]


def test_padding_is_cut_off() -> None:
    # One patch row of four, of which the image covers the first two and a half.
    scores = torch.tensor([[[1.0, 0.0, 0.0, 0.0]], [[0.0, 1.0, 1.0, 0.0]], [[0.0, 0.0, 0.0, 9.0]]])
    labels = labels_from_scores(upsample_scores(scores, (2, 10), extent=(1.0, 2.5)))
    assert labels.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1, 1, 1]] * 2


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.0, [0, 1, 2]), (0.5, [0, 1, 2]), (0.7, [0, 1, 0]), (0.999999, [0, 1, 2])],
)
def test_prompt_denoise(threshold: float, expected: list[int]) -> None:
    # Confidences after the softmax at 100: class 0 and 1 reach 0.95 and 0.88, class 2 only 0.62; none reaches 0.999999.
    scores = torch.tensor([[[0.23, 0.2, 0.195]], [[0.2, 0.22, 0.1]], [[0.1, 0.1, 0.2]]])
    assert prompt_denoise(scores, threshold).argmax(0)[0].tolist() == expected


def test_key_smoothing_follows_the_formula() -> None:
    generator = torch.Generator().manual_seed(1)
    values, keys = torch.randn(6, 3, generator=generator), torch.randn(6, 5, generator=generator)
    smoothed = key_smooth(values, keys)
    for index in range(6):
        weights = [max(0.0, float(torch.cosine_similarity(keys[index], key, dim=0))) for key in keys]
        expected = sum(weight * value for weight, value in zip(weights, values)) / sum(weights)
        torch.testing.assert_close(smoothed[index], expected)


def test_clip_labels_is_the_chain_of_its_steps() -> None:
    generator = torch.Generator().manual_seed(2)
    features, text = torch.randn(3, 4, 8, generator=generator), torch.randn(5, 8, generator=generator)
    expected = upsample_scores(class_scores(features, text), (20, 30), (2.5, 4.0)).argmax(0)
    labels = clip_labels(features, text, (20, 30), extent=(2.5, 4.0))
    assert labels.shape == (20, 30)
    assert labels.tolist() == expected.tolist()
