from __future__ import annotations

import torch

from labelfree.method.extensions.pooled_scores import (
    group_means,
    group_sums,
    log_probabilities,
    pool_in_masks,
    support_share,
)


def loop_pool_in_masks(scores: torch.Tensor, mask_ids: torch.Tensor) -> torch.Tensor:
    pooled = scores.clone()
    for mask in mask_ids.unique().tolist():
        if mask:
            for own in range(len(scores)):
                pooled[own][mask_ids == mask] = scores[own][mask_ids == mask].mean()
    return pooled


def test_pooling_in_masks_agrees_with_the_loop() -> None:
    torch.manual_seed(0)
    scores, masks = torch.randn(5, 6, 7), torch.randint(0, 4, (6, 7))
    torch.testing.assert_close(pool_in_masks(scores, masks), loop_pool_in_masks(scores, masks))


def test_pixels_without_a_mask_keep_their_scores() -> None:
    scores = torch.randn(3, 4, 4)
    assert torch.equal(pool_in_masks(scores, torch.zeros(4, 4, dtype=torch.int32)), scores)


def test_group_sums_and_means_agree_with_the_loop() -> None:
    torch.manual_seed(0)
    values, group = torch.randn(20, 3), torch.randint(0, 4, (20,))
    sums, sizes = group_sums(values, group, 6)
    for each in range(6):
        own = values[group == each]
        torch.testing.assert_close(sums[each], own.double().sum(dim=0))
        assert sizes[each] == len(own)
    assert torch.equal(group_means(values, group, 6)[5], torch.zeros(3))


def test_pooling_keeps_what_a_vote_loses() -> None:
    # two pixels prefer class 0 by little, one class 1 by much
    scores = torch.tensor([[0.31, 0.31, 0.10], [0.30, 0.30, 0.40]])[:, None]
    assert pool_in_masks(scores, torch.ones(1, 3, dtype=torch.int64)).argmax(dim=0).tolist() == [[1, 1, 1]]


def test_log_probabilities_sum_to_one_and_support_grows() -> None:
    torch.testing.assert_close(log_probabilities(torch.randn(4, 3), 50.0).exp().sum(dim=1), torch.ones(4))
    assert support_share(torch.tensor([0.0, 1.0, 3.0])).tolist() == [0.0, 0.5, 0.75]
