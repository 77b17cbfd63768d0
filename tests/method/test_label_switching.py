from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from labelfree.method.label_switching import (
    PairedPixels,
    draw_sources,
    refined_2d_prediction,
    refined_3d_prediction,
    spread_to_pixels,
    switch_labels,
)
from labelfree.method.sources import ALL_SOURCES, Granularity, Source


def one_hot(labels: torch.Tensor, classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels, classes).float()


def test_half_of_the_draws_are_clip() -> None:
    drawn = draw_sources(ALL_SOURCES, "pixel", torch.zeros(20_000), torch.Generator().manual_seed(0))
    share = torch.bincount(drawn, minlength=4) / len(drawn)
    assert torch.allclose(share, torch.full((4,), 0.25), atol=0.02)
    clip = share[ALL_SOURCES.index("clip_2d")] + share[ALL_SOURCES.index("clip_3d")]
    assert abs(float(clip) - 0.5) < 0.02


def test_one_draw_serves_a_batch_a_sample_or_an_element() -> None:
    sample = torch.arange(8).repeat_interleave(50)
    draws = {
        granularity: draw_sources(ALL_SOURCES, granularity, sample, torch.Generator().manual_seed(3))
        for granularity in get_args(Granularity)
    }
    assert draws["batch"].shape == (1,)
    assert draws["sample"].shape == draws["pixel"].shape == sample.shape
    assert all(len(set(draws["sample"][sample == each].tolist())) == 1 for each in range(8))
    assert len(set(draws["sample"].tolist())) > 1
    assert len(set(draws["pixel"][sample == 0].tolist())) > 1


@pytest.mark.parametrize("granularity", get_args(Granularity))
def test_switch_takes_each_element_from_its_source(granularity: Granularity) -> None:
    pool: tuple[Source, ...] = ("clip_2d", "net_2d", "net_3d")
    labels = {
        source: torch.randint(0, 9, (3, 2, 2), generator=torch.Generator().manual_seed(i))
        for i, source in enumerate(pool)
    }
    sample = torch.arange(3)[:, None, None].expand(3, 2, 2)
    drawn = draw_sources(pool, granularity, sample, torch.Generator().manual_seed(1))
    asked: list[Source] = []

    def labels_of(source: Source) -> torch.Tensor:
        asked.append(source)
        return labels[source]

    chosen, each = (
        switch_labels(pool, drawn, labels_of),
        drawn.expand(3, 2, 2) if len(drawn) > 1 else drawn.view(1, 1, 1).expand(3, 2, 2),
    )
    for place in np.ndindex(3, 2, 2):
        assert chosen[place] == labels[pool[int(each[place])]][place]
    assert asked == [pool[position] for position in drawn.unique().tolist()]  # others are not computed


def test_switch_without_any_element() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    drawn = draw_sources(ALL_SOURCES, "pixel", nothing, torch.Generator())
    assert switch_labels(ALL_SOURCES, drawn, lambda source: nothing).shape == (0,)


def test_predictions_are_refined_and_detached() -> None:
    masks = torch.tensor([[[1, 1, 1, 0]]])
    logits = one_hot(torch.tensor([[[2, 2, 0, 1]]]), 3).permute(0, 3, 1, 2).requires_grad_()
    refined = refined_2d_prediction(logits, masks)
    assert refined.tolist() == [[[2, 2, 2, 1]]]
    assert not refined.requires_grad
    points = refined_3d_prediction(one_hot(torch.tensor([1, 1, 0, 2]), 3), torch.tensor([5, 5, 5, 0]))
    assert points.tolist() == [1, 1, 1, 2]


def test_3d_labels_fill_masks_with_a_pair_and_leave_the_rest_ignored() -> None:
    masks = torch.tensor([[[1, 1, 2, 0, 0]]])
    pairs = PairedPixels(torch.tensor([0, 0]), torch.tensor([0, 0]), torch.tensor([0, 3]))
    spread = spread_to_pixels(torch.tensor([4, 7]), pairs, masks, 8)
    # mask 1 holds a pair and is filled; mask 2 holds none; of the unmasked pixels only the paired one is labelled
    assert spread.tolist() == [[[4, 4, 255, 7, 255]]]


def test_spread_agrees_with_a_loop() -> None:
    generator = torch.Generator().manual_seed(3)
    masks = torch.randint(0, 6, (2, 8, 9), generator=generator)
    masks[1][masks[1] > 0] += 5
    image, row, column = (torch.randint(0, limit, (60,), generator=generator) for limit in (2, 8, 9))
    labels = torch.randint(0, 4, (60,), generator=generator)
    expected = torch.full_like(masks, 255)
    for b, r, c in torch.cartesian_prod(torch.arange(2), torch.arange(8), torch.arange(9)).tolist():
        if masks[b, r, c] == 0:
            votes = labels[(image == b) & (row == r) & (column == c)]
            expected[b, r, c] = int(votes.min()) if len(votes) else 255
        else:
            votes = labels[masks[image, row, column] == masks[b, r, c]]
            expected[b, r, c] = int(torch.bincount(votes, minlength=4).argmax()) if len(votes) else 255
    assert torch.equal(spread_to_pixels(labels, PairedPixels(image, row, column), masks, 4), expected)
