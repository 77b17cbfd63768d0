from __future__ import annotations

import torch

from labelfree.method.extensions.distribution_alignment import ROUNDS, SMOOTHING, align_logits, class_frequencies


def test_frequencies_count_what_is_labelled() -> None:
    labels = torch.tensor([[0, 0, 2], [255, 0, 255]], dtype=torch.uint8)
    found = class_frequencies(labels, 4)
    expected = torch.tensor([3.0, 0.0, 1.0, 0.0], dtype=torch.float64) + 4 * SMOOTHING
    torch.testing.assert_close(found, expected / expected.sum())
    nothing = class_frequencies(torch.full((3,), 255), 4)
    torch.testing.assert_close(nothing, torch.full((4,), 0.25, dtype=torch.float64))


def test_alignment_is_that_of_a_loop() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 5)
    wanted = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    pixels = [logits[b, :, v, u].double() for b in range(2) for v in range(4) for u in range(5)]
    for _ in range(ROUNDS):
        mean = sum(pixel.softmax(dim=0) for pixel in pixels) / len(pixels)
        pixels = [pixel + (wanted / mean).log() for pixel in pixels]
    expected = torch.stack(pixels).reshape(2, 4, 5, 3).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(align_logits(logits, wanted), expected, atol=1e-5, rtol=1e-5)


def test_a_class_that_the_argmax_never_picks_comes_back() -> None:
    """Class 1 is always second; CLIP names it for half of the points, so half of them take it, the likeliest ones."""
    lead = torch.linspace(0.5, 2.0, 100)
    logits = torch.stack([lead, torch.zeros(100)], dim=1)
    assert logits.argmax(dim=1).sum() == 0
    aligned = align_logits(logits, torch.tensor([0.5, 0.5], dtype=torch.float64)).argmax(dim=1)
    assert 45 <= int(aligned.sum()) <= 55
    assert torch.equal(aligned, (lead < lead[aligned == 0].min()).long())


def test_what_clip_does_not_name_becomes_rare() -> None:
    logits = torch.zeros(50, 3)
    frequencies = class_frequencies(torch.tensor([0, 1, 1, 0]), 3)
    assert not (align_logits(logits + torch.tensor([0.0, 0.0, 1.0]), frequencies).argmax(dim=1) == 2).any()
