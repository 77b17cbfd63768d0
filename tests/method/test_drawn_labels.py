from __future__ import annotations

import pytest
import torch

from labelfree.method.extensions.drawn_labels import draw_labels
from labelfree.method.label_switching import most_probable, refined_2d_prediction, refined_3d_prediction


def slow_draw(logits: torch.Tensor, uniform: float) -> int:
    """Walk through the classes of one element until the random number is used up."""
    probabilities = logits.double().softmax(dim=0).tolist()
    for label, probability in enumerate(probabilities):
        uniform -= probability
        if uniform < 0:
            return label
    return len(probabilities) - 1


@pytest.mark.parametrize("shape", [(40, 5), (2, 5, 3, 4)])
def test_draws_are_those_of_a_loop(shape: tuple[int, ...]) -> None:
    logits = 2 * torch.randn(shape, generator=torch.Generator().manual_seed(1))
    drawn = draw_labels(logits, torch.Generator().manual_seed(2))
    uniform = torch.rand((shape[0], 1, *shape[2:]), generator=torch.Generator().manual_seed(2)).flatten().tolist()
    elements = logits.movedim(1, -1).reshape(-1, 5)
    expected = [slow_draw(element, number) for element, number in zip(elements, uniform, strict=True)]
    assert drawn.shape == (shape[0], *shape[2:])
    assert drawn.flatten().tolist() == expected
    assert len(set(expected)) > 1


def test_frequencies_are_those_of_the_posterior_and_not_of_the_argmax() -> None:
    posterior = torch.tensor([0.6, 0.3, 0.1, 0.0])
    logits = posterior.log().expand(20_000, 4)
    share = torch.bincount(draw_labels(logits, torch.Generator().manual_seed(0)), minlength=4) / 20_000
    torch.testing.assert_close(share, posterior, atol=0.02, rtol=0)
    assert share[3] == 0
    assert not most_probable(logits).any()


def test_the_expected_gradient_is_that_of_soft_targets() -> None:
    logits = torch.tensor([1.0, 0.0, -1.0]).expand(50_000, 3)
    student = torch.zeros(3, requires_grad=True)
    drawn = draw_labels(logits, torch.Generator().manual_seed(3))
    torch.nn.functional.cross_entropy(student.expand(50_000, 3), drawn).backward()
    assert student.grad is not None
    torch.testing.assert_close(student.grad, 1 / 3 - logits[0].softmax(dim=0), atol=0.01, rtol=0)


def test_refinement_votes_on_what_was_picked() -> None:
    def last(logits: torch.Tensor) -> torch.Tensor:
        assert not logits.requires_grad
        return torch.full_like(logits[:, 0], logits.shape[1] - 1, dtype=torch.int64)

    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    assert refined_2d_prediction(logits, torch.ones(2, 4, 5, dtype=torch.int64), last).unique().tolist() == [2]
    points = torch.randn(6, 3, requires_grad=True)
    assert refined_3d_prediction(points, torch.zeros(6, dtype=torch.int64), last).tolist() == [2] * 6


def test_certain_logits_leave_no_choice() -> None:
    logits = torch.full((30, 4), -200.0)
    labels = torch.arange(30) % 4
    logits[torch.arange(30), labels] = 200.0
    assert torch.equal(draw_labels(logits, torch.Generator().manual_seed(0)), labels)
    assert draw_labels(torch.zeros(0, 4), torch.Generator()).shape == (0,)
