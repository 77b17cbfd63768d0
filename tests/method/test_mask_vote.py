from __future__ import annotations

import pytest
import torch

from labelfree.method.extensions.soft_vote import soft_mask_winners, soft_refine_labels
from labelfree.method.mask_vote import joint_mask_ids, mask_winners, paint_winners, refine_labels


def loop_vote(labels: torch.Tensor, masks: torch.Tensor, classes: int) -> torch.Tensor:
    """Eq. 4 read aloud: for every mask count, take the largest, the lowest class id first."""
    refined = labels.clone()
    for mask in masks.unique().tolist():
        if mask == 0:
            continue
        inside = masks == mask
        counts = [int(((labels == label) & inside).sum()) for label in range(classes)]
        if max(counts) > 0:
            refined[inside] = counts.index(max(counts))
    return refined


@pytest.mark.parametrize(
    ("labels", "masks", "expected"),
    [
        ([0, 0, 1, 1], [1, 1, 1, 2], [0, 0, 0, 1]),  # majority, and a mask of one pixel
        ([2, 1, 2, 1], [1, 1, 1, 1], [1, 1, 1, 1]),  # a tie goes to the lowest class id
        ([2, 1, 0, 1], [0, 0, 0, 0], [2, 1, 0, 1]),  # zero masks: nothing changes
        ([255, 255, 2, 255], [1, 1, 1, 2], [2, 2, 2, 255]),  # ignored labels do not vote, but are filled
        ([255, 255], [1, 1], [255, 255]),  # nobody votes
    ],
)
def test_small_votes(labels: list[int], masks: list[int], expected: list[int]) -> None:
    refined = refine_labels(torch.tensor(labels, dtype=torch.uint8), torch.tensor(masks), 3)
    assert refined.tolist() == expected
    assert refined.dtype == torch.uint8


@pytest.mark.parametrize("num_masks", [0, 1, 7, 300])
def test_agrees_with_the_loop(num_masks: int) -> None:
    generator = torch.Generator().manual_seed(num_masks)
    labels = torch.randint(0, 5, (40, 50), generator=generator)
    labels[torch.rand(40, 50, generator=generator) < 0.2] = 255
    masks = torch.randint(0, num_masks + 1, (40, 50), generator=generator)
    assert torch.equal(refine_labels(labels, masks, 5), loop_vote(labels, masks, 5))


def test_joint_ids_keep_images_apart() -> None:
    masks = torch.tensor([[[0, 1], [2, 2]], [[1, 1], [0, 2]]], dtype=torch.int32)
    joint = joint_mask_ids(masks)
    assert joint[0].tolist() == [[0, 1], [2, 2]]
    assert joint[1].tolist() == [[3, 3], [0, 4]]
    labels = torch.tensor([[[0, 1], [1, 1]], [[2, 2], [0, 0]]])
    separately = torch.stack([refine_labels(label, mask, 3) for label, mask in zip(labels, masks)])
    assert torch.equal(refine_labels(labels, joint, 3), separately)


def test_empty_input() -> None:
    assert refine_labels(torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long), 4).shape == (0,)


def test_soft_vote_sums_probabilities() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.0, 1.0]])
    masks = torch.tensor([1, 1, 1, 0])
    assert soft_mask_winners(probabilities, masks, 2).tolist() == [255, 0, 255]
    assert mask_winners(probabilities.argmax(1), masks, 2, 2).tolist() == [255, 1, 255]


def test_soft_refinement_agrees_with_a_loop_over_masks() -> None:
    generator = torch.Generator().manual_seed(3)
    probabilities = torch.rand(60, 5, generator=generator).softmax(1)
    masks = torch.randint(0, 6, (60,), generator=generator)
    expected = probabilities.argmax(1)
    for mask in range(1, 6):
        inside = masks == mask
        expected[inside] = probabilities[inside].sum(0).argmax()
    assert torch.equal(soft_refine_labels(probabilities, masks), expected)
    assert not torch.equal(refine_labels(probabilities.argmax(1), masks, 5), expected)


def test_paint_keeps_unmasked_and_unvoted() -> None:
    painted = paint_winners(torch.tensor([255, 4, 255]), torch.tensor([0, 1, 2]), torch.tensor([7, 8, 9]))
    assert painted.tolist() == [7, 4, 9]
